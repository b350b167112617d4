"""Bad input is refused with its name and place before anything has changed; odd layouts just work."""

from __future__ import annotations

import copy
import re

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn.exceptions import NotFittedError

import tolerance
from harmonium import RBM, BernoulliRBM

LEARNED = ["components_", "intercept_hidden_", "intercept_visible_", "h_samples_"]
OF_VISIBLE = ["transform", "gibbs", "score_samples", "score", "free_energy", "log_likelihood"]
COLUMNS, HIDDEN = 70, 5  # more than a word of bits


def random_bits(rows=50, columns=COLUMNS, dtype=np.float32):
    return (np.random.default_rng(0).random((rows, columns)) < 0.4).astype(dtype)


def make(**parameters):
    defaults = {"n_components": HIDDEN, "n_iter": 2, "batch_size": 20, "momentum": 0.5, "random_state": 0}
    return RBM(**{**defaults, **parameters})


def fitted(**parameters):
    return make().fit(random_bits()).set_params(**parameters)


def frozen(value):
    """Something that equals another's only if every bit, type and shape is the same."""
    if isinstance(value, np.ndarray):
        return value.dtype.str, value.shape, value.tobytes()
    if isinstance(value, dict):
        return {name: frozen(part) for name, part in value.items()}
    return repr(value) if isinstance(value, float) else copy.deepcopy(value)


def refused(estimator, call, error, match=None):
    """The error is of this type, says what it must, and the estimator is as it was."""
    before = frozen(vars(estimator))
    with pytest.raises(error, match=match):
        call(estimator)
    after = frozen(vars(estimator))
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == []


# -- X -------------------------------------------------------------------------------------------------------------


def with_value(value, dtype=np.float32):
    X = random_bits(dtype=np.float64)
    X[3, 64] = value
    return X.astype(dtype)


BAD_X = {
    "NaN": (with_value(np.nan), ValueError, "NaN.* row 3, column 64"),
    "inf": (with_value(np.inf), ValueError, "inf.* row 3, column 64"),
    "-inf": (with_value(-np.inf), ValueError, "inf.* row 3, column 64"),
    "over 1": (with_value(1.5), ValueError, "1.5 in row 3, column 64"),
    "under 0": (with_value(-0.5, np.float64), ValueError, "-0.5 in row 3, column 64"),
    "uint8": (with_value(255, np.uint8), ValueError, "255 in row 3, column 64"),
    "int64": (with_value(-1, np.int64), ValueError, "-1 in row 3, column 64"),
    "float16": (with_value(np.nan, np.float16), ValueError, "NaN.* row 3, column 64"),
    "long double": (with_value(2, np.longdouble), ValueError, "2 in row 3, column 64"),
    "big-endian": (with_value(2, ">f4"), ValueError, "2 in row 3, column 64"),
    "Fortran": (np.asfortranarray(with_value(np.nan)), ValueError, "NaN.* row 3, column 64"),
    "reversed": (with_value(np.nan)[::-1, ::-1], ValueError, "NaN.* row 46, column 5"),
    "list": (with_value(7).tolist(), ValueError, "7 in row 3, column 64"),
    "DataFrame": (pd.DataFrame(with_value(7)), ValueError, "7 in row 3, column 64"),
    "CSR NaN": (sp.csr_matrix(with_value(np.nan)), ValueError, "NaN.* row 3, column 64"),
    "CSR inf": (sp.csr_matrix(with_value(np.inf)), ValueError, "inf.* row 3, column 64"),
    "CSR over 1": (sp.csr_matrix(with_value(1.5)), ValueError, "1.5 in row 3, column 64"),
    "CSC under 0": (sp.csc_matrix(with_value(-0.5)), ValueError, "-0.5 in row 3, column 64"),
    "CSR int64": (sp.csr_matrix(with_value(2, np.int64)), ValueError, "2 in row 3, column 64"),
    "no rows": (random_bits()[:0], ValueError, "0 sample"),
    "no columns": (random_bits()[:, :0], ValueError, "0 feature"),
    "CSR no rows": (sp.csr_matrix((0, COLUMNS)), ValueError, "0 sample"),
    "1-D": (random_bits()[0], ValueError, "2D array, got 1D"),
    "3-D": (random_bits()[None], ValueError, "dim 3"),
    "scalar": (0.5, ValueError, "2D array, got scalar"),
    "None": (None, ValueError, "2D array, got scalar"),
    "ragged": ([[0, 1], [1]], ValueError, "inhomogeneous|sequence"),
    "strings": (random_bits().astype(str), ValueError, "strings"),
    "objects": (np.full((4, COLUMNS), "on", dtype=object), ValueError, "could not convert string"),
    "objects in objects": (np.full((4, COLUMNS), {}, dtype=object), TypeError, "argument must be"),
    "complex": (random_bits().astype(complex), ValueError, "Complex"),
    "CSR complex": (sp.csr_matrix(random_bits().astype(complex)), ValueError, "Complex"),
    "dates": (random_bits().astype("M8[s]"), (TypeError, ValueError), "datetime"),
    "durations": (random_bits().astype("m8[s]"), (TypeError, ValueError), "timedelta"),
}
SAYS_WHO = [name for name, (_, _, match) in BAD_X.items() if "row" in match]


