"""Each op against its reference, over shapes, densities and types."""

from __future__ import annotations

import re

import numpy as np
import pytest
import scipy.sparse as sp

import reference
import tolerance
from every_op import run_step, states_in_runs, step_arguments
from harmonium import _core, ops

DTYPES = [np.float32, np.float64]
needs_longdouble = pytest.mark.skipif(
    np.finfo(np.longdouble).eps >= np.finfo(np.float64).eps, reason="long double is no wider than double here"
)


# -- random numbers ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "expected"),
    [
        # Salmon et al.'s own known answers, kat_vectors of Random123: philox4x32, 10 rounds.
        ((0, 0, 0, 0), (0, 0), "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ],
)
def test_philox_known_answers(counter, key, expected):
    words = [int(word, 16) for word in expected.split()]
    assert list(_core.philox(counter, key)) == words
    assert reference.philox4x32_10(counter, key).tolist() == words


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("seed", "stream", "step", "first_row"),
    [(0, 0, 0, 0), (1, 5, 2, 3), (2**63 - 1, 1, 2**32 - 1, 1000), (2**40 + 17, 4, 2**33 + 5, 2**31)],
)
def test_uniform_layout(dtype, seed, stream, step, first_row, device):
    place = {"device": device.name}
    u = ops.uniform((5, 301), seed=seed, stream=stream, step=step, first_row=first_row, dtype=dtype, **place)
    expected = reference.uniform(seed, stream, step, 5, 301, first_row=first_row, dtype=dtype)
    tolerance.same_bits(u, expected)
    tolerance.same_bits(
        ops.uniform((3, 301), seed=seed, stream=stream, step=step, first_row=first_row + 2, dtype=dtype, **place), u[2:]
    )


def test_uniform_is_uniform_and_streams_are_independent():
    """Counts of 64 cells, per stream and for pairs of neighbours in row, column, step, stream and seed."""
    base = {"seed": 3, "stream": 5, "step": 1}
    u = ops.uniform((400, 640), **base)
    assert u.min() >= 0 and u.max() < 1
    counts = np.bincount((u * 64).astype(int).ravel(), minlength=64)
    tolerance.statistical(tolerance.chi_square(counts, np.full(64, 1 / 64)))
    others = [u[1:, :], u[:, 1:]] + [ops.uniform((400, 640), **{**base, k: base[k] + 1}) for k in base]
    for other in others:
        first = u[: other.shape[0], : other.shape[1]]
        cell = (first * 8).astype(int) * 8 + (other * 8).astype(int)
        counts = np.bincount(cell.ravel(), minlength=64)
        tolerance.statistical(tolerance.chi_square(counts, np.full(64, 1 / 64)))


def test_float32_draws_are_the_float64_ones_cut_short():
    u32, u64 = (ops.uniform((9, 200), seed=4, dtype=dtype) for dtype in DTYPES)
    tolerance.exact(u32.astype(np.float64), np.floor(u64 * 2**24) / 2**24)


# -- elementary functions ------------------------------------------------------------------------------------------


def arguments(name, dtype):
    """Many points, and the neighbourhoods of zero, of the reduction's seams and of the ends."""
    low, high = (-87.0, 88.0) if dtype == np.float32 else (-708.0, 709.0)
    rng = np.random.default_rng(0)
    if name == "sigmoid":
        low, high = -high, -low  # exp(-x) is taken
    if name == "softplus":
        low, high = low, -low  # exp(-|x|)
    seams = (np.arange(-120, 120) + 0.5) * np.log(2)
    small = 10.0 ** rng.uniform(-30, 0, 1000)
    x = np.concatenate(
        [rng.uniform(low, high, 100_000), rng.uniform(-2, 2, 100_000), small, -small, seams, [low, high, 0.0]]
    )
    return x[(x >= low) & (x <= high)].astype(dtype)


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "limit"), [("exp", 2), ("sigmoid", 4), ("softplus", 4)])
def test_elementary_functions(name, limit, dtype):
    x = arguments(name, dtype)
    function = {"exp": np.exp, "sigmoid": reference.sigmoid, "softplus": reference.softplus}[name]
    tolerance.ulp(_core.elementwise(name, x), function(x.astype(np.longdouble)), limit)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_is_clamped_at_its_ends(dtype):
    low, high = (-87.0, 88.0) if dtype == np.float32 else (-708.0, 709.0)
    inside = _core.elementwise("exp", np.array([low, high], dtype=dtype))
    tolerance.same_bits(_core.elementwise("exp", np.array([-np.inf, np.inf], dtype=dtype)), inside)
    tolerance.same_bits(_core.elementwise("exp", np.array([low - 1e3, high + 1e3], dtype=dtype)), inside)
    assert np.isfinite(inside).all() and inside[0] > 0


