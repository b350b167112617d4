"""The ops of sparse coding against their references: shrink, code_statistics, dictionary_update; and bad input to
sparse_encode, by its message."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.exceptions import ConvergenceWarning

import reference
import tolerance
from harmonium import _core, ops, sparse_encode

DTYPES = [np.float32, np.float64]


# -- shrink ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (4, 8), (3, 67), (0, 4), (4, 0)])
def test_shrink(shape, positive, dtype, device):
    rng = np.random.default_rng(0)
    x, a = (3 * rng.standard_normal(shape)).astype(dtype), rng.uniform(0, 2, shape[1]).astype(dtype)
    for thresholds in (a, 0.5, 0.0, np.inf):
        given = device.array(thresholds) if thresholds is a else thresholds
        h = device.host(ops.shrink(device.array(x), given, positive=positive, device=device.name))
        # |x| - a is rounded once in either, so nothing is left to differ.
        tolerance.exact(h, reference.shrink(x, np.asarray(thresholds, dtype), positive).astype(dtype))
        assert not (np.signbit(h) & (h == 0)).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_shrink_at_the_ends(dtype):
    tiny, largest = np.finfo(dtype).smallest_subnormal, np.finfo(dtype).max
    x = np.array([[0.0, -0.0, 1.0, -1.0, tiny, -tiny, largest, -largest, np.inf, -np.inf]], dtype)
    expected = [[0, 0, 0, 0, 0, 0, largest, -largest, np.inf, -np.inf]]
    tolerance.same_bits(ops.shrink(x, 1.0), np.array(expected, dtype))
    tolerance.same_bits(ops.shrink(x, 1.0, positive=True), np.maximum(np.array(expected, dtype), 0))
    tolerance.exact(ops.shrink(x, 0.0), x)
    assert np.isnan(ops.shrink(np.array([[np.nan]], dtype), 1.0)).all()


def test_shrink_refuses():
    for a, message in (
        (-1.0, "threshold 0 is -1, it must not be negative"),
        ([0, np.nan], "threshold 1 is nan"),
        (np.ones(3), r"a is \(3,\), a number or \(2,\) is needed"),
    ):
        with pytest.raises(ValueError, match=message):
            ops.shrink(np.ones((4, 2)), a)
    with pytest.raises(ValueError, match="X has 1 dimensions"):
        ops.shrink(np.ones(4), 1.0)


# -- statistics and atoms --------------------------------------------------------------------------------------------


def stored(codes):
    rows = sp.csr_matrix(codes)
    indptr, indices = rows.indptr.astype(np.int64), rows.indices.astype(np.int32)
    return _core.States.from_sparse(indptr, indices, rows.data.astype(codes.dtype), codes.shape[1])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("n", "K", "d"), [(1, 1, 1), (7, 5, 3), (40, 33, 17), (3, 100, 64)])
def test_code_statistics(n, K, d, dtype):
    rng = np.random.default_rng(0)
    h = (rng.standard_normal((n, K)) * (rng.random((n, K)) < 0.3)).astype(dtype)
    x, A, B = rng.standard_normal((n, d)).astype(dtype), rng.standard_normal((K, K)), rng.standard_normal((K, d))
    wide_h, wide_x = h.astype(np.float64), x.astype(np.float64)
    for keep, share in ((0.75, 0.25 / n), (0.0, 1.0), (1.0, 0.5)):
        a, b = A.copy(), B.copy()
        _core.code_statistics(stored(h), x, keep, share, a, b)
        expected = reference.code_statistics(wide_h, wide_x, keep, share, A, B)
        magnitude = reference.code_statistics(np.abs(wide_h), np.abs(wide_x), keep, share, np.abs(A), np.abs(B))
        tolerance.near_sum(a, expected[0], magnitude[0], n + 3)
        tolerance.near_sum(b, expected[1], magnitude[1], n + 3)


@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize(("K", "d"), [(1, 1), (5, 3), (33, 17), (70, 40)])
def test_dictionary_update(K, d, positive):
    rng = np.random.default_rng(0)
    h = rng.standard_normal((50, K)) * (rng.random((50, K)) < 0.3)
    D = np.abs(rng.standard_normal((K, d))) if positive else rng.standard_normal((K, d))
    D /= np.linalg.norm(D, axis=1, keepdims=True)
    A, B = reference.code_statistics(h, rng.standard_normal((50, d)), 0, 1 / 50, np.zeros((K, K)), np.zeros((K, d)))
    unused = K // 2
    if K > 1:
        A[unused], A[:, unused], B[unused] = 0, 0, 0
    updated = D.copy()
    _core.dictionary_update(A, B, positive, updated)
    # Errors of earlier atoms enter later ones by A_kj / A_kk.
    spread = (np.abs(A).sum(axis=1) / np.where(np.diag(A) > 0, np.diag(A), 1)).max()
    expected = reference.dictionary_update(A, B, D, positive)
    tolerance.near_sum(updated, expected, np.full((K, d), 1 + spread), 100 * (K + d))
    tolerance.near_sum(np.linalg.norm(updated, axis=1), np.ones(K), np.ones(K), d + 8)
    assert not positive or (updated >= 0).all()
    if K > 1:
        tolerance.same_bits(updated[unused], D[unused])
    # What it minimises falls.
    loss = lambda D: 0.5 * np.trace(D.T @ A @ D) - np.trace(D.T @ B)  # noqa: E731
    assert loss(updated) <= loss(D)


def test_atoms_whose_direction_vanishes_stay():
    D = np.eye(3)
    _core.dictionary_update(np.eye(3), np.zeros((3, 3)), False, D)
    tolerance.same_bits(D, np.eye(3))
    _core.dictionary_update(np.eye(3), -np.ones((3, 3)), True, D)
    tolerance.same_bits(D, np.eye(3))
    _core.dictionary_update(np.eye(3), 1e-300 * np.eye(3)[::-1], False, D)  # its square is no number
    tolerance.exact(D, np.eye(3)[::-1].copy())


def test_ops_refuse_shapes():
    with pytest.raises(ValueError, match="4 rows of codes for 5 rows of X"):
        _core.code_statistics(stored(np.ones((4, 2))), np.ones((5, 3)), 0.0, 1.0, np.zeros((2, 2)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="A is 3 x 3, B 2 x 3 for 2 atoms of 3 features"):
        _core.code_statistics(stored(np.ones((4, 2))), np.ones((4, 3)), 0.0, 1.0, np.zeros((3, 3)), np.zeros((2, 3)))
    with pytest.raises(ValueError, match="A is 2 x 2, B 3 x 3, D 2 x 3"):
        _core.dictionary_update(np.eye(2), np.ones((3, 3)), False, np.ones((2, 3)))


# -- bad input to sparse_encode --------------------------------------------------------------------------------------

X, D = np.random.default_rng(0).standard_normal((4, 6)), np.random.default_rng(1).standard_normal((5, 6))


def at(array, place, value):
    changed = np.array(array)
    changed[place] = value
    return changed


@pytest.mark.parametrize(
    ("error", "message", "changes"),
    [
        (ValueError, "X has 6 columns, the dictionary 5", {"dictionary": D[:, :5]}),
        (ValueError, "X contains NaN in row 2, column 3; say with mask", {"X": at(X, (2, 3), np.nan)}),
        (ValueError, "X contains -inf in row 0, column 5", {"X": sp.csr_matrix(at(X, (0, 5), -np.inf))}),
        (ValueError, "X contains inf in row 1, column 1",
         {"X": at(X, (1, 1), np.inf), "mask": np.ones((4, 6), bool)}),
        (ValueError, "dictionary contains NaN", {"dictionary": at(D, (1, 1), np.nan)}),
        (ValueError, "alpha is -1 for row 0, atom 3", {"alpha": at(np.ones(5), 3, -1)}),
        (ValueError, "alpha is nan for row 2, atom 0", {"alpha": at(np.ones((4, 1)), 2, np.nan)}),
        (ValueError, "alpha is (3,), for 4 rows and 5 atoms it must be a number, (5,) by atom, (4, 1) by row, or",
         {"alpha": np.ones(3)}),
        (TypeError, "alpha is of type <U1", {"alpha": "a"}),
        (ValueError, "algorithm='lars' is not one of 'auto'", {"algorithm": "lars"}),
        (ValueError, "tol=-1, it must be at least 0", {"tol": -1}),
        (ValueError, "max_iter=-1, it must be at least 0", {"max_iter": -1}),
        (TypeError, "max_iter=2.5 is of type float", {"max_iter": 2.5}),
        (TypeError, "positive=1 is of type int", {"positive": 1}),
        (TypeError, "mask is of type float64, bool is needed", {"mask": np.ones((4, 6))}),
        (ValueError, "mask is (4, 5), X is (4, 6)", {"mask": np.ones((4, 5), bool)}),
        (ValueError, "init is (4, 6), (4, 5) is needed", {"init": np.ones((4, 6))}),
        (ValueError, "init contains NaN in row 1, column 2", {"init": at(np.ones((4, 5)), (1, 2), np.nan)}),
        (ValueError, "init is -1 for row 1, atom 2", {"init": at(np.ones((4, 5)), (1, 2), -1), "positive": True}),
        (ValueError, "n_jobs=0", {"n_jobs": 0}),
        (ValueError, "Expected 2D array", {"X": X[0]}),
    ],
)  # fmt: skip
def test_bad_input_is_refused(error, message, changes):
    with pytest.raises(error, match=re.escape(message)):
        sparse_encode(**{"X": X, "dictionary": D, "alpha": 0.5, **changes})


@pytest.mark.parametrize("algorithm", ["cd", "ista", "fista"])
def test_rows_that_are_not_done_are_told_of(algorithm):
    with pytest.warns(ConvergenceWarning, match=r"of 4 rows stopped at max_iter=1.*largest absolute gap is"):
        codes, gaps = sparse_encode(X, D, alpha=0.1, algorithm=algorithm, max_iter=1, return_gap=True)
    primal, gap = reference.lasso_gap(X, D, 0.1, codes)
    tolerance.converged(gaps, gap, 1e-12, 100)
    assert (gaps > 1e-6 * primal).any()


def test_X_is_left_alone():
    given, start = X.copy(), np.ones((4, 5))
    given.setflags(write=False)
    start.setflags(write=False)
    sparse_encode(given, D, alpha=0.5, init=start)
    tolerance.same_bits(given, X)


def test_sparse_rows_are_never_all_dense():
    """30000 x 5000, which would be 600 MB, within 400 MB of address space beyond what the imports take."""
    script = """
        import resource
        import numpy as np, scipy.sparse as sp
        from harmonium import SparseCoding, _core, sparse_encode
        _core.set_num_threads(1)
        rng = np.random.default_rng(0)
        at = rng.integers(0, 30_000, 6000), rng.integers(0, 5000, 6000)
        X = sp.csr_matrix((np.ones(6000, np.float32), at), (30_000, 5000))
        used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 400 * 2**20, resource.RLIM_INFINITY))
        atoms = rng.standard_normal((3, 5000)).astype(np.float32)
        assert sparse_encode(X, atoms, alpha=0.1).shape == (30_000, 3)
        SparseCoding(2, alpha=0.1, max_iter=1, random_state=0).fit(X)
        try:
            X.toarray()
        except MemoryError:
            print("dense does not fit")
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and "dense does not fit" in done.stdout, done.stdout + done.stderr
