"""SparseCoder and SparseCoding as scikit-learn estimators: its checks, names, clones, pickles, files, and what its own
tests ask of dictionary learning by the lasso, in our words."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.base import clone
from sklearn.decomposition import MiniBatchDictionaryLearning
from sklearn.decomposition import sparse_encode as peer_encode
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import estimator_checks_generator, parametrize_with_checks

import reference
import tolerance
from harmonium import SparseCoder, SparseCoding, load, save, sparse_encode

X = np.random.default_rng(0).standard_normal((40, 8))
D = np.random.default_rng(1).standard_normal((12, 8))
D /= np.linalg.norm(D, axis=1, keepdims=True)


@pytest.mark.filterwarnings("ignore:.*all codes of the last pass are zero:UserWarning")
@parametrize_with_checks(
    [
        SparseCoding(),
        SparseCoding(3, alpha=0.1, max_iter=5, random_state=0),
        SparseCoding(2, batch_size=None, positive_code=True, positive_dict=True, split_sign=True, max_iter=5),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


# Checks bring data of so many features (else of three), a coder's dictionary has its own: as scikit-learn does for its.
FEATURES = {1: ["check_fit2d_1feature"]}
FEATURES[2] = ["check_estimators_fit_returns_self", "check_estimators_overwrite_params", "check_fit_check_is_fitted"]
FEATURES[2] += ["check_fit_idempotent", "check_n_features_in", "check_readonly_memmap_input"]
FEATURES[4] = ["check_n_features_in_after_fitting", "check_positive_only_tag_during_fit"]
FEATURES[5] = ["check_estimators_dtypes", "check_transformers_unfitted_stateless"]
FEATURES[10] = ["check_dtype_object", "check_fit2d_1sample"]


@pytest.mark.parametrize("parameters", [{}, {"split_sign": True, "transform_algorithm": "fista"}], ids=str)
@pytest.mark.parametrize(
    "check", [check for _, check in estimator_checks_generator(SparseCoder(D))], ids=lambda check: check.func.__name__
)
def test_checks_of_coders(check, parameters):
    width = next((n for n, names in FEATURES.items() if check.func.__name__ in names), 3)
    check(SparseCoder(np.random.default_rng(1).standard_normal((5, width)), **parameters))


def learned(**parameters):
    options = {"alpha": 0.3, "max_iter": 3, "batch_size": 16, "random_state": 0, **parameters}
    return SparseCoding(5, **options).fit(X)


# -- as an estimator -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("split_sign", [False, True])
def test_names(split_sign):
    frame = pd.DataFrame(X, columns=list("abcdefgh"))
    model = SparseCoding(5, alpha=0.3, max_iter=2, split_sign=split_sign).set_output(transform="pandas").fit(frame)
    names = [f"sparsecoding{i}" for i in range(10 if split_sign else 5)]
    assert list(model.transform(frame).columns) == names == list(model.get_feature_names_out())
    assert list(model.feature_names_in_) == list("abcdefgh")
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[list("hgfedcba")])
    with pytest.raises(ValueError, match="feature names"):
        model.partial_fit(frame[list("hgfedcba")])
    assert not hasattr(model.fit(X), "feature_names_in_")
    coder = SparseCoder(D, split_sign=split_sign).set_output(transform="pandas")
    assert list(coder.fit_transform(frame).columns) == [f"sparsecoder{i}" for i in range(24 if split_sign else 12)]
    first = SparseCoding(5, alpha=0.3).partial_fit(frame)
    assert list(first.feature_names_in_) == list("abcdefgh")


def test_in_pipelines_and_searches():
    y = X[:, 0] > 0
    pipeline = make_pipeline(SparseCoding(5, max_iter=2, random_state=0), LogisticRegression())
    search = GridSearchCV(pipeline, {"sparsecoding__alpha": [0.1, 0.3]}, cv=2).fit(X, y)
    assert search.predict(X).shape == (40,)
    coder = clone(SparseCoder(D, transform_alpha=0.5))
    tolerance.same_bits(coder.dictionary, D)
    assert coder.n_components_ == 12 and coder.fit(X).n_features_in_ == 8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("way", ["file", "pickle"])
@pytest.mark.parametrize("parameters", [{}, {"dict_init": D[:5]}, {"dict_init": D[:5].tolist(), "batch_size": None}])
def test_everything_comes_back(parameters, way, dtype, tmp_path):
    rows = X.astype(dtype)
    fit = SparseCoding(5, alpha=0.3, max_iter=2, random_state=0, **parameters).fit(rows)
    if way == "file":
        save(fit, tmp_path / "model")
        again = load(tmp_path / "model")
    else:
        again = pickle.loads(pickle.dumps(fit))
    assert vars(again).keys() == vars(fit).keys()
    for name, value in vars(fit).items():
        other = getattr(again, name)
        assert type(other) is type(value), name
        if isinstance(value, np.ndarray):
            tolerance.same_bits(other, value)
        else:
            assert other == value, name
    tolerance.same_bits(again.transform(rows), fit.transform(rows))
    tolerance.same_bits(again.partial_fit(rows).components_, fit.partial_fit(rows).components_)
    assert again.history_ == fit.history_ and again.n_steps_ == fit.n_steps_ > fit.n_iter_ - 1


def test_coders_and_assigned_dictionaries_come_back(tmp_path):
    for dictionary in (D, D.tolist(), D.astype(np.float32)):
        save(SparseCoder(dictionary, transform_alpha=0.5), tmp_path / "coder")
        again = load(tmp_path / "coder")
        assert type(again.dictionary) is type(dictionary)
        tolerance.same_bits(again.transform(X), SparseCoder(dictionary, transform_alpha=0.5).transform(X))
    model = learned()
    model.components_ = D.tolist()
    save(model, tmp_path / "model")
    tolerance.same_bits(load(tmp_path / "model").transform(X), model.transform(X))


def test_before_fit():
    for method in ("transform", "inverse_transform"):
        with pytest.raises(NotFittedError):
            getattr(SparseCoding(5), method)(X)


# -- what scikit-learn asks of its own ---------------------------------------------------------------------------------


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("name", ["lasso_cd", "lasso_lars"])
def test_codes_are_scikit_learn_s(name, positive):
    ours = sparse_encode(X, D, alpha=0.2, algorithm=name, tol=1e-10, positive=positive)
    peer = peer_encode(X, D, alpha=0.2, algorithm="lasso_cd", positive=positive, max_iter=100_000)
    # Theirs ends at changes of 1e-4: it is the objectives that are near, ours the lower.
    ours, peer = (reference.lasso_objective(X, D, 0.2, h) for h in (ours, peer))
    assert (ours <= peer * (1 + 1e-9)).all()
    tolerance.converged(ours, peer, 1e-4, 100)


def test_shapes_and_overcomplete_dictionaries():
    assert learned().components_.shape == (5, 8) and learned().transform(X).shape == (40, 5)
    wide = SparseCoding(30, alpha=0.3, max_iter=2).fit(X)
    assert wide.components_.shape == (30, 8) and wide.transform(X).shape == (40, 30)
    with pytest.raises(ValueError, match="X has 7 features"):
        wide.transform(X[:, :7])
    for method in ("fit", "transform"):
        with pytest.raises(ValueError, match="X has 7 columns, the dictionary 8"):
            getattr(SparseCoder(D), method)(X[:, :7])


def test_reconstruction():
    """With hardly any penalty, enough atoms give rows back; so do more than enough."""
    for n in (8, 12):
        model = SparseCoding(n, alpha=1e-6, max_iter=5, random_state=0).fit(X)
        back = model.inverse_transform(model.transform(X))
        tolerance.converged(back, X, 1e-6, 100)  # atoms that are nearly alike: off by alpha times what tells them apart
    coder = SparseCoder(D, transform_alpha=1e-6)
    tolerance.converged(coder.inverse_transform(coder.transform(X)), X, 1e-6, 10)


def test_split_sign_is_the_same_codes():
    for model in (SparseCoder(D, transform_alpha=0.2), learned()):
        codes, half = model.transform(X), len(getattr(model, "components_", D))
        split = model.set_params(split_sign=True).transform(X)
        assert (split >= 0).all() and split.shape == (40, 2 * half)
        tolerance.exact(split[:, :half] - split[:, half:], codes)
        assert not (split[:, :half] * split[:, half:]).any()
        for given in (split, sp.csr_matrix(split)):
            back = model.inverse_transform(given)
            tolerance.near_sum(back, codes @ getattr(model, "components_", D), np.full((40, 8), 10.0), 100)
        with pytest.raises(ValueError, match=f"codes have 3 columns, {2 * half} are needed"):
            model.inverse_transform(np.ones((2, 3)))


def test_positive_codes_and_atoms():
    for code in (False, True):
        for atoms in (False, True):
            model = learned(positive_code=code, positive_dict=atoms)
            codes = model.transform(X)
            assert (codes >= 0).all() == code and (model.components_ >= 0).all() == atoms


def test_transform_alpha_is_alpha_unless_given():
    model = learned()
    tolerance.same_bits(model.transform(X), sparse_encode(X, model.components_, alpha=0.3))
    model.set_params(transform_alpha=0.7)
    tolerance.same_bits(model.transform(X), sparse_encode(X, model.components_, alpha=0.7))
    assert np.count_nonzero(model.transform(X)) < np.count_nonzero(model.set_params(transform_alpha=0).transform(X))


@pytest.mark.filterwarnings("ignore:Objective did not converge")  # the peer's
def test_learns_no_worse_than_scikit_learn():
    rng = np.random.default_rng(0)
    codes = rng.standard_normal((600, 16)) * (rng.random((600, 16)) < 0.15)
    atoms = rng.standard_normal((16, 20))
    rows = codes @ (atoms / np.linalg.norm(atoms, axis=1, keepdims=True)) + 0.02 * rng.standard_normal((600, 20))
    options = {"alpha": 0.1, "batch_size": 50, "max_iter": 5, "tol": 0, "max_no_improvement": None, "random_state": 0}
    ours = SparseCoding(16, **options).fit(rows[:500])
    peer = MiniBatchDictionaryLearning(16, fit_algorithm="cd", **options).fit(rows[:500])
    reached = []
    for model in (ours, peer):
        h = sparse_encode(rows[500:], model.components_, alpha=0.1)
        reached.append(reference.lasso_objective(rows[500:], model.components_, 0.1, h).mean())
    assert reached[0] <= reached[1], reached


@pytest.mark.parametrize("algorithm", ["omp", "lars", "threshold"])
def test_what_is_no_lasso_is_refused(algorithm):
    with pytest.raises(ValueError, match="does not solve the lasso"):
        SparseCoder(D, transform_algorithm=algorithm).transform(X)