def test_elementwise_refuses_unknown_functions():
    with pytest.raises(ValueError, match="no function named tan"):
        _core.elementwise("tan", np.ones(1))


# -- bits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float16, *DTYPES])
@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (2, 64), (5, 65), (70, 130), (0, 7)])
def test_pack_and_unpack(dtype, shape, device):
    x = np.random.default_rng(0).random(shape) < 0.4
    there = ops.pack_bits(device.array(x.astype(dtype)))
    words = device.host(there)
    padded = np.zeros((shape[0], -(-shape[1] // 64) * 64), dtype=bool)
    padded[:, : shape[1]] = x
    tolerance.exact(words, np.packbits(padded, axis=1, bitorder="little").view("<u8").astype(np.uint64))
    tolerance.exact(device.host(ops.unpack_bits(there, shape[1])), x.astype(np.float32))


def test_pack_reads_any_strides():
    x = np.random.default_rng(0).random((40, 300)) < 0.4
    for view in (x.T, x[::3, ::2], x[::-1, ::-1], np.asfortranarray(x), np.broadcast_to(x[0], (4, 300))):
        for dtype in (bool, np.float32):
            cast = view.astype(dtype, copy=False)
            if view.strides[0] == 0:
                cast = np.broadcast_to(cast[0], view.shape)
            tolerance.exact(ops.pack_bits(cast), ops.pack_bits(np.array(view, order="C")))


@pytest.mark.parametrize(("value", "said"), [(np.nan, "NaN"), (np.inf, "inf"), (2.0, "2"), (-1.0, "-1")])
def test_pack_refuses_what_is_no_state(value, said, device):
    x = np.zeros((4, 80))
    x[2, 70] = value
    with pytest.raises(ValueError, match=rf"{re.escape(said)}.* row 2, column 70"):
        ops.pack_bits(x, device=device.name)


def test_pack_refuses_grey_values():
    with pytest.raises(ValueError, match="between 0 and 1"):
        ops.pack_bits(np.full((1, 1), 0.5))


@pytest.mark.parametrize("shape", [(1, 1), (64, 64), (63, 65), (1, 200), (200, 1), (100, 784), (130, 77)])
def test_transpose_bits(shape):
    x = np.random.default_rng(0).random(shape) < 0.4
    tolerance.exact(_core.transpose_bits(ops.pack_bits(x), shape[1]), ops.pack_bits(x.T))


# -- products ------------------------------------------------------------------------------------------------------


def numbers(rng, shape, dtype, integers):
    """Normal numbers, or small integers: their sums have no rounding error in any order."""
    return (rng.integers(-8, 9, shape) if integers else rng.standard_normal(shape)).astype(dtype)


def check_product(actual, a, b, k, integers):
    """Against op(A) op(B), both of them given in the tested type's own values."""
    if integers:
        tolerance.exact(actual, (a.astype(np.float64) @ b.astype(np.float64)).astype(actual.dtype))
        return
    wide = reference.wide(actual.dtype)
    expected = a.astype(wide) @ b.astype(wide)
    magnitude = np.abs(a).astype(np.float64) @ np.abs(b).astype(np.float64)
    tolerance.near_sum(actual, expected, magnitude, k)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("transposes", [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 7), (100, 64, 50), (600, 33, 20), (20, 33, 600)])
def test_gemm(shape, transposes, dtype, device):
    m, k, n = shape
    rng = np.random.default_rng(0)
    for integers in (False, True):
        a, b = numbers(rng, (m, k), dtype, integers), numbers(rng, (k, n), dtype, integers)
        sides = [x.T.copy() if t else x for x, t in zip((a, b), transposes, strict=True)]
        c = ops.gemm(*map(device.array, sides), transpose_a=transposes[0], transpose_b=transposes[1])
        check_product(device.host(c), a, b, 2 * k, integers)


SHAPES = [(1, 1), (5, 3), (63, 17), (64, 64), (65, 16), (133, 70), (784, 500)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k_m", SHAPES)
@pytest.mark.parametrize("n", [1, 10, 80, 128, 1000])
def test_binary_gemm(n, k_m, dtype):
    """All the ways of the kernel: rows, pairs of rows, tables of 4 and of 5, by rows and density."""
    (k, m), rng = k_m, np.random.default_rng(n)
    for density in (0.0, 0.02, 0.13, 0.5, 1.0):
        a = rng.random((n, k)) < density
        for states in (a, states_in_runs(rng, n, k, density)):
            integers = n * k * m > 10**6 and dtype == np.float64  # long double takes its time
            b = numbers(rng, (k, m), dtype, integers)
            check_product(ops.binary_gemm(states, b), states, b, k, integers)
            check_product(ops.binary_gemm(states, b.T.copy(), transpose_b=True), states, b, k, integers)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (10, 65, 17), (100, 133, 70), (600, 784, 50)])
def test_binary_gemm_takes_words_sparse_rows_and_numbers(shape, dtype):
    (n, k, m), rng = shape, np.random.default_rng(0)
    b = numbers(rng, (k, m), dtype, False)
    a = rng.random((n, k)) < 0.13
    grey = (rng.random((n, k)) * a).astype(dtype)
    for transpose_b, right in ((False, b), (True, b.T.copy())):
        by_bits = ops.binary_gemm(a, right, transpose_b=transpose_b)
        tolerance.same_bits(ops.binary_gemm(ops.pack_bits(a), right, transpose_b=transpose_b, n_columns=k), by_bits)
        check_product(ops.binary_gemm(sp.csr_matrix(a), right, transpose_b=transpose_b), a, b, k, False)
        # One product more per term than a sum: Higham's 2 k eps of a product.
        check_product(ops.binary_gemm(grey, right, transpose_b=transpose_b), grey, b, 2 * k, False)
        check_product(ops.binary_gemm(sp.csr_matrix(grey), right, transpose_b=transpose_b), grey, b, 2 * k, False)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k_m", [(1, 1), (63, 17), (133, 70), (784, 500)])
@pytest.mark.parametrize("n", [1, 10, 100, 128, 1000])
def test_binary_gemm_tn(n, k_m, dtype):
    (k, m), rng = k_m, np.random.default_rng(n)
    for density in (0.0, 0.13, 0.6, 1.0):
        a = states_in_runs(rng, n, k, density)
        integers = n * k * m > 10**6 and dtype == np.float64
        b = numbers(rng, (n, m), dtype, integers)
        check_product(ops.binary_gemm_tn(a, b), a.T, b, n, integers)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1, 1), (10, 65, 17), (40, 133, 20), (0, 70, 5), (3, 70, 0)])
