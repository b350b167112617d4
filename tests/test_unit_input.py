"""What users pass to machines with units of any type, and what they get back: forms, types, refusals, first steps."""

from __future__ import annotations

import pickle
import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import tolerance
from harmonium import RBM
from unit_machines import Kind, Truth, assigned

# -- draws -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clamp", [False, True])
def test_the_first_step_is_independent_of_the_start(clamp):
    """The law of v after one step v -> h -> v from independent draws, of two units (and a third that is clamped)."""
    weights, b, n = [[2.0, 2.0, 0.0]], [-0.5, 0.3, 0.0], 200_000
    rbm = assigned(weights, b, [-2.0], visible=[("bernoulli", 3)])
    truth = Truth(rbm, Kind(rbm.visible, "bernoulli", (("bernoulli", 3),), 1))
    start = np.exp(truth.v @ b) / np.prod(1 + np.exp(b))
    h_given_v, v_given_h = truth.p / truth.p_v[:, None], (truth.p / truth.p_h).T
    law = start @ h_given_v @ v_given_h
    settings = {"clamp": (np.array([False, False, True]), np.zeros(3))} if clamp else {}
    drawn = rbm.sample(n, n_steps=1, random_state=1, **settings)
    found = drawn[:, 0] + 2 * drawn[:, 1]
    expected = np.bincount((truth.v[:, 0] + 2 * truth.v[:, 1]).astype(int), law)
    tolerance.statistical(tolerance.chi_square(np.bincount(found.astype(int), minlength=4), expected))


# -- codes and one-hot -----------------------------------------------------------------------------------------------

CODES = np.random.default_rng(0).integers(0, 3, (40, 4))


def one_hot(codes, sizes):
    return np.hstack([np.eye(k)[codes[:, i].astype(int)] for i, k in enumerate(sizes)])


def categorical(n_categories, **parameters):
    return RBM(2, visible="categorical", n_categories=n_categories, n_iter=1, random_state=0, **parameters)


def test_a_row_that_is_not_one_hot_is_refused_and_not_read_as_codes():
    X = one_hot(CODES, [3] * 4)
    assert len(categorical(3).fit(X).n_categories_) == 4
    X[17, 6:9] = 1, 1, 0
    with pytest.raises(ValueError, match=r"one-hot with 3 .* 39 of 40 rows, but row 17 has 2 ones in columns 6 to 8"):
        categorical(3).fit(X)
    with pytest.raises(ValueError, match=r"in row 17 site 2 has 2 ones"):
        categorical([3] * 4).fit(X)
    assert len(categorical([3] * 12).fit(X).n_categories_) == 12
    X[17, 6:9] = np.nan, 0, 1
    with pytest.raises(ValueError, match=r"NaN in row 17, column 6"):
        categorical(3).fit(X)
    with pytest.raises(ValueError, match="X is one-hot"):
        categorical(3, allow_missing=True).fit(X)


def test_two_columns_that_always_differ_are_codes_unless_said_otherwise():
    X = np.array([[0, 1], [1, 0], [1, 0], [0, 1]])
    tolerance.exact(categorical(2).fit(X).n_categories_, np.array([2, 2]))
    tolerance.exact(categorical([2]).fit(X).n_categories_, np.array([2]))


def test_a_code_of_2_or_many_rows_that_are_not_one_hot_make_codes():
    few_ones = np.array([[0, 0, 1], [0, 0, 0], [0, 1, 1], [1, 1, 0]])
    for X in (CODES[:, :3], few_ones):
        assert len(categorical(3).fit(X).n_categories_) == 3