@pytest.mark.parametrize("name", BAD_X)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform"])
def test_fit_refuses_bad_X(name, method):
    X, error, match = BAD_X[name]
    who = "partial_fit" if method == "partial_fit" else "fit"
    refused(make(), lambda model: getattr(model, method)(X), error, match)
    if name in SAYS_WHO:
        match = rf"RBM\.{who}: .*{match}"
    refused(fitted(), lambda model: getattr(model, method)(X), error, match)


@pytest.mark.parametrize("name", BAD_X)
@pytest.mark.parametrize("method", OF_VISIBLE)
def test_methods_refuse_bad_X(name, method):
    X, error, match = BAD_X[name]
    if name in SAYS_WHO:
        match = rf"RBM\.(score_samples|{method}): .*{match}"
    refused(fitted(), lambda model: getattr(model, method)(X), error, match)


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix, pd.DataFrame])
@pytest.mark.parametrize("columns", [COLUMNS - 1, COLUMNS + 1, 1])
@pytest.mark.parametrize("method", ["partial_fit", *OF_VISIBLE])
def test_wrong_number_of_columns(method, columns, kind):
    X = kind(random_bits(columns=columns))
    refused(fitted(), lambda model: getattr(model, method)(X), ValueError, f"X has {columns} .*{COLUMNS}")


def test_rows_are_counted_past_the_first_block():
    X = random_bits(10_000, 3, np.int16)
    X[9_999, 2] = 3
    refused(make(), lambda model: model.fit(X), ValueError, "3 in row 9999, column 2")


def test_every_value_is_looked_at():
    for row, column in [(0, 0), (0, COLUMNS - 1), (49, 0), (49, COLUMNS - 1), (20, 63)]:
        place = f"row {row}, column {column}"
        for dtype in (np.float32, np.float64):
            X = random_bits(dtype=dtype)
            X[row, column] = np.nan
            refused(make(), lambda model, X=X: model.fit(X), ValueError, place)
            refused(make(), lambda model, X=X: model.fit(sp.csr_matrix(X)), ValueError, place)


def test_indices_of_sparse_rows_outside_the_matrix():
    for index in (COLUMNS, 2**30, -1):
        X = sp.csr_matrix(random_bits())
        X.indices[5] = index
        refused(make(), lambda model, X=X: model.fit(X), ValueError, "ind")
        refused(fitted(), lambda model, X=X: model.transform(X), ValueError, "ind")


@pytest.mark.parametrize("kind", [np.asarray, sp.csr_matrix])
def test_check_range_false_still_refuses_what_is_not_finite(kind):
    for value in (np.nan, np.inf):
        X = kind(with_value(value))
        refused(make(check_range=False), lambda model, X=X: model.fit(X), ValueError, "row 3, column 64")
    make(check_range=False).fit(kind(with_value(2.0)))


# -- parameters ----------------------------------------------------------------------------------------------------