def test_binary_products_on_either_device(shape, dtype, device):
    (n, k, m), rng = shape, np.random.default_rng(0)
    a, b, c = rng.random((n, k)) < 0.3, numbers(rng, (k, m), dtype, False), numbers(rng, (n, m), dtype, False)
    words, there = device.array(ops.pack_bits(a)), device.array(b)
    # On a GPU every number is the sum of three bfloat16 ones.
    for product in (
        ops.binary_gemm(words, there, n_columns=k),
        ops.binary_gemm(words, device.array(b.T.copy()), transpose_b=True, n_columns=k),
        ops.binary_gemm(a, b, device=device.name),
    ):
        check_product(device.host(product), a, b, 4 * k, False)
    for product in (
        ops.binary_gemm_tn(words, device.array(c), n_columns=k),
        ops.binary_gemm_tn(a, c, device=device.name),
    ):
        check_product(device.host(product), a.T, c, 4 * n, False)
    grey = (a * rng.random((n, k))).astype(dtype)
    check_product(device.host(ops.binary_gemm(grey, b, device=device.name)), grey, b, 2 * k, False)
    for right, transposed in ((b, False), (b.T.copy(), True)):
        for left, terms in ((a, k), (grey, 2 * k)):
            given = sp.csr_matrix(left)
            product = ops.binary_gemm(given, device.array(right), transpose_b=transposed, device=device.name)
            check_product(device.host(product), left, b, terms, False)
            same = ops.binary_gemm(given, right, transpose_b=transposed, device=device.name)
            tolerance.same_bits(same, device.host(product))


