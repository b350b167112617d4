"""PPCA and FactorAnalysis as scikit-learn estimators: its checks, names, clones, pickles, files."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import parametrize_with_checks

import factor_reference as reference
import tolerance
from harmonium import PPCA, FactorAnalysis, LinearFactorModel, load, save


def draw(n=200, p=8):
    return reference.draw_rows(reference.draw_model(p, 2, 0), n, 0)


# Some of the checks' data are two to four columns of noise, where a factor may become one of the columns.
@pytest.mark.filterwarnings("ignore:.*(Heywood case|explain all of the variance):UserWarning")
@parametrize_with_checks(
    [
        PPCA(),
        FactorAnalysis(),
        PPCA(n_components=2),
        PPCA(n_components=1, method="em", random_state=0),
        PPCA(n_components=1, svd_solver="randomized", random_state=0),
        FactorAnalysis(n_components=2, rotation="varimax"),
        FactorAnalysis(n_components=1, rotation="promax"),
    ]
)
def test_estimator_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("model", [PPCA(2), FactorAnalysis(2)])
def test_names(model):
    X = pd.DataFrame(draw(), columns=list("abcdefgh"))
    fit = clone(model).set_output(transform="pandas").fit(X)
    name = type(model).__name__.lower()
    assert list(fit.transform(X).columns) == [f"{name}0", f"{name}1"] == list(fit.get_feature_names_out())
    assert list(fit.feature_names_in_) == list("abcdefgh")
    with pytest.raises(ValueError, match="feature names"):
        fit.transform(X[list("hgfedcba")])
    assert not hasattr(fit.fit_covariance(np.eye(8) + 1, 60), "feature_names_in_")
    parts = clone(model).partial_fit(X[:100]).partial_fit(X[100:])
    assert list(parts.feature_names_in_) == list("abcdefgh")


@pytest.mark.parametrize("model", [PPCA(2), FactorAnalysis(2)])
def test_in_pipelines_and_searches(model):
    X = draw()
    y = X[:, 0] > X[:, 0].mean()
    make_pipeline(clone(model), LogisticRegression()).fit(X, y)
    search = GridSearchCV(clone(model), {"n_components": [1, 2]}).fit(X)  # by held-out log-likelihood
    assert search.best_params_ == {"n_components": 2}


def missing(X):
    X = X.copy()
    X[::7, 1] = np.nan
    return X


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    "model",
    [PPCA(2, random_state=0), PPCA("cv", random_state=0), FactorAnalysis(2, rotation="promax"),
     FactorAnalysis(2, noise_variance_init=np.full(8, 0.5))],
    ids=["PPCA", "cv", "promax", "start given"],
)  # fmt: skip
@pytest.mark.parametrize("way", ["file", "pickle"])
def test_everything_comes_back(model, dtype, way, tmp_path):
    X = draw().astype(dtype)
    fit = clone(model).fit(X)
    if way == "file":
        save(fit, tmp_path / "model.safetensors")
        again = load(tmp_path / "model.safetensors")
    else:
        again = pickle.loads(pickle.dumps(fit))
    assert vars(again).keys() == vars(fit).keys()
    for name, value in vars(fit).items():
        other = getattr(again, name)
        assert type(other) is type(value), name
        tolerance.same_bits(other, value) if isinstance(value, np.ndarray) else None
        assert isinstance(value, np.ndarray) or other == value, name
    tolerance.same_bits(again.transform(X), fit.transform(X))
    tolerance.same_bits(again.sample(3, random_state=0), fit.sample(3, random_state=0))
    if model.n_components != "cv":
        tolerance.same_bits(again.partial_fit(X).components_, fit.partial_fit(X).components_)


def test_given_models_come_back(tmp_path):
    W, b, psi = reference.draw_model(5, 2, 0)
    for model in (
        LinearFactorModel(W.T, mean=b, noise_variance=psi, random_state=0),
        LinearFactorModel([[1.0, 2.0]], noise_variance=2.0),
    ):
        save(model, tmp_path / "model")
        again = load(tmp_path / "model")
        tolerance.same_bits(again.components_, model.components_)
        tolerance.same_bits(again.get_covariance(), model.get_covariance())
        tolerance.same_bits(again.sample(3, random_state=0), model.sample(3, random_state=0))


@pytest.mark.parametrize("model", [PPCA(2, random_state=0), FactorAnalysis(2)])
def test_a_fit_leaves_X_alone_and_is_repeatable(model):
    for X in (draw(), missing(draw())):
        given = X.tobytes()
        X.setflags(write=False)
        one, other = clone(model).fit(X), clone(model).fit(X)
        assert X.tobytes() == given
        tolerance.same_bits(one.components_, other.components_)
        again = clone(model).fit(np.asfortranarray(X))
        tolerance.near_sum(again.components_, one.components_, np.full((2, 8), 1e3), 1000)


def test_refitting_with_missing_values_forgets_the_statistics():
    fa = FactorAnalysis(2).fit(draw())
    assert fa.goodness_of_fit().degrees_of_freedom == 13
    fa.fit(missing(draw()))
    with pytest.raises(ValueError, match="needs the covariance"):
        fa.goodness_of_fit()