@pytest.mark.parametrize("n_categories", [[3, 2, 4], 3], ids=str)
def test_blocks_share_n_categories_in_their_order(n_categories):
    codes = CODES[:, :3] % [3, 2, 3]
    sizes = np.resize(n_categories, 3)
    real = np.random.default_rng(1).normal(size=(40, 1))
    hot = one_hot(codes, sizes)
    cut = sizes[:2].sum()
    settings = {"n_categories": n_categories, "n_iter": 1, "random_state": 0}
    blocks = [("categorical", 2), ("gaussian", 1), ("categorical", 1)]
    hot_blocks = [("categorical", int(cut)), ("gaussian", 1), ("categorical", int(sizes[2]))]
    X, X_hot = np.hstack([codes[:, :2], real, codes[:, 2:]]), np.hstack([hot[:, :cut], real, hot[:, cut:]])
    a, b = RBM(2, visible=blocks, **settings).fit(X), RBM(2, visible=hot_blocks, **settings).fit(X_hot)
    for rbm in (a, b):
        tolerance.exact(rbm.n_categories_, np.array(sizes))
        tolerance.same_bits(rbm.free_energy(X), rbm.free_energy(X_hot))
    tolerance.same_bits(a.components_, b.components_)
    # Put together by assignment, without a fit.
    for visible in (blocks, hot_blocks):
        c = assigned(
            a.components_, a.intercept_visible_, a.intercept_hidden_, visible=visible, n_categories=n_categories
        )
        for form in (X, X_hot):
            tolerance.same_bits(c.free_energy(form), a.free_energy(X).astype(np.float64))


def test_forms_that_differ_between_blocks_are_refused():
    X = np.hstack([one_hot(CODES[:, :1], [3]), CODES[:, 1:3]])
    with pytest.raises(ValueError, match=r"columns 0 to 2 of X are one-hot and columns 3 to 4 are not"):
        RBM(2, visible=[("categorical", 3), ("categorical", 2)], n_categories=3).fit(X)
    with pytest.raises(ValueError, match=r"\(4, 2\) one after the other do not fill one-hot blocks of \[3, 3\]"):
        RBM(2, visible=[("categorical", 3), ("categorical", 3)], n_categories=[4, 2]).fit(np.zeros((2, 6)))


@pytest.mark.parametrize("fitted", ["codes", "one-hot", "assigned"])
def test_either_form_is_taken_after_the_fit_and_the_fitted_one_given_back(fitted):
    sizes = [3, 4, 3, 5]
    hot = one_hot(CODES, sizes)
    rbm = categorical(sizes).fit(hot if fitted == "one-hot" else CODES.astype(float))
    if fitted == "assigned":
        model = (rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_)
        rbm = assigned(*model, visible="categorical", n_categories=sizes, random_state=0)
    for method in ("transform", "score_samples", "free_energy", "log_likelihood"):
        tolerance.same_bits(getattr(rbm, method)(CODES), getattr(rbm, method)(hot))
    tolerance.same_bits(rbm.energy(CODES, np.ones((40, 2))), rbm.energy(hot, np.ones((40, 2))))
    drawn = [rbm.gibbs(X, random_state=0) for X in (CODES, hot)]
    drawn += [rbm.sample(40, n_steps=1, init=X, random_state=0) for X in (CODES, hot)]
    assert {x.shape for x in drawn} == {(40, 15 if fitted == "one-hot" else 4)}
    tolerance.same_bits(drawn[0], drawn[1])
    tolerance.same_bits(drawn[2], drawn[3])
    with pytest.raises(ValueError, match="5"):
        rbm.transform(CODES[:, [0, 1, 2, 3, 3]])
    tolerance.same_bits(*(clone_of(rbm).partial_fit(X).components_ for X in (CODES, hot)))


def clone_of(rbm):
    return pickle.loads(pickle.dumps(rbm))


def test_assigned_models_say_what_they_lack():
    model = (np.zeros((2, 6)), np.zeros(6), np.zeros(2))
    with pytest.raises(ValueError, match="n_categories=None, but no X tells"):
        assigned(*model, visible="categorical").transform(CODES)
    with pytest.raises(ValueError, match=r"makes 5 categorical units, components_ has 6"):
        assigned(*model, visible="categorical", n_categories=[3, 2]).transform(CODES[:, :2])
    with pytest.raises(ValueError, match=r"makes 4 categorical units, components_ has 6"):
        assigned(*model, visible="categorical", n_categories=4).transform(CODES[:, :2])
    with pytest.raises(ValueError, match=r"n_categories=\[\[3\], \[2, 2\]\]"):
        assigned(*model, visible="categorical", n_categories=[[3], [2, 2]]).transform(CODES)


