"""Linear factor models on arrays of any library: the numbers that NumPy gives, as arrays of X's library and device.

array-api-strict refuses whatever the array API standard leaves open, operands of NumPy's among it; its second device
stands for one whose memory is not the host's. PyTorch and CuPy are tested where they are installed.
"""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone

import factor_reference as reference
import tolerance
from harmonium import PPCA, FactorAnalysis, LinearFactorModel, load, save
from harmonium._arrays import host
from harmonium.rotation import rotate

LIBRARIES = ["numpy", "array_api_strict", "array_api_strict on another device", "torch", "cupy"]


class Library:
    """Arrays of one library, on one device."""

    def __init__(self, name):
        module, _, other = name.partition(" on ")
        self.xp = pytest.importorskip(module, reason=f"{module} is not installed")
        if module == "cupy":
            try:
                self.xp.cuda.runtime.getDeviceCount()
            except self.xp.cuda.runtime.CUDARuntimeError as error:
                pytest.skip(f"no GPU: {error}")
        if other and not hasattr(np, "astype"):
            pytest.skip("NumPy before 2.1 takes no arrays from other devices")
        self.options = {"device": self.xp.Device("device1")} if other else {}

    def __call__(self, array):
        return self.xp.asarray(np.array(array), **self.options)

    def check(self, array, name):
        mine = self(np.zeros(1))
        assert type(array) is type(mine), f"{name} is a {type(array)}"
        assert getattr(array, "device", None) == getattr(mine, "device", None), f"{name} is elsewhere"


@pytest.fixture(params=LIBRARIES)
def library(request):
    return Library(request.param)


ROWS, COLUMNS, FACTORS = 300, 9, 2
MODEL = reference.draw_model(COLUMNS, FACTORS, 3)


def complete():
    return reference.draw_rows(MODEL, ROWS, 3)


def holes():
    X = complete()
    X[np.random.default_rng(0).random(X.shape) < 0.2] = np.nan
    X[5] = np.nan
    return X


def wide():
    return reference.draw_rows(reference.draw_model(1100, FACTORS, 4), 30, 4)


W, B, PSI = MODEL
CASES = {
    "PPCA, ml": (PPCA(FACTORS), complete),
    "PPCA, em": (PPCA(FACTORS, method="em", random_state=0), complete),
    "PPCA, mle": (PPCA("mle"), complete),
    "PPCA, cv": (PPCA("cv", random_state=0), complete),
    "PPCA, NaN": (PPCA(FACTORS), holes),
    "PPCA, wide": (PPCA(FACTORS), wide),
    "PPCA, wide em": (PPCA(FACTORS, method="em", random_state=0), wide),
    "FA": (FactorAnalysis(FACTORS), complete),
    "FA, start given": (FactorAnalysis(FACTORS, noise_variance_init=PSI), complete),
    "FA, NaN": (FactorAnalysis(FACTORS), holes),
    "FA, wide": (FactorAnalysis(FACTORS, tol=1), wide),
    "FA, varimax": (FactorAnalysis(FACTORS, rotation="varimax"), complete),
    "FA, quartimax": (FactorAnalysis(FACTORS, rotation="quartimax"), complete),
    "FA, promax": (FactorAnalysis(FACTORS, rotation="promax"), complete),
    "given": (LinearFactorModel(W.T, mean=B, noise_variance=PSI), complete),
    "given, NaN": (LinearFactorModel(W.T, mean=B, noise_variance=PSI, factor_covariance=[[1, 0.5], [0.5, 2]]), holes),
}


def same(library, actual, expected, name, terms):
    """An array of the library with NumPy's values: a sum of so many terms of the size of the largest of them, in
    float64, rounded at the end."""
    library.check(actual, name)
    actual = host(actual)
    assert actual.dtype == expected.dtype, name
    if expected.dtype.kind == "f":
        terms = 2 if expected.dtype == np.float32 else terms
        tolerance.near_sum(actual, expected, np.full(expected.shape, np.abs(expected).max(initial=1)), terms)
    else:
        tolerance.exact(actual, expected)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("case", CASES)
