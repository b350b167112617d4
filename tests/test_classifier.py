"""The classification RBM: its probabilities against sums over states, what it learns, what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Binarizer
from sklearn.utils.estimator_checks import parametrize_with_checks

import tolerance
from harmonium import RBM, RBMClassifier, load, save


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    return (X > 7).astype(np.float64), y


@pytest.fixture(scope="module")
def fitted(digits):
    X, y = digits
    return RBMClassifier(RBM(100, n_iter=100, batch_size=20, random_state=0)).fit(X[:1500], y[:1500])


# Many small batches would draw otherwise for a row of weight 2 than for two rows: one batch holds all.
@parametrize_with_checks([RBMClassifier(RBM(20, visible="gaussian", learning_rate=0.1, n_iter=1000, random_state=0))])
@pytest.mark.filterwarnings("ignore:.*standardise X:UserWarning")
def test_estimator_checks(estimator, check):
    check(estimator)


def test_probabilities_are_those_of_the_joint_model():
    """p(x, y) by summing exp(-E) over all hidden states, in NumPy; the labels' unit has one state for each class."""
    rng = np.random.default_rng(0)
    X, y = (rng.random((40, 3)) < 0.5).astype(np.float64), rng.choice(["a", "b", "c"], 40)
    classifier = RBMClassifier(RBM(4, n_iter=50, learning_rate=0.3, random_state=0)).fit(X, y)
    W, b, c = (getattr(classifier.rbm_, name) for name in ("components_", "intercept_visible_", "intercept_hidden_"))
    H = np.array(np.meshgrid(*[[0, 1]] * 4)).reshape(4, -1).T.astype(np.float64)
    weight = np.empty((len(X), 3, len(H)))  # exp(-E) of row, class, hidden state
    for k in range(3):
        units = np.hstack([X, np.tile(np.eye(3)[k], (len(X), 1))])
        weight[:, k] = np.exp((units @ b)[:, None] + H @ c + units @ W.T @ H.T)
    joint = weight.sum(axis=2)
    p = joint / joint.sum(axis=1, keepdims=True)
    tolerance.near_sum(classifier.predict_proba(X), p, np.ones_like(p), 200)
    tolerance.near_sum(classifier.predict_log_proba(X), np.log(p), 1 + np.abs(np.log(p)), 200)
    means = np.einsum("nkh,hj->nj", weight, H) / joint.sum(axis=1)[:, None]
    tolerance.near_sum(classifier.transform(X), means, np.ones_like(means), 200)
    assert classifier.predict(X).tolist() == classifier.classes_[p.argmax(axis=1)].tolist()


def test_digits_are_told_apart_and_drawn_by_their_labels(digits, fitted):
    X, y = digits
    assert fitted.score(X[1500:], y[1500:]) > 0.83  # the most frequent class: 0.1
    drawn = fitted.sample(200, y=np.arange(200) % 10, n_steps=200, random_state=0)
    assert drawn.shape == (200, 64) and np.isin(drawn, (0, 1)).all()
    assert (fitted.predict(drawn) == np.arange(200) % 10).mean() > 0.7


def test_no_label_is_seen_after_fit(digits, fitted):
    """Nothing but rows goes in; and fit copies, so that what became of y later does not matter."""
    X, y = digits
    labels = y[:300].copy()
    classifier = RBMClassifier(RBM(10, n_iter=3, random_state=0)).fit(X[:300], labels)
    before = classifier.predict_proba(X[300:400]), classifier.transform(X[300:400])
    labels[:] = 0
    tolerance.exact(classifier.predict_proba(X[300:400]), before[0])
    tolerance.exact(classifier.transform(X[300:400]), before[1])
    assert classifier.transform(X[:5]).shape == (5, 10)
    assert list(classifier.get_feature_names_out())[:2] == ["rbmclassifier0", "rbmclassifier1"]


def test_other_columns_beside_the_labels():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 300)
    codes = np.where(rng.random((300, 2)) < 0.8, 2 * y[:, None], rng.integers(0, 3, (300, 2)))
    X = np.hstack([codes, rng.normal(size=(300, 2)) + y[:, None] - 0.5])
    rbm = RBM(10, visible=[("categorical", 2), ("gaussian", 2)], n_iter=200, learning_rate=0.05, random_state=0)
    assert RBMClassifier(rbm).fit(X[:200], y[:200]).score(X[200:], y[200:]) > 0.75
    assert rbm.visible == [("categorical", 2), ("gaussian", 2)]  # cloned, not changed


def test_in_a_pipeline_with_labels_that_are_words(digits):
    X, y = load_digits(return_X_y=True)
    names = np.array("zero one two three four five six seven eight nine".split())[y]
    pipeline = make_pipeline(Binarizer(threshold=7), RBMClassifier(RBM(50, n_iter=60, batch_size=20, random_state=0)))
    pipeline.fit(X[:1500], names[:1500])
    assert pipeline.score(X[1500:], names[1500:]) > 0.75
    assert clone(pipeline).set_params(rbmclassifier__rbm__n_components=7)[-1].rbm.n_components == 7


def test_partial_fit(digits):
    X, y = digits
    once = RBMClassifier(RBM(10, n_iter=2, random_state=0)).fit(X[:200], y[:200])
    twice = RBMClassifier(RBM(10, random_state=0)).partial_fit(X[:200], y[:200], classes=range(10))
    twice.partial_fit(X[:200], y[:200])
    tolerance.same_bits(once.predict_proba(X[200:220]), twice.predict_proba(X[200:220]))
    assert twice.n_iter_ == 2
    with pytest.raises(ValueError, match="y holds 11, which is not among the classes"):
        twice.partial_fit(X[:2], [1, 11])
    with pytest.raises(ValueError, match="the first call needs classes"):
        RBMClassifier().partial_fit(X[:2], [0, 1])


@pytest.mark.parametrize(
    ("rbm", "y", "error", "words"),
    [
        (RBM(2), [1, 1], ValueError, "y holds one class, .1.; at least two"),
        (RBM(2), [0.5, 1.7], ValueError, "continuous"),
        (RBM(2, visible="count"), [0, 1], ValueError, "visible='count' cannot stand beside labels"),
        (clone, [0, 1], TypeError, "rbm is a function, an RBM is needed"),
        (RBM(0), [0, 1], ValueError, "n_components=0"),
    ],
)
def test_refused(rbm, y, error, words):
    classifier = RBMClassifier(rbm)
    with pytest.raises(error, match=words):
        classifier.fit(np.eye(2), y)
    assert not hasattr(classifier, "rbm_")


def test_refused_rows(fitted):
    with pytest.raises(ValueError, match="63 features"):
        fitted.predict(np.zeros((2, 63)))
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        fitted.predict(sp.csr_matrix((2, 64)))
    with pytest.raises(ValueError, match="y holds 12"):
        fitted.sample(2, y=12)


def test_it_is_saved_with_the_machine_inside(fitted, digits, tmp_path):
    save(fitted, tmp_path / "model")
    again = load(tmp_path / "model")
    assert repr(again) == repr(fitted) and repr(again.rbm_) == repr(fitted.rbm_)
    tolerance.same_bits(again.predict_proba(digits[0][:50]), fitted.predict_proba(digits[0][:50]))
    again.partial_fit(digits[0][:50], digits[1][:50])
    clone_of_old = load(tmp_path / "model").partial_fit(digits[0][:50], digits[1][:50])
    tolerance.same_bits(again.rbm_.components_, clone_of_old.rbm_.components_)