@pytest.mark.parametrize("device", ["cuda"], indirect=True)  # without a GPU there is one place
def test_binary_products_of_arrays_in_two_places_are_refused(device):
    a, b = np.ones((2, 3), bool), np.ones((3, 2))
    with pytest.raises(ValueError, match=r"binary_gemm: B is a \S+ on GPU 0, A is a NumPy array; move one"):
        ops.binary_gemm(a, device.array(b))
    with pytest.raises(ValueError, match=r"binary_gemm: B is a NumPy array, A is a \S+ on GPU 0; move one"):
        ops.binary_gemm(device.array(a), b)
    with pytest.raises(ValueError, match="binary_gemm: A is a sparse matrix of NumPy arrays, B is on a GPU"):
        ops.binary_gemm(sp.csr_matrix(a), device.array(b))


def test_products_refuse_shapes_that_do_not_fit():
    a, b = np.zeros((3, 4)), np.zeros((5, 2))
    with pytest.raises(ValueError, match=r"gemm: op\(A\) is 3 x 4, op\(B\) 5 x 2"):
        ops.gemm(a, b)
    with pytest.raises(ValueError, match=r"binary_gemm: A is 3 x 4, op\(B\) 5 x 2"):
        ops.binary_gemm(a, b)
    with pytest.raises(ValueError, match=r"binary_gemm: A is 4 x 3, op\(B\) 5 x 2"):
        ops.binary_gemm_tn(a, b)
    with pytest.raises(ValueError, match="bits of 65 columns need 2 words a row"):
        ops.binary_gemm(np.zeros((3, 1), dtype=np.uint64), np.zeros((65, 2)), n_columns=65)


# -- draws ---------------------------------------------------------------------------------------------------------


@needs_longdouble
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 63), (10, 64), (130, 65), (257, 500)])
def test_bernoulli(shape, dtype, device):
    rng = np.random.default_rng(0)
    a = (4 * rng.standard_normal(shape)).astype(dtype)
    bias = rng.standard_normal(shape[1]).astype(dtype)
    for scale, stream, step, first_row in ((1.0, 5, 0, 0), (0.37, 0, 2**35 + 1, 9)):
        draw = {"seed": 2**50 + 3, "stream": stream, "step": step}
        p, words = ops.bernoulli(device.array(a), device.array(bias), scale=scale, first_row=first_row, **draw)
        p, words = device.host(p), device.host(words)
        u = reference.uniform(draw["seed"], stream, step, *shape, first_row=first_row, dtype=dtype)
        tolerance.exact(words, ops.pack_bits(u < p))
        rounded = a * dtype(scale) + bias
        if device.name == "cuda":  # rounded once there
            rounded = (a.astype(np.longdouble) * dtype(scale) + bias).astype(dtype)
        tolerance.ulp(p, reference.bernoulli(rounded.astype(np.longdouble), 0, 1, u)[0], 4)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_at_the_ends(dtype, device):
    """Hopeless and certain units, which a comparison by <= or a rounded p would get wrong in places."""
    a = np.repeat(np.array([[-1e4, 1e4, np.finfo(dtype).min, np.finfo(dtype).max]], dtype=dtype), 500, axis=0)
    p, words = ops.bernoulli(a, np.zeros(4, dtype=dtype), seed=0, device=device.name)
    tolerance.exact(ops.unpack_bits(words, 4), np.repeat(np.float32([[0, 1, 0, 1]]), 500, axis=0))
    assert (p >= 0).all() and (p[:, 1] == 1).all()