def test_the_same_numbers(case, dtype, library):
    model, data = CASES[case]
    X = data().astype(dtype)
    n, p = X.shape
    if case.startswith("given"):
        model = clone(model).set_params(components=W.T.astype(dtype))
    theirs = clone(model).fit(X)
    rows, mine = library(X), clone(model)
    if case.startswith("given"):
        mine.set_params(components=library(W.T.astype(dtype)))
    mine.fit(rows)
    # An iteration sums over all entries, in another order in every library.
    terms = X.size * getattr(theirs, "n_iter_", 1)
    if not case.startswith("given"):
        assert mine.n_iter_ == theirs.n_iter_ and mine.n_features_in_ == p and mine.n_samples_seen_ == n
        likelihood = np.asarray(theirs.history_["log_likelihood"])
        size = np.abs(likelihood) + p
        tolerance.near_sum(np.asarray(mine.history_["log_likelihood"]), likelihood, size, terms)
    for name in ("components_", "mean_", "noise_variance_", "explained_variance_", "factor_covariance_", "heywood_",
                 "held_out_log_likelihood_"):  # fmt: skip
        if hasattr(theirs, name):
            value, expected = getattr(mine, name), getattr(theirs, name)
            if isinstance(expected, float):
                tolerance.near_sum(np.float64(value), np.float64(expected), np.float64(abs(expected)), terms)
            else:
                same(library, value, expected, name, terms)
    for method in ("transform", "score_samples", "log_likelihood", "impute", "factor_scores"):
        same(library, getattr(mine, method)(rows), getattr(theirs, method)(X), method, terms)
    if not np.isnan(X).any():
        same(library, mine.factor_scores(rows, "bartlett"), theirs.factor_scores(X, "bartlett"), "bartlett", terms)
    for name, actual, expected in zip(("mean", "covariance"), mine.posterior(rows), theirs.posterior(X), strict=True):
        same(library, actual, expected, f"posterior's {name}", terms)
    H = theirs.transform(X)
    same(library, mine.inverse_transform(library(H)), theirs.inverse_transform(H), "inverse_transform", terms)
    tolerance.near_sum(np.float64(mine.score(rows)), np.float64(theirs.score(X)), np.float64(10 * p), terms)
    same(library, mine.get_covariance(), theirs.get_covariance(), "covariance", terms)
    same(library, mine.get_precision(), theirs.get_precision(), "precision", terms)
    same(library, mine.sample(5, random_state=0), theirs.sample(5, random_state=0), "sample", terms)
    clamp = np.random.default_rng(0).random((5, p)) < 0.5, np.ones(p)
    expected = theirs.sample(5, clamp=clamp, random_state=0)
    same(library, mine.sample(5, clamp=tuple(map(library, clamp)), random_state=0), expected, "clamped", terms)
    same(library, mine.sample(5, clamp=clamp, random_state=0), expected, "clamped by NumPy", terms)


@pytest.mark.parametrize("model", [PPCA(FACTORS), FactorAnalysis(FACTORS)], ids=["PPCA", "FA"])
def test_streams_and_covariances(model, library):
    X = complete()
    whole, parts = clone(model).fit(X), clone(model)
    for batch in np.array_split(X, [1, 100]):
        parts.partial_fit(library(batch))
    terms = X.size * whole.n_iter_
    same(library, parts.components_, whole.components_, "components_", terms)
    S = np.cov(X.T, bias=True)
    mine, theirs = clone(model).fit_covariance(library(S), ROWS, X.mean(axis=0)), clone(model).fit_covariance(S, ROWS)
    same(library, mine.components_, theirs.components_, "components_", terms)
    same(library, mine.mean_, X.mean(axis=0), "mean_", 1)
    if model.__class__ is FactorAnalysis:
        found, expected = parts.goodness_of_fit(), whole.goodness_of_fit()
        assert found.degrees_of_freedom == expected.degrees_of_freedom
        # A difference of numbers of the size of log det, times the rows.
        size = np.float64(ROWS * np.abs(np.log(PSI)).sum())
        tolerance.near_sum(np.float64(found.chi_square), np.float64(expected.chi_square), size, terms)


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64])
def test_integers(dtype, library):
    X = complete() > 1 if dtype is np.bool_ else (np.abs(complete()) * 2).astype(dtype)
    theirs, mine = PPCA(2).fit(X), PPCA(2).fit(library(X))
    same(library, mine.components_, theirs.components_, "components_", X.size)
    assert host(mine.components_).dtype == np.float32
    same(library, mine.transform(library(X)), theirs.transform(X), "transform", X.size)
    if dtype is np.int64:
        assert host(PPCA(2).fit(library(X + 2**25)).mean_).dtype == np.float64


def test_the_model_goes_where_the_rows_are(library):
    """What is learned follows the rows of `fit`, what a method gives those that it is given."""
    X = complete()
    mine, theirs = FactorAnalysis(FACTORS).fit(library(X)), FactorAnalysis(FACTORS).fit(X)
    terms = X.size * theirs.n_iter_
    assert type(mine.transform(X)) is np.ndarray
    tolerance.near_sum(mine.transform(X), theirs.transform(X), np.full((ROWS, FACTORS), 5.0), terms)
    same(library, theirs.transform(library(X)), theirs.transform(X), "transform", terms)
    H = theirs.transform(X)
    same(library, theirs.inverse_transform(library(H)), theirs.inverse_transform(H), "inverse_transform", terms)
    mine.partial_fit(X)
    library.check(mine.components_, "components_")
    mine.components_ = [[1.0] * COLUMNS]
    mine.mean_, mine.noise_variance_, mine.factor_covariance_ = library(B), library(PSI), library(np.eye(1))
    library.check(mine.transform(library(X)), "transform")


@pytest.mark.parametrize("method", ["varimax", "quartimax", "promax"])
def test_rotations(method, library):
    theirs, mine = rotate(W, method), rotate(library(W), method)
    for name, actual, expected in zip(theirs._fields, mine, theirs, strict=True):
        same(library, actual, expected, name, 1)


