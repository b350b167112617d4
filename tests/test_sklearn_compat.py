"""What scikit-learn asks of estimators, and what its own BernoulliRBM shows in public."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import BernoulliRBM as ScikitBernoulliRBM
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import MinMaxScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import reference
import tolerance
from harmonium import RBM, BernoulliRBM

LEARNED = ["components_", "intercept_hidden_", "intercept_visible_", "h_samples_"]
SPARSE = [sp.csr_matrix, sp.csc_matrix, sp.lil_matrix, sp.csr_array, sp.csc_array, sp.lil_array]


@pytest.fixture(scope="module")
def grey():
    """The digits as probabilities, float64."""
    X = load_digits().data / 16
    X.setflags(write=False)
    return X


def assert_same_model(a, b):
    for name in LEARNED:
        tolerance.same_bits(getattr(a, name), getattr(b, name))


# check_range=False because the checks feed values far outside [0, 1], which the default refuses.
@parametrize_with_checks(
    [
        BernoulliRBM(n_components=4, n_iter=2, check_range=False),
        BernoulliRBM(n_components=4, check_range=False),
        # Without sample_weight: contrastive divergence draws for every row, one of weight 2 is not two rows to the bit.
        BernoulliRBM(n_components=4, method="cd", momentum=0.5, check_range=False),
        RBM(n_components=4, n_iter=2, check_range=False),
        RBM(n_components=4, n_iter=2, visible="gaussian"),
        RBM(n_components=4, n_iter=2, visible="gaussian", hidden="relu"),
        RBM(n_components=4, n_iter=2, visible="gaussian", learn_variance=True),
    ]
)
@pytest.mark.filterwarnings("ignore:.*(standardise X|constant column):UserWarning")
def test_estimator_checks(estimator, check):
    check(estimator)


def test_parameters_of_scikit_learn_have_its_defaults():
    theirs = ScikitBernoulliRBM().get_params()
    ours = BernoulliRBM().get_params()
    assert {name: ours[name] for name in theirs} == theirs


# -- its tests, in our words: scikit-learn states their figure, a pseudo-log-likelihood of -21 ----------------------


def assert_digits_learned(rbm, X):
    assert -22.5 < rbm.score_samples(X).mean() < -19.5


@pytest.mark.parametrize("seed", [0, 9])
def test_fit_learns_digits_and_leaves_X_alone(grey, seed):
    X = grey.copy()
    rbm = BernoulliRBM(n_components=64, learning_rate=0.1, batch_size=10, n_iter=7, random_state=seed)
    assert rbm.fit(X) is rbm
    assert_digits_learned(rbm, X)
    tolerance.same_bits(X, grey)


@pytest.mark.parametrize("seed", [0, 9])
def test_partial_fit_learns_digits_and_leaves_X_alone(grey, seed):
    X = grey.copy()
    rbm = BernoulliRBM(n_components=64, learning_rate=0.1, batch_size=20, random_state=seed)
    for _ in range(7):
        for batch in np.array_split(X, 90):
            assert rbm.partial_fit(batch) is rbm
    assert_digits_learned(rbm, X)
    tolerance.same_bits(X, grey)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_transform_is_the_conditional(grey, dtype):
    X = grey[:100].astype(dtype)
    rbm = BernoulliRBM(n_components=16, batch_size=5, n_iter=5, random_state=42).fit(X)
    wide = reference.wide(dtype)
    W, c, x = rbm.components_.T.astype(wide), rbm.intercept_hidden_.astype(wide), X.astype(wide)
    magnitude = 1 + (abs(c) + x @ abs(W)) / 4  # sigmoid's slope is at most 1/4
    tolerance.near_sum(rbm.transform(X), reference.sigmoid(c + x @ W), magnitude, 64 + 6)


@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("container", SPARSE)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_sparse_learns_as_dense(grey, container, method, binary):
    X = grey[:60] > 0.5 if binary else grey[:60]
    models = [
        getattr(BernoulliRBM(n_components=20, batch_size=16, n_iter=2, random_state=9), method)(data)
        for data in (container(X), X)
    ]
    # Sums of the same terms in another order: 8 steps over 32 rows of terms up to 1, then over 64 + 20 units.
    tolerance.exact(models[0].h_samples_, models[1].h_samples_)
    for name in LEARNED[:3]:
        sparse, dense = (getattr(model, name) for model in models)
        tolerance.near_sum(sparse, dense, np.ones(dense.shape), 8 * 32)
    for name in ("transform", "score_samples", "free_energy"):
        sparse, dense = (getattr(models[1], name)(data) for data in (container(X), X))
        tolerance.near_sum(sparse, dense, np.full(dense.shape, 64.0), 84, dtype=models[1].components_.dtype)
    tolerance.exact(models[1].gibbs(container(X), random_state=0), models[1].gibbs(X, random_state=0))


@pytest.mark.parametrize("container", SPARSE)
def test_four_sparse_rows_are_enough(grey, container):
    rbm = BernoulliRBM(random_state=0).fit(container(grey[:4]))
    assert np.isfinite(rbm.components_).all() and rbm.h_samples_.shape[1] == 256


@pytest.mark.parametrize("container", [np.asarray, *SPARSE])
def test_gibbs_recreates_what_was_learned(container):
    # scikit-learn's test has a single column, where no machine does better than a fair coin; here there are 20 alike.
    X = np.repeat([[0.0], [1.0]], 20, axis=1)
    rbm = BernoulliRBM(n_components=2, batch_size=2, n_iter=2000, random_state=0).fit(container(X))
    again = rbm.gibbs(container(np.tile(X, (100, 1))))
    tolerance.exact(again.mean(axis=1).round(), np.tile([0.0, 1.0], 100))


def test_gibbs_draws_anew_at_every_call(grey):
    X = grey > 0.5
    rbm = BernoulliRBM(n_components=42, batch_size=40, n_iter=5, random_state=42).fit(X)
    first, second = rbm.gibbs(X), rbm.gibbs(X)
    assert first.dtype == bool and first.shape == X.shape
    assert (first != second).any(axis=1).all()
    tolerance.same_bits(rbm.gibbs(X, random_state=3), rbm.gibbs(X, random_state=3))


def test_score_samples_does_not_clip():
    rbm = BernoulliRBM()
    rbm.components_ = np.zeros((10, 500))
    rbm.intercept_hidden_ = np.zeros(10)
    rbm.intercept_visible_ = np.full(500, 1000.0)
    # Every unit is on but for 1 in exp(1000): off, each costs log(1 + exp(1000)) = 1000 nats.
    tolerance.exact(rbm.score_samples(np.zeros((2, 500))), np.full(2, -500_000.0))
    # On, it is exp(-1000), or where exp ends, near the least normal number.
    assert (np.abs(rbm.score_samples(np.ones((2, 500)))) < 1000 * np.finfo(float).tiny).all()


def test_scores_of_absurd_values_are_finite(grey):
    X = np.vstack([np.zeros(1000), np.ones(1000)])
    rbm = BernoulliRBM(n_components=10, batch_size=2, n_iter=10, check_range=False, random_state=42).fit(X)
    assert np.isfinite(rbm.score_samples([np.arange(1000) * 100])).all()


@pytest.mark.parametrize(
    ("given", "kept"),
    [(np.float32, np.float32), (np.float64, np.float64), (np.float16, np.float32), (int, np.float32),
     (np.uint8, np.float32), (bool, np.float32)],
)  # fmt: skip
def test_dtypes(grey, given, kept):
    X = (grey[:50] > 0.5).astype(given)
    rbm = BernoulliRBM(n_components=16, batch_size=5, n_iter=2, random_state=42)
    assert rbm.fit_transform(X).dtype == kept
    H = rbm.transform(X)
    results = [H, rbm.inverse_transform(H), rbm.sample(3, n_steps=2), *(getattr(rbm, name) for name in LEARNED)]
    assert {result.dtype for result in results} == {np.dtype(kept)}
    for scores in (rbm.score_samples(X), rbm.free_energy(X), rbm.log_likelihood(X), rbm.energy(X, H)):
        assert scores.dtype == np.float64


def test_float32_and_float64_learn_the_same(grey):
    """The draws are the same as long as no number falls between two roundings of a probability."""
    fits = []
    for dtype in (np.float32, np.float64):
        X = grey[:100].astype(dtype)
        fits.append(BernoulliRBM(n_components=16, batch_size=5, n_iter=5, random_state=42).fit(X))
    single, double = fits
    tolerance.exact(single.h_samples_, double.h_samples_.astype(np.float32))
    for name in LEARNED[:3]:
        a, b = getattr(single, name), getattr(double, name)
        # 100 steps, each of sums over a batch and as many chains of terms at most 1.
        tolerance.near_sum(a, b, np.ones(b.shape), 100 * 10)


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_feature_names(grey, method):
    names = [f"pixel {i}" for i in range(64)]
    X = pd.DataFrame(grey[:50], columns=names)
    rbm = getattr(BernoulliRBM(n_components=10), method)(X)
    assert list(rbm.feature_names_in_) == names and rbm.n_features_in_ == 64
    assert list(rbm.get_feature_names_out()) == [f"bernoullirbm{i}" for i in range(10)]
    assert list(getattr(RBM(n_components=2), method)(X).get_feature_names_out()) == ["rbm0", "rbm1"]
    with pytest.raises(ValueError, match="feature names should match"):
        rbm.transform(X[names[::-1]])


def test_data_frame_learns_as_its_array(grey):
    X = pd.DataFrame(grey[:50], index=range(100, 150), columns=[f"pixel {i}" for i in range(64)])
    rbm = BernoulliRBM(n_components=5, n_iter=2, random_state=0)
    assert_same_model(clone(rbm).fit(X), clone(rbm).fit(X.to_numpy()))
    H = clone(rbm).set_output(transform="pandas").fit_transform(X)
    assert list(H.columns) == [f"bernoullirbm{i}" for i in range(5)]
    assert list(H.index) == list(X.index)
    tolerance.same_bits(H.to_numpy(), rbm.fit(X).transform(X))


@pytest.mark.parametrize("data", [np.asarray, sp.csc_matrix])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_verbose_writes_to_stderr_alone_and_zero_not_at_all(grey, capfd, data, method):
    getattr(BernoulliRBM(n_components=2, n_iter=2), method)(data(grey[:20]))
    assert capfd.readouterr() == ("", "")
    getattr(BernoulliRBM(n_components=2, n_iter=2, verbose=10), method)(data(grey[:20]))
    printed = capfd.readouterr()
    assert printed.out == ""
    assert "BernoulliRBM" in printed.err and "pseudo_log_likelihood" in printed.err


def test_clone_forgets_and_pickle_remembers(grey):
    X = grey[:50]
    rbm = BernoulliRBM(n_components=5, n_iter=2, momentum=0.5, n_chains=7, random_state=0).fit(X)
    twin = clone(rbm)
    assert twin.get_params() == rbm.get_params() and not hasattr(twin, "components_")
    assert_same_model(twin.fit(X), rbm)
    copy = pickle.loads(pickle.dumps(rbm))
    assert copy.history_ == rbm.history_ and copy.n_iter_ == rbm.n_iter_ == 2
    # Both go on from the same place, draws and momentum included.
    assert_same_model(copy.partial_fit(X), rbm.partial_fit(X))
    tolerance.same_bits(copy.gibbs(X), rbm.gibbs(X))
    tolerance.same_bits(copy.sample(3, n_steps=2), rbm.sample(3, n_steps=2))


def test_pipeline_and_grid_search(grey):
    X, y = grey[:300], load_digits().target[:300]
    pipeline = Pipeline(
        [
            ("rbm", BernoulliRBM(n_iter=30, random_state=0)),
            ("classifier", LogisticRegression(C=100, tol=0.01, max_iter=1000)),
        ]
    )
    search = GridSearchCV(pipeline, {"rbm__n_components": [2, 40]}, cv=2).fit(X, y)
    assert search.best_params_ == {"rbm__n_components": 40}
    assert search.best_score_ > 0.5  # chance is 0.1
    unsupervised = GridSearchCV(BernoulliRBM(n_components=20, random_state=0), {"n_iter": [0, 5]}, cv=2).fit(X)
    assert unsupervised.best_params_ == {"n_iter": 5}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_after_a_scaler(dtype):
    X = np.random.default_rng(0).normal(size=(200, 300)).astype(dtype)
    # MinMaxScaler's own rounding leaves [0, 1] by an ulp or two.
    assert 1 < MinMaxScaler().fit_transform(X).max() < 1 + 4 * np.finfo(dtype).eps
    make_pipeline(MinMaxScaler(), BernoulliRBM(n_components=3, n_iter=1)).fit(X).transform(X)
    make_pipeline(MinMaxScaler(clip=True), BernoulliRBM(n_components=3, n_iter=1)).fit(X).transform(10 * X)
    with pytest.raises(ValueError, match=r"BernoulliRBM\.transform: X holds .* in row \d+, column \d+"):
        make_pipeline(MinMaxScaler(), BernoulliRBM(n_components=3, n_iter=1)).fit(X).transform(10 * X)