# -- the gradient step ---------------------------------------------------------------------------------------------


CHANGED = ["weights", "visible_bias", "hidden_bias", "hidden_offset"]
VELOCITIES = ["weight_velocity", "visible_velocity", "hidden_velocity"]
SHAPES_OF_STEPS = [(1, 1, 1, 1), (65, 17, 10, 10), (77, 150, 30, 21), (600, 70, 7, 600), (130, 64, 550, 3)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", SHAPES_OF_STEPS)
@pytest.mark.parametrize("dense", [False, True])
@pytest.mark.parametrize(
    "switches",
    [
        {"centred": False, "momentum": 0.0, "weight_decay": 0.0},
        {"centred": True, "momentum": 0.0, "weight_decay": 0.0},
        {"centred": True, "momentum": 0.75, "weight_decay": 0.125},
        {"centred": False, "momentum": 0.75, "weight_decay": 0.125},
    ],
)
def test_rbm_step(shape, dense, switches, dtype):
    visible, hidden, n, m = shape
    before = step_arguments(np.random.default_rng(0), visible, hidden, n, m, dtype, dense)
    p, words, after = run_step(before, **switches, seed=2**45)
    numbers = {name: value for name, value in after.items() if not isinstance(value, np.ndarray)}
    wide = {name: value.astype(reference.wide(dtype)) for name, value in before.items()}
    given = [wide.pop(name) for name in ("data", "data_probability", "model")]
    p_expected, expected = reference.rbm_step(*given, {**wide, **numbers})
    p_magnitude, magnitude = reference.rbm_step_magnitude(*given, {**wide, **numbers})
    # The longest chain of roundings: activation, gradient over the rows, correction over the other layer, update.
    terms = n + m + 2 * max(visible, hidden) + 20
    tolerance.near_sum(p, p_expected, p_magnitude, terms)
    for name in CHANGED + (VELOCITIES if switches["momentum"] else []):
        tolerance.near_sum(after[name], expected[name], magnitude[name], terms)
    for name in ["visible_offset", "visible_difference"] + ([] if switches["momentum"] else VELOCITIES):
        tolerance.same_bits(after[name], before[name])
    u = reference.uniform(2**45, reference.STREAMS["hidden"], 0, m, hidden, dtype=dtype)
    states = _core.States.from_bits(ops.pack_bits(before["model"]), visible)
    on = _core.rbm_probability(before["weights"], before["visible_bias"], before["hidden_bias"], states, False)
    tolerance.exact(words, ops.pack_bits(u < on))


def test_rbm_step_refuses_shapes_that_do_not_fit():
    before = step_arguments(np.random.default_rng(0), 9, 7, 5, 5, np.float64, False)
    switches = {"centred": True, "momentum": 0.5, "weight_decay": 0.0}
    for name in ("weight_velocity", "data_probability", "visible_velocity", "visible_difference", "hidden_bias"):
        with pytest.raises(ValueError, match=r"rbm_step: weights 9 x 7|are needed"):
            run_step({**before, name: before[name][:-1]}, **switches)
    for name in ("data", "model"):
        with pytest.raises(ValueError, match=r"rbm_step: weights 9 x 7"):
            run_step({**before, name: np.zeros((5, 70), dtype=bool)}, **switches)