def test_files_hold_numbers_of_any_library(library, tmp_path):
    X = complete()
    fit = FactorAnalysis(FACTORS, noise_variance_init=library(PSI)).fit(library(X))
    save(fit, tmp_path / "model")
    again = load(tmp_path / "model")
    tolerance.same_bits(again.components_, host(fit.components_))
    tolerance.same_bits(again.transform(X), fit.transform(X))
    tolerance.same_bits(again.noise_variance_init, PSI)


def test_matrices_that_are_not_positive_definite_have_no_root(library):
    """Whatever the library does of one: raise its own error, or give NaN."""
    from harmonium._arrays import cholesky

    good, bad = np.array([[2.0, 1.0], [1.0, 2.0]]), np.array([[1.0, 2.0], [2.0, 1.0]])
    same(library, cholesky(library(good)), np.linalg.cholesky(good), "root", 4)
    same(library, cholesky(library([good, good])), np.linalg.cholesky([good, good]), "roots", 4)
    assert cholesky(library(bad)) is None and cholesky(library([good, bad])) is None


def test_patterns_of_every_size(library):
    """Sums over the rows of a pattern: as many rows as there are, in groups of one to all but a few."""
    from harmonium._missing_em import _sum_by_pattern

    rng = np.random.default_rng(0)
    h = rng.standard_normal((200, 4))
    index = np.minimum(rng.geometric(0.2, 200), 12) - 1
    index[:12] = np.arange(12)
    expected = np.stack([h[index == i].T @ h[index == i] for i in range(12)])
    same(library, _sum_by_pattern(library(h), library(index), 12), expected, "sums", 200)


@pytest.mark.parametrize("model", [PPCA(FACTORS), FactorAnalysis(FACTORS)], ids=["PPCA", "FA"])
def test_bad_rows_are_refused(model, library):
    X = complete()
    fit = clone(model).fit(library(X))
    spoiled = X.copy()
    spoiled[7, 3] = np.inf
    for call in (clone(model).fit, fit.fit, fit.transform, fit.partial_fit):
        with pytest.raises(ValueError, match="X contains infinity in row 7, column 3"):
            call(library(spoiled))
    spoiled[7, 3] = np.nan
    with pytest.raises(ValueError, match="X contains NaN in row 7, column 3"):
        fit.partial_fit(library(spoiled))
    with pytest.raises(ValueError, match="X contains NaN in row 7, column 3; bartlett needs complete rows"):
        fit.factor_scores(library(spoiled), "bartlett")
    with pytest.raises(ValueError, match="column 2 has no observed value in 300 rows"):
        clone(model).fit(library(np.where(np.arange(COLUMNS) == 2, np.nan, X)))
    with pytest.raises(ValueError, match=r"X has 4 features, but .* is expecting 9"):
        fit.transform(library(X[:, :4]))
    with pytest.raises(ValueError, match="NaN"):
        fit.inverse_transform(library(np.full((2, FACTORS), np.nan)))
    with pytest.raises(ValueError, match="H has 3 columns, the model has 2 factors"):
        fit.inverse_transform(library(np.ones((2, 3))))
    with pytest.raises(ValueError, match="all 9 columns of X are constant"):
        clone(model).fit(library(np.ones((20, 9))))
    for shape in ((9,), (0, 9), (3, 0), (2, 3, 9), (1, 9)):
        with pytest.raises(ValueError, match=r"X is|array|sample|features"):
            clone(model).fit(library(np.ones(shape)))
    with pytest.raises((TypeError, ValueError), match="omplex"):
        clone(model).fit(library(X + 0j))
    tolerance.same_bits(host(fit.components_), host(clone(model).fit(library(X)).components_))


def test_bad_parameters_are_refused(library):
    given = library(W.T)
    for options, message in (
        ({"mean": library(B[:4])}, r"mean_ is \(4,\), the components_ of \(2, 9\) need \(9,\)"),
        ({"noise_variance": library(-PSI)}, "noise_variance_ is -.* in column"),
        ({"factor_covariance": library(np.zeros((2, 2)))}, "factor_covariance_ is not positive definite"),
    ):
        with pytest.raises(ValueError, match=message):
            LinearFactorModel(given, **options).get_covariance()
    with pytest.raises(ValueError, match="noise variance of column 0 is 0"):
        LinearFactorModel(given, noise_variance=0.0).score_samples(library(complete()))
    with pytest.raises(ValueError, match="clamp is"):
        LinearFactorModel(given).sample(3, clamp=(library(np.ones(4, bool)), library(np.ones(4))))
    with pytest.raises(ValueError, match=r"noise_variance_init is -1\.0 in column 0"):
        FactorAnalysis(2, noise_variance_init=library(np.full(9, -1.0))).fit(library(complete()))


def test_gradients_are_left_alone():
    torch = pytest.importorskip("torch", reason="torch is not installed")
    X = torch.tensor(holes(), requires_grad=True)
    fit = PPCA(2).fit(X)
    assert not fit.components_.requires_grad and not fit.transform(X).requires_grad