def test_a_clamp_holds_a_choice_whole():
    rbm = categorical([3, 3]).fit(one_hot(CODES[:, :2], [3, 3]))
    values = np.array([0.0, 1, 0, 0, 0, 1])
    drawn = rbm.sample(50, n_steps=1, clamp=([True] * 3 + [False] * 3, values), random_state=0)
    tolerance.exact(drawn[:, :3], np.tile(values[:3], (50, 1)).astype(drawn.dtype))
    with pytest.raises(ValueError, match="the mask of clamp holds 2 of the 3 columns of site 1 in row 0"):
        rbm.sample(50, n_steps=1, clamp=([True] * 5 + [False], values))
    with pytest.raises(ValueError, match="init has 2 columns, with clamp it needs 6"):
        rbm.sample(40, n_steps=1, clamp=([True] * 6, values), init=CODES[:, :2])


# -- counts ----------------------------------------------------------------------------------------------------------


def bags(dtype, counts):
    """A CSR matrix that holds word 1 of bag 0 as several counts, and one word 0 in bag 1."""
    data = np.array([*counts, 1]).astype(dtype)
    return sp.csr_matrix((data, [1] * len(counts) + [0], [0, len(counts), len(counts) + 1]), shape=(2, 3))


@pytest.mark.parametrize(("dtype", "counts"), [(np.uint8, (200, 100)), (np.int8, (100, 100)), (bool, (1, 1, 1))])
def test_counts_of_a_word_add_up_beyond_their_type(dtype, counts):
    rbm = assigned([[0.5, -1.0, 0.2]], [0.1, 0.2, 0.3], [-0.4], visible="count")
    X = np.array([[0, sum(counts), 0], [1, 0, 0]])
    tolerance.same_bits(rbm.free_energy(bags(dtype, counts)), rbm.free_energy(X))


def test_counts_of_half_precision():
    rbm = assigned([[0.5, -1.0, 0.2]], [0.1, 0.2, 0.3], [-0.4], visible="count")
    X = np.array([[0, 7, 1], [1, 0, 0]])
    tolerance.same_bits(rbm.free_energy(X.astype(np.float16)), rbm.free_energy(X))
    assert RBM(2, visible="count", n_iter=1).fit(X.astype(np.float16)).components_.dtype == np.float32


def test_annealing_a_model_of_empty_bags():
    rbm = RBM(2, visible="count", n_iter=1, random_state=0).fit(np.zeros((5, 4)))
    exact, z = rbm.log_partition("exact", n_words=3), rbm.log_partition("ais", n_words=3, n_betas=100)
    tolerance.statistical((z.value - exact.value) / z.std_error)
    assert np.isfinite(rbm.sample(3, sampler="annealed", n_steps=10, n_words=4)).all()


# -- values that units do not have -----------------------------------------------------------------------------------


@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
@pytest.mark.parametrize("visible", ["bernoulli", [("bernoulli", 1), ("gaussian", 1), ("bernoulli", 2)]], ids=str)
def test_values_between_0_and_1_have_no_likelihood(visible, form):
    rbm = assigned(np.zeros((2, 4)), np.zeros(4), np.zeros(2), visible=visible, hidden="relu")
    X = np.array([[1.0, 1, 0, 1], [0, 1, 1, 0.5]])
    with pytest.raises(ValueError, match=r"log_likelihood: X contains 0.5 in row 1, column 3; bernoulli units only"):
        rbm.log_likelihood(form(X))
    assert np.isfinite(rbm.free_energy(form(X))).all() and np.isfinite(rbm.log_likelihood(form(np.round(X)))).all()


# -- parameters ------------------------------------------------------------------------------------------------------

NO_LAYERS = ["typo", [("bernoulli", 2.9)], [("bernoulli", True)], [("bernoulli", "two")], [("typo", 2)], 7, None]


@pytest.mark.parametrize("visible", NO_LAYERS, ids=str)
def test_only_fit_minds_what_visible_is(visible):
    rbm = RBM(visible=visible)
    assert "RBM(" in repr(rbm) and "RBM" in rbm._repr_html_() and rbm.__sklearn_tags__().transformer_tags
    assert clone(rbm).visible == visible
    with pytest.raises((ValueError, TypeError), match=r"RBM(\.fit)?: visible="):
        rbm.fit(np.zeros((3, 2)))


