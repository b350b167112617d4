"""CSR input of linear factor models: the model of the dense rows, without these."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import tolerance
from harmonium import PPCA, FactorAnalysis, LinearFactorModel

quiet = pytest.mark.filterwarnings("ignore:.*(Heywood|are constant|explain all of the variance):UserWarning")


def counts(n, p, density, seed=0):
    """Rows of few entries, of which those of a topic come together."""
    rng = np.random.default_rng(seed)
    topic = rng.random((n, 3)) < 0.3
    rate = density * (0.3 + 4 * topic @ (rng.random((3, p)) < 0.2))
    return rng.poisson(rate) * rng.gamma(2.0, 1.0, (n, p))


def few():
    return counts(2000, 20, 0.03)


def many():
    return counts(300, 40, 0.3)


def with_odd_columns():
    """Columns without entries, full of one value, full of values far from 0, and of a single entry."""
    X = counts(300, 40, 0.02)
    X[:, 3], X[:, 5], X[:, 9] = 0, 0.1, 1000 + X[:, 9] + np.arange(300) % 7
    X[:, 7], X[8, 7] = 0, 2
    return X


def wide():
    return counts(60, 1500, 0.02)


def tall():
    return counts(1500, 1100, 0.02)


def same(actual, expected, terms):
    """A sum of so many terms, of the size of its largest entry."""
    actual, expected = np.asarray(actual), np.asarray(expected)
    assert actual.dtype == expected.dtype
    tolerance.near_sum(actual, expected, np.full(expected.shape, np.abs(expected).max()), terms)


@quiet
@pytest.mark.parametrize("data", [few, many, with_odd_columns, wide, tall])
@pytest.mark.parametrize("model", [PPCA(3), FactorAnalysis(2), FactorAnalysis(2, rotation="promax")], ids=str)
def test_the_model_of_the_dense_rows(model, data):
    X = data()
    dense, sparse = clone(model).fit(X), clone(model).fit(sp.csr_array(X))
    # Iterations of factor analysis pass on what rounding did to the one before.
    terms = 100 * X.size * dense.n_iter_
    assert sparse.n_iter_ == dense.n_iter_
    same(sparse.mean_, dense.mean_, X.size)
    same(sparse.get_covariance(), dense.get_covariance(), terms)
    same(sparse.history_["log_likelihood"], dense.history_["log_likelihood"], terms)
    if isinstance(dense, FactorAnalysis):
        tolerance.exact(sparse.heywood_, dense.heywood_)
    # From the same model the same chunks of rows: the same bits, whatever form they come in.
    for form in (sp.csr_array, sp.csr_matrix, sp.csc_array):
        for method in ("transform", "score_samples", "factor_scores"):
            tolerance.same_bits(getattr(dense, method)(form(X)), getattr(dense, method)(X))
    tolerance.same_bits(dense.posterior(sp.csr_array(X))[0], dense.posterior(X)[0])
    tolerance.same_bits(dense.factor_scores(sp.csr_array(X), "bartlett"), dense.factor_scores(X, "bartlett"))


@quiet
@pytest.mark.parametrize("options", [{"method": "em", "random_state": 0}, {"n_components": "mle"},
                                     {"svd_solver": "full"}, {"svd_solver": "randomized"}], ids=str)  # fmt: skip
def test_all_ways_to_ppca(options):
    X = few()
    dense, sparse = (PPCA(**{"n_components": 3, **options}).fit(rows) for rows in (X, sp.csr_array(X)))
    assert sparse.n_components_ == dense.n_components_
    same(sparse.get_covariance(), dense.get_covariance(), X.size * dense.n_iter_)


@quiet
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.bool_])
def test_dtypes(dtype):
    X = few().astype(dtype)
    dense, sparse = PPCA(2).fit(X), PPCA(2).fit(sp.csr_array(X))
    assert sparse.components_.dtype == dense.components_.dtype == np.float32
    same(sparse.components_, dense.components_, 2)
    assert PPCA(2).fit(sp.csr_array(X.astype(np.int64) * 2**25)).mean_.dtype == np.float64


@quiet
@pytest.mark.parametrize(
    ("model", "data"),
    [(PPCA(3), few), (PPCA(3), with_odd_columns), (FactorAnalysis(2), few)],
    ids=["ppca", "ppca-odd_columns", "fa"],
)
def test_streams_of_either_form(model, data):
    X = data()
    whole, parts = clone(model).fit(X), clone(model).fit(sp.csr_array(X[:50]))
    for i, batch in enumerate(np.array_split(X[50:], 5)):
        parts.partial_fit(sp.csr_array(batch) if i % 2 else batch)
    assert parts.n_samples_seen_ == len(X)
    same(parts.get_covariance(), whole.get_covariance(), 100 * X.size * whole.n_iter_)


@quiet
def test_entries_in_any_order_and_stored_twice():
    X = few()
    expected = PPCA(2).fit(X)
    A = sp.csr_array(X)
    twice = sp.csr_array((np.repeat(A.data, 2) / 2, np.repeat(A.indices, 2), 2 * A.indptr), A.shape)
    given = twice.data.tobytes()
    same(PPCA(2).fit(twice).get_covariance(), expected.get_covariance(), X.size)
    same(expected.score_samples(twice), expected.score_samples(X), 10)
    assert twice.data.tobytes() == given and twice.nnz == 2 * A.nnz
    with_zeros = sp.csr_array(np.where(X == 0, 1.0, X))
    with_zeros.data[X.ravel() == 0] = 0
    same(PPCA(2).fit(with_zeros).get_covariance(), expected.get_covariance(), X.size)


@pytest.mark.parametrize("shape", [(30, 40), (30, 1500)], ids=str)
@pytest.mark.parametrize("model", [PPCA(2), FactorAnalysis(2)], ids=["PPCA", "FA"])
def test_what_cannot_be_taken_is_refused(model, shape):
    X = sp.csr_array(counts(*shape, 0.1))
    row, column = (int(part[7]) for part in X.nonzero())
    for value, name in ((np.nan, "NaN"), (np.inf, "infinity")):
        X.data[7] = value
        for call in (clone(model).fit, clone(model).partial_fit):
            with pytest.raises(ValueError, match=rf"X contains {name} in row {row}, column {column}"):
                call(X)
    with pytest.raises(ValueError, match="columns of X are constant"):
        clone(model).fit(sp.csr_array(shape))
    with pytest.raises(ValueError, match="needs a dense X for its folds"):
        PPCA("cv").fit(X)
    if shape[1] > 1024:
        with pytest.raises(ValueError, match=r"method='em' of 30 x 1500 sparse X would need it dense"):
            PPCA(2, method="em").fit(X)
    X.data[7] = 1
    with pytest.raises(TypeError, match=r"impute: X is sparse"):
        LinearFactorModel(np.ones((1, shape[1]))).impute(X)


@quiet
@pytest.mark.parametrize("call", ["fit PPCA", "fit FA", "score_samples", "transform"])
def test_memory(call):
    """500 x 20,000 with 1 % of entries: 80 MB if dense, a covariance would have 3.2 GB."""
    rng = np.random.default_rng(0)
    X = sp.random(500, 20_000, density=0.01, random_state=0, format="csr")
    model = LinearFactorModel(rng.standard_normal((3, 20_000)))
    tracemalloc.start()
    try:
        if call.startswith("fit"):
            {"PPCA": PPCA(3), "FA": FactorAnalysis(3, tol=1e5)}[call[4:]].fit(X)
        else:
            getattr(model, call)(X)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A chunk of rows has 4 MB, the rows' products 2 MB, a Krylov subspace of as many dimensions no more.
    assert peak < 40e6