NOT_POSITIVE, NOT_FINITE = [0, -1, -0.5], [np.nan, np.inf]
BAD_PARAMETERS = [
    *[("n_components", value) for value in (0, -1, True, 1.5, 2.0, "3", None, np.nan, np.inf, [3])],
    *[("n_gibbs_steps", value) for value in (0, -1, True, 1.0, None)],
    *[("n_chains", value) for value in (0, -1, True, 2.5, "all")],
    *[("learning_rate", value) for value in (*NOT_POSITIVE, *NOT_FINITE, -np.inf, True, "auto", 1j)],
    *[("momentum", value) for value in (-0.1, 1, 1.5, *NOT_FINITE, True, None)],
    *[("weight_decay", value) for value in (-1e-9, *NOT_FINITE, True, None)],
    *[("batch_size", value) for value in (0, -5, True, 2.0, np.nan, None)],
    *[("n_iter", value) for value in (-1, True, 1.5, np.inf, None)],
    *[("method", value) for value in ("PCD", "", None, 1)],
    *[("visible", value) for value in ("real", None, [("bernoulli", 0)], 3)],
    *[("hidden", value) for value in ("tanh", None)],
    *[("random_state", value) for value in ("seed", -1, 1.5)],
    *[("verbose", value) for value in ("yes", None)],
    *[(name, value) for name in ("l1", "sparsity_cost") for value in (-1e-9, *NOT_FINITE, True, None)],
    *[("sparsity_target", value) for value in (-0.1, 1, np.nan, None)],
    *[("fast_learning_rate", value) for value in (0, *NOT_FINITE, None)],
    *[("n_temperatures", value) for value in (1, 2.0, None)],
    *[(name, "no") for name in ("shuffle", "centering", "check_range", "learn_variance", "allow_missing")],
]


@pytest.mark.parametrize(("name", "value"), BAD_PARAMETERS)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_parameters(name, value, method):
    X = random_bits()
    # scikit-learn's own words for a seed that is none do not name the parameter.
    match = "[sS]eed" if name == "random_state" else rf"RBM: {name}={re.escape(repr(value))}"
    refused(make(**{name: value}), lambda model: getattr(model, method)(X), (ValueError, TypeError), match)
    if (method, name) != ("partial_fit", "random_state"):  # drawn once, by the first call
        refused(fitted(**{name: value}), lambda model: getattr(model, method)(X), (ValueError, TypeError), match)


@pytest.mark.parametrize("name", ["n_components", "n_chains"])
def test_more_memory_than_there_is(name):
    refused(make(**{name: 2**45}), lambda model: model.fit(random_bits()), MemoryError)
    refused(fitted(**{name: 2**45}), lambda model: model.fit(random_bits()), MemoryError)


def test_the_message_names_the_class_in_use():
    refused(BernoulliRBM(n_components=0), lambda model: model.fit([[0, 1]]), ValueError, "BernoulliRBM: n_components=0")


def test_numpy_numbers_are_numbers():
    integers = {"n_components": np.int64(3), "batch_size": np.uint8(7), "n_iter": np.int32(1), "n_chains": np.int8(3)}
    others = {"learning_rate": np.float32(0.1), "momentum": 0, "verbose": False, "shuffle": np.True_}
    make(**integers, **others).fit(random_bits())


# -- the other methods' arguments ------------------------------------------------------------------------------------