def test_temperatures_are_counted():
    rbm = assigned(np.zeros((2, 4)), np.zeros(4), np.zeros(2), n_temperatures=3.5)
    with pytest.raises(TypeError, match=r"RBM.sample: n_temperatures=3.5 is of type float, an integer is needed"):
        rbm.sample(2, sampler="pt")
    with pytest.raises(ValueError, match=r"n_temperatures=1, it must be at least 2"):
        rbm.set_params(n_temperatures=1).sample(2, sampler="pt")


# -- hidden states ---------------------------------------------------------------------------------------------------

BAD_HIDDEN = {
    "bernoulli": ([5.0, -3.0], "s 5 in row 1, column 0"),
    "relu": ([5.0, -3.0], "values from -3, relu"),
}


@pytest.mark.parametrize("hidden", ["bernoulli", "relu", "gaussian"])
@pytest.mark.parametrize("visible", ["count", [("bernoulli", 2), ("gaussian", 2)]], ids=str)
@pytest.mark.parametrize("form", [np.asarray, sp.csr_matrix])
def test_inverse_transform_takes_what_hidden_units_can_be(form, visible, hidden):
    if visible == "count" and hidden != "bernoulli":
        return
    rng = np.random.default_rng(0)
    rbm = assigned(rng.normal(size=(2, 4)), np.zeros(4), np.zeros(2), visible=visible, hidden=hidden)
    for H in (np.array([[0, 1], [1, 1], [0, 0]]), np.array([[0.25, 0.5], [1, 0]])):
        tolerance.near_sum(
            rbm.inverse_transform(form(H)), rbm.inverse_transform(H.astype(np.float64)), np.ones((len(H), 4)), 20
        )
    if hidden in BAD_HIDDEN:
        values, match = BAD_HIDDEN[hidden]
        with pytest.raises(ValueError, match=match):
            rbm.inverse_transform(form([[0.0, 0], values]))
    with pytest.raises(ValueError, match="NaN"):
        rbm.inverse_transform(form([[0.0, np.nan]]))
    with pytest.raises(ValueError, match="H has 3 columns, the model has 2 hidden units"):
        rbm.inverse_transform(form([[0.0, 0, 1]]))


# -- learned arrays that do not fit ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scale", "match"),
    [
        ([0.0, -1, 1], "is 0 in place 0"),
        ([1.0, -1, 1], "is -1 in place 1"),
        ([1.0, np.nan, 1], "is nan in place 1"),
        ([2.0], r"is \(1,\), the model needs \(3,\)"),
        ([1.0, 1, 2], "is 2 in place 2, a bernoulli unit"),
    ],
    ids=str,
)
def test_standard_deviations_are_positive_and_one_for_each_unit(scale, match):
    X, H = np.array([[0.5, -0.2, 1]]), np.zeros((1, 2))
    visible = [("gaussian", 2), ("bernoulli", 1)]
    rbm = assigned(np.zeros((2, 3)), np.zeros(3), np.zeros(2), visible=visible)
    rbm.visible_scale_ = np.array(scale)
    calls = [rbm.transform, rbm.free_energy, rbm.score_samples, rbm.log_likelihood, rbm.gibbs, rbm.partial_fit]
    for call in [*calls, lambda _: rbm.inverse_transform(H), lambda _: rbm.log_partition(), lambda _: rbm.sample()]:
        with pytest.raises(ValueError, match="RBM: visible_scale_ " + match):
            call(X)


# -- categories that X tells of --------------------------------------------------------------------------------------


@pytest.mark.parametrize("allow_missing", [False, True])
@pytest.mark.parametrize(
    ("value", "match"),
    [
        (np.inf, "contains inf in row 1, column 0"),
        (-np.inf, "contains -inf in row 1, column 0"),
        (1e12, r"contains 1e\+12 in row 1, column 0, .* below 65536; encode X .*OrdinalEncoder"),
        (65536, r"contains 65536 in row 1, column 0"),
    ],
)
def test_codes_that_cannot_be_are_refused_with_their_place(value, match, allow_missing):
    with pytest.raises(ValueError, match=match):
        categorical(None, allow_missing=allow_missing).fit(np.array([[0.0, 1], [value, 1]]))
    with pytest.raises(ValueError, match=match):
        RBM(2, visible=[("categorical", 1), ("gaussian", 1)]).fit(np.array([[0.0, 1], [value, 1]]))


