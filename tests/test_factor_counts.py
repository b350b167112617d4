"""How many components a linear factor model has, from whatever rows, and parameters that make no model."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pandas as pd
import pytest

import factor_reference as reference
import tolerance
from harmonium import PPCA, LinearFactorModel

quiet_floor = pytest.mark.filterwarnings("ignore:.*explain all of the variance:UserWarning")


def draw(n, p, k, seed):
    return reference.draw_rows(reference.draw_model(p, k, seed), n, seed)


@quiet_floor
@pytest.mark.parametrize("shape", [(5, 20), (5, 300)], ids=str)
@pytest.mark.parametrize("k", [0, 4, 5, 8])
def test_every_solver_gives_as_many_components(shape, k):
    X = draw(*shape, 2, 0)
    fits = [PPCA(k, svd_solver=solver, random_state=0).fit(X) for solver in ("full", "randomized")]
    fits.append(PPCA(k, method="em", random_state=0).fit(X))
    fits.append(PPCA(k).partial_fit(X[:2]).partial_fit(X[2:]))
    for fit in fits:
        assert fit.components_.shape == (k, shape[1]) and fit.n_components_ == k
        assert fit.transform(X).shape == (5, k)
        C = fits[0].get_covariance()
        # Where no variance is left EM comes to the floor as near as tol asks, 1e-3 nats.
        tolerance.near_sum(fit.get_covariance(), C, np.full(C.shape, 1e4 * np.abs(C).max()), shape[1])


def test_mle_waits_for_rows():
    """Its formula needs more rows than columns; those that come before are not lost."""
    X = draw(60, 6, 2, 0)
    ppca = PPCA("mle").partial_fit(X[:4])
    assert ppca.n_samples_seen_ == 4 and not hasattr(ppca, "components_")
    ppca.partial_fit(X[4:])
    whole = PPCA("mle").fit(X)
    assert ppca.n_components_ == whole.n_components_
    tolerance.near_sum(ppca.get_covariance(), whole.get_covariance(), np.full((6, 6), 100.0), 60)


@pytest.mark.parametrize("value", [0.0, 0.1])
def test_rows_that_vary_in_one_fold_only_are_refused_by_cv(value):
    X = np.full((50, 3), value)
    X[0] = 1
    with pytest.raises(ValueError, match=r"the 40 rows outside fold \d are all the same"):
        PPCA("cv", random_state=0).fit(X)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"components": [[1.0, np.nan]]}, "components_ contains NaN or infinity"),
        ({"components": np.eye(2), "factor_covariance": [[1.0, 0.5], [0.0, 1.0]]}, "is not symmetric"),
    ],
)
def test_parameters_that_make_no_model_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LinearFactorModel(**options).get_covariance()


def test_given_models_learn_the_names_of_columns():
    frame = pd.DataFrame(np.zeros((2, 3)), columns=list("abc"))
    model = LinearFactorModel([[1.0, 2.0, 3.0]]).fit(frame)
    assert list(model.feature_names_in_) == list("abc")
    model.transform(frame)
    with pytest.raises(ValueError, match="feature names"):
        model.transform(frame[list("cba")])


# -- memory and work -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("call", ["score_samples", "transform", "impute", "clamp"])
def test_memory_of_rows_that_differ_in_what_is_missing(call):
    """A row has an (80, 80) posterior covariance of its own, 51 kB: of all 1000 that is 51 MB, several times over."""
    W, b, psi = reference.draw_model(100, 80, 0)
    model = LinearFactorModel(W.T, mean=b, noise_variance=psi, random_state=0)
    X = reference.draw_rows((W, b, psi), 1000, 0)
    holes = np.random.default_rng(1).random(X.shape) < 0.3
    X[holes] = np.nan
    tracemalloc.start()
    try:
        if call == "clamp":
            model.sample(1000, clamp=(~holes, np.nan_to_num(X)))
        else:
            getattr(model, call)(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A chunk's matrices have 4 MB; their table of products 5 MB, and the rows 1 MB.
    assert peak < 45e6


def test_precision_is_corrected_only_where_digits_are_lost(monkeypatch):
    """The correction multiplies two (p, p) matrices, all else is of the size of the factors."""
    W, b, psi = reference.draw_model(7, 3, 1)
    errors = []
    for noise in (psi, np.where(np.arange(7) == 4, 1e-9, psi)):
        model = LinearFactorModel(W.T, mean=b, noise_variance=noise)
        with monkeypatch.context() as patch:
            patch.setattr("harmonium._linear_gaussian._CANCELS", np.inf)
            plain = model.get_precision()
        corrected = model.get_precision()
        C = model.get_covariance()
        errors.append([np.abs(C @ P - np.eye(7)).max() for P in (plain, corrected)])
    assert errors[0][0] == errors[0][1] and errors[1][1] < errors[1][0] / 10