GREY, MASK = np.full((2, COLUMNS), 0.5), np.ones(COLUMNS, dtype=bool)
BAD_CALLS = {
    "gibbs n_steps": (lambda m: m.gibbs(random_bits(), n_steps=0), ValueError, "gibbs: n_steps=0"),
    "gibbs bool": (lambda m: m.gibbs(random_bits(), n_steps=True), TypeError, "gibbs: n_steps=True"),
    "sample none": (lambda m: m.sample(0), ValueError, "sample: n_samples=0"),
    "sample half": (lambda m: m.sample(1.5), TypeError, "sample: n_samples=1.5"),
    "sample n_steps": (lambda m: m.sample(1, n_steps=-1), ValueError, "sample: n_steps=-1"),
    "sample seed": (lambda m: m.sample(1, random_state="x"), ValueError, "seed"),
    "init rows": (lambda m: m.sample(3, init=GREY), ValueError, "init has 2 rows, n_samples=3"),
    "init columns": (lambda m: m.sample(2, init=GREY[:, 1:]), ValueError, "init has 69 columns, the model has 70"),
    "init NaN": (lambda m: m.sample(50, init=with_value(np.nan)), ValueError, "init.*NaN"),
    "init grey, clamped": (lambda m: m.sample(2, init=GREY, clamp=(MASK, MASK)), ValueError, "init must be 0 or 1"),
    "clamp one": (lambda m: m.sample(2, clamp=MASK[:1]), (TypeError, ValueError), "clamp"),
    "clamp number": (lambda m: m.sample(2, clamp=5), TypeError, "clamp"),
    "clamp mask type": (lambda m: m.sample(2, clamp=(GREY, MASK)), TypeError, "mask.*float64, bool is needed"),
    "clamp shape": (lambda m: m.sample(2, clamp=(MASK[1:], MASK)), ValueError, r"clamp is \(69,\)"),
    "clamp values": (lambda m: m.sample(2, clamp=(MASK, 2 * MASK)), ValueError, "clamp.*2 in row 0, column 0"),
    "clamp grey": (lambda m: m.sample(2, clamp=(MASK, GREY)), ValueError, "clamp"),
    "clamp NaN": (lambda m: m.sample(2, clamp=(MASK, GREY * np.nan)), ValueError, "clamp.*NaN"),
    "H columns": (lambda m: m.inverse_transform(np.ones((2, 4))), ValueError, "H has 4 columns, the model has 5"),
    "H 1-D": (lambda m: m.inverse_transform(np.ones(5)), ValueError, "2D array, got 1D"),
    "H range": (lambda m: m.inverse_transform(np.full((2, 5), 2)), ValueError, "H holds 2 in row 0, column 0"),
    "H NaN": (lambda m: m.inverse_transform(np.full((2, 5), np.nan)), ValueError, "H .*NaN.* row 0, column 0"),
    "energy H": (lambda m: m.energy(random_bits(), np.ones((50, 4))), ValueError, "H has 4 columns, the model has 5"),
    "energy H NaN": (lambda m: m.energy(GREY, np.full((2, 5), np.nan)), ValueError, "H .*NaN.* row 0, column 0"),
    "energy V": (lambda m: m.energy(GREY[:, 1:], np.ones((2, 5))), ValueError, "69 .*70"),
    "energy rows": (lambda m: m.energy(GREY, np.ones((3, 5))), ValueError, "V has 2 rows, H 3"),
    "log Z method": (lambda m: m.log_partition("guess"), ValueError, "log_partition: method='guess'"),
    "log Z n_runs": (lambda m: m.log_partition("ais", n_runs=0), ValueError, "log_partition: n_runs=0"),
    "log Z n_betas": (lambda m: m.log_partition("ais", n_betas=1), ValueError, "log_partition: n_betas=1"),
    "betas end": (lambda m: m.log_partition("ais", betas=[0, 0.5]), ValueError, "log_partition: betas"),
    "betas fall": (lambda m: m.log_partition("ais", betas=[0, 0.5, 0.2, 1]), ValueError, "log_partition: betas"),
    "betas NaN": (lambda m: m.log_partition("ais", betas=[0, np.nan, 1]), ValueError, "log_partition: beta"),
    "grey likelihood": (lambda m: m.log_likelihood(GREY), ValueError, "log_likelihood: X holds values between 0 and 1"),
    "log Z a number": (lambda m: m.log_likelihood(GREY.round(), log_partition=3.0), TypeError, "log_partition"),
}


@pytest.mark.parametrize("name", BAD_CALLS)
def test_bad_arguments(name):
    call, error, match = BAD_CALLS[name]
    refused(fitted(), call, error, match)


@pytest.mark.parametrize("method", [*OF_VISIBLE, "inverse_transform"])
def test_not_fitted(method):
    refused(make(), lambda model: getattr(model, method)(random_bits()), NotFittedError, "RBM")
    refused(make(), lambda model: model.sample(), NotFittedError, "RBM")
    refused(make(), lambda model: model.log_partition(), NotFittedError, "RBM")


# -- what just works -------------------------------------------------------------------------------------------------


def memory_map(X, path):
    X.tofile(path)
    return np.memmap(path, X.dtype, "r", shape=X.shape)


def read_only(X):
    X = X.copy()
    X.setflags(write=False)
    return X


def unaligned(X):
    """Rows that start at odd addresses: a field after one byte."""
    records = np.zeros(len(X), dtype=[("byte", "u1"), ("row", X.dtype, X.shape[1])])
    records["row"] = X
    return records["row"]


def messy_csr(X, zero):
    """Indices unsorted, every value in two halves, zeros stored."""
    rows, columns = np.nonzero(X)
    order = np.random.default_rng(1).permutation(2 * len(rows))
    values = np.tile(X[rows, columns] / 2, 2)[order]
    rows, columns = np.tile(rows, 2)[order], np.tile(columns, 2)[order]
    if zero:
        rows, columns = np.append(rows, np.arange(len(X))), np.append(columns, np.arange(len(X)))
        values = np.append(values, np.zeros(len(X)))
    order = np.argsort(rows, kind="stable")
    counts = np.bincount(rows, minlength=len(X))
    indptr = np.concatenate([[0], np.cumsum(counts)])
    matrix = sp.csr_matrix((values[order].astype(X.dtype), columns[order], indptr), shape=X.shape)
    assert not matrix.has_canonical_format
    return matrix