def test_the_most_categories_that_x_tells_of():
    rbm = categorical(None).fit(np.array([[65535, 0], [3, 1]]))
    tolerance.exact(rbm.n_categories_, np.array([65536, 2]))


@pytest.mark.parametrize(("dtype", "most"), [(np.float32, 2**24), (np.float64, 2**53)])
def test_numbers_of_words_beyond_what_the_type_counts_are_refused(dtype, most):
    rbm = assigned([[0.5, -1.0]], [0.1, 0.2], [-0.4], visible="count")
    rbm.components_ = rbm.components_.astype(dtype)
    assert np.isfinite(rbm.log_partition(n_words=most).value)
    for call in (rbm.log_partition, rbm.sample):
        with pytest.raises(ValueError, match=f"n_words={most + 1}, a model in {np.dtype(dtype)} counts up to {most}"):
            call(n_words=most + 1)


# -- what comes back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_clamped_columns_keep_their_bits(dtype):
    rng = np.random.default_rng(0)
    rbm = assigned(np.zeros((2, 6)), np.zeros(6), np.zeros(2), visible=[("gaussian", 5), ("bernoulli", 1)])
    rbm.components_ = rbm.components_.astype(dtype)
    rbm.visible_scale_ = np.append(rng.uniform(0.3, 3, 5), 1)
    values = np.hstack([rng.normal(size=(200, 5)), np.ones((200, 1))]).astype(dtype)
    mask = np.array([True, True, False, True, True, True])
    drawn = rbm.sample(200, n_steps=1, clamp=(mask, values), random_state=0)
    tolerance.same_bits(drawn[:, mask], values[:, mask])
    assert (drawn[:, ~mask] != values[:, ~mask]).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("visible", ["bernoulli", [("bernoulli", 4)], [("bernoulli", 3), ("bernoulli", 1)]], ids=str)
def test_blocks_of_bernoulli_units_are_bernoulli_units(visible, dtype):
    X = (np.random.default_rng(0).random((30, 4)) < 0.5).astype(dtype)
    rbm = RBM(2, visible=visible, n_iter=1, random_state=0).fit(X)
    assert rbm.gibbs(X).dtype == bool
    assert rbm.sample(3, n_steps=2).dtype == rbm.transform(X).dtype == dtype
    assert rbm.sample(3, n_steps=2, sampler="pt").dtype == dtype
    relu = RBM(2, visible=visible, hidden="relu", n_iter=1, random_state=0).fit(X)
    assert relu.gibbs(X).dtype == dtype


@pytest.mark.parametrize(("visible", "hidden"), [("bernoulli", "relu"), ("count", "bernoulli")])
def test_the_energy_of_sparse_rows_leaves_them_sparse(visible, hidden):
    rng = np.random.default_rng(0)
    n, columns = 500, 20_000
    X = sp.random(n, columns, density=1e-3, format="csr", random_state=0, data_rvs=lambda k: np.ones(k))
    rbm = assigned(rng.normal(size=(2, columns)), rng.normal(size=columns), [0.3, -0.2], visible=visible, hidden=hidden)
    H = rng.random((n, 2))
    expected = rbm.energy(X.toarray(), H)
    tracemalloc.start()
    found = rbm.energy(X, H)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < n * columns  # not even a byte for each entry
    tolerance.near_sum(found, expected, np.full(n, 200.0), 100)


def test_duplicates_of_narrow_integers_are_summed_whole():
    """200 + 57 wraps to 1 in uint8, which would pass for a bit."""
    X = sp.csr_matrix((np.array([200, 57], np.uint8), np.array([0, 0]), np.array([0, 2])), shape=(1, 3))
    with pytest.raises(ValueError, match="contains 257 in row 0, column 0"):
        RBM(2).fit(X)