LAYOUTS = {
    "every other column": lambda X, path: np.repeat(X, 2, axis=1)[:, ::2],
    "every other row": lambda X, path: np.repeat(X, 2, axis=0)[::2],
    "reversed": lambda X, path: X[::-1, ::-1].copy()[::-1, ::-1],
    "Fortran": lambda X, path: np.asfortranarray(X),
    "read-only": lambda X, path: read_only(X),
    "memory map": lambda X, path: memory_map(X, path),
    "unaligned": lambda X, path: unaligned(X),
    "big-endian": lambda X, path: X.astype(X.dtype.newbyteorder(">")),
    "list": lambda X, path: X.tolist(),
    "DataFrame": lambda X, path: pd.DataFrame(X),
    "objects": lambda X, path: X.astype(object),
    "CSR": lambda X, path: sp.csr_matrix(X),
    "CSR array": lambda X, path: sp.csr_array(X),
    "COO": lambda X, path: sp.coo_matrix(X),
    "CSR, 64-bit indices": lambda X, path: wide_indices(sp.csr_matrix(X)),
    "CSR, read-only": lambda X, path: read_only_csr(sp.csr_matrix(X)),
    "CSR, unsorted, duplicates": lambda X, path: messy_csr(X, zero=False),
    "CSR, unsorted, duplicates, zeros": lambda X, path: messy_csr(X, zero=True),
}


def wide_indices(X):
    X.indices, X.indptr = X.indices.astype(np.int64), X.indptr.astype(np.int64)
    return X


def read_only_csr(X):
    for part in (X.data, X.indices, X.indptr):
        part.setflags(write=False)
    return X


def assert_same_results(X, plain):
    a, b = make().fit(X), make().fit(plain)
    eps_of = b.components_.dtype
    tolerance.exact(a.h_samples_, b.h_samples_)
    for name in LEARNED[:3]:
        if sp.issparse(X):  # summed in another order: 6 steps over 40 rows of terms up to 1
            tolerance.near_sum(getattr(a, name), getattr(b, name), np.ones(getattr(b, name).shape), 6 * 40)
        else:
            tolerance.same_bits(getattr(a, name), getattr(b, name))
    tolerance.exact(b.gibbs(X, random_state=1), b.gibbs(plain, random_state=1))
    for method in ("transform", "score_samples", "free_energy"):
        result, expected = getattr(b, method)(X), getattr(b, method)(plain)
        tolerance.near_sum(result, expected, np.full(expected.shape, 70.0), 100, dtype=eps_of)


@pytest.mark.parametrize("grey", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(layout, grey, tmp_path):
    # float64, which a list becomes; sixteenths, so that halves of them add up again.
    plain = random_bits(dtype=np.float64) * (np.arange(1, COLUMNS + 1) % 16 / 16 if grey else 1)
    X = LAYOUTS[layout](plain, tmp_path / "X")
    untouched = copy.deepcopy(X)
    assert_same_results(X, plain)
    if sp.issparse(X):
        for part in ("data", "indices", "indptr") if X.format == "csr" else ():
            tolerance.same_bits(getattr(X, part), getattr(untouched, part))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int8, np.int32, np.int64, np.uint64, np.float16, ">i4", ">f4"])
@pytest.mark.parametrize("kind", [np.ascontiguousarray, sp.csr_matrix])
def test_dtypes_that_become_float32(dtype, kind):
    plain = random_bits()
    if kind is sp.csr_matrix and np.dtype(dtype).str in (">i4", ">f4", "<f2"):
        kind = np.asfortranarray  # SciPy's sparse matrices do not hold these
    assert_same_results(kind(plain.astype(dtype)), plain)


def test_long_double_becomes_float64():
    plain = random_bits(dtype=np.float64) / 3
    assert_same_results(plain.astype(np.longdouble), plain)


def test_rows_without_ones_and_without_zeros():
    X = np.zeros((20, COLUMNS))
    assert_same_results(sp.csr_matrix(X), X)
    assert_same_results(sp.csr_matrix(X + 1), X + 1)


def test_one_row_and_one_column():
    assert make().fit([[1]]).transform([[0], [1]]).shape == (2, HIDDEN)
