"""Training of machines with units of any type: ways of learning, what is kept, and what is refused."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.base import clone

import tolerance
from harmonium import RBM, load, save
from unit_machines import KINDS, WORDS, Kind, Truth, columns, machine

LEARNED = ["components_", "intercept_visible_", "intercept_hidden_", "h_samples_", "visible_scale_"]
TRAINED = [*KINDS]


def random_data(kind, n=150, seed=0):
    rbm = machine(kind, seed=9, scale=1.0)
    truth = Truth(rbm, kind)
    rows = np.random.default_rng(seed).choice(len(truth.v), n, p=truth.p_v / truth.p_v.sum())
    return columns(truth.v[rows], kind)


def two_classes(kind, n):
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, n)
    parts = []
    for name, size in kind.blocks:
        high = np.where(z, 0.9, 0.1)[:, None]
        if name == "gaussian":
            parts.append(0.6 * rng.normal(size=(n, size)) + 1.6 * z[:, None] - 0.8)
        elif name == "bernoulli":
            parts.append(rng.random((n, size)) < high)
        elif name == "categorical":
            parts.append((rng.random((n, 1)) < high) * (size - 1))
        else:
            parts.append([rng.multinomial(8, np.r_[p, [(1 - p) / (size - 1)] * (size - 1)]) for p in high[:, 0]])
    return np.hstack(parts).astype(float)


def make(kind, **parameters):
    settings = {"n_iter": 3, "batch_size": 40, "random_state": 0, **kind.parameters, **parameters}
    return RBM(kind.n_hidden, visible=kind.visible, hidden=kind.hidden, **settings)


def same_model(a, b):
    for name in LEARNED:
        tolerance.same_bits(getattr(a, name), getattr(b, name))


pytestmark = pytest.mark.filterwarnings("ignore:.*(standardise X|hidden units).*:UserWarning")


@pytest.mark.parametrize("method", ["pcd", "cd"])
@pytest.mark.parametrize("centering", [True, False])
def test_both_loops_train_bernoulli_machines_alike(method, centering):
    """Weights of 1 send the data through the loop for all types: the same draws, gradients alike but for rounding."""
    X = np.random.default_rng(0).random((230, 70)) < np.linspace(0.1, 0.9, 70)
    settings = {"n_iter": 2, "batch_size": 50, "momentum": 0.5, "weight_decay": 1e-3, "random_state": 1}
    plain, units = (RBM(9, method=method, centering=centering, **settings) for _ in range(2))
    plain.fit(X.astype(np.float64))
    units.fit(X.astype(np.float64), sample_weight=np.ones(len(X)))
    for name in ("components_", "intercept_visible_", "intercept_hidden_", "visible_offset_", "hidden_offset_"):
        tolerance.near_sum(getattr(units, name), getattr(plain, name), np.ones(getattr(plain, name).shape), 1e4)
    tolerance.exact(units.h_samples_, plain.h_samples_)


@pytest.mark.parametrize("sparse", [False, True])
def test_both_loops_draw_the_same_bits_from_grey_data(sparse):
    rng = np.random.default_rng(0)
    X = rng.random((130, 70)) * (rng.random((130, 70)) < 0.5)
    X = sp.csr_matrix(X) if sparse else X
    settings = {"draw_data": True, "n_iter": 2, "batch_size": 50, "random_state": 1}
    plain, units = RBM(9, **settings).fit(X), RBM(9, l1=1e-300, **settings).fit(X)
    for name in ("components_", "intercept_visible_", "intercept_hidden_", "visible_offset_", "hidden_offset_"):
        tolerance.near_sum(getattr(units, name), getattr(plain, name), np.ones(getattr(plain, name).shape), 1e4)
    tolerance.exact(units.h_samples_, plain.h_samples_)


@pytest.mark.parametrize("method", ["fpcd", "exact", "pt"])
def test_methods_of_this_loop_draw_bits_from_grey_data(method):
    rbm = RBM(2, method=method, draw_data=True, n_iter=0, random_state=0).fit(np.full((100, 70), 0.3))
    assert len(np.unique(rbm.visible_offset_)) > 10
    tolerance.statistical((rbm.visible_offset_ - 0.3) / np.sqrt(0.21 / 100))


def test_bits_are_drawn_beside_units_of_other_types():
    rng = np.random.default_rng(0)
    X = np.hstack([np.full((100, 70), 0.3), rng.normal(size=(100, 2)), rng.integers(0, 3, (100, 1))])
    visible = [("bernoulli", 70), ("gaussian", 2), ("categorical", 1)]
    rbm = RBM(2, visible=visible, draw_data=True, n_iter=0, random_state=0).fit(X)
    mean = rbm.visible_offset_
    tolerance.statistical((mean[:70] - 0.3) / np.sqrt(0.21 / 100))
    assert len(np.unique(mean[:70])) > 10
    tolerance.near_sum(mean[70:72], X[:, 70:72].mean(axis=0), np.ones(2), 100)
    tolerance.near_sum(mean[72:], np.bincount(X[:, 72].astype(int)) / 100, np.ones(3), 100)


@pytest.mark.parametrize("kind", TRAINED, ids=str)
def test_fit_is_so_many_calls_of_partial_fit_on_any_number_of_threads(kind, set_threads):
    X = random_data(kind).astype(np.float32)
    set_threads(1)
    whole = make(kind, momentum=0.5).fit(X)
    set_threads(2)
    parts = make(kind, momentum=0.5)
    for _ in range(3):
        parts.partial_fit(X)
    same_model(whole, parts)
    assert whole.components_.dtype == np.float32 and whole.n_iter_ == 3
    assert whole.n_features_in_ == X.shape[1] and len(whole.history_["reconstruction_error"]) == 3


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if kind.visible != "count"], ids=str)
@pytest.mark.parametrize("method", ["pcd", "cd"])
def test_a_pass_in_order_is_so_many_calls_with_its_batches(kind, method):
    X = random_data(kind, 110)
    whole = make(kind, n_iter=1, method=method, shuffle=False, momentum=0.5, n_chains=30).fit(X)
    parts = make(kind, method=method, shuffle=False, momentum=0.5, n_chains=30)
    for first in range(0, 110, 40):
        parts.partial_fit(X[first : first + 40])
    same_model(whole, parts)


@pytest.mark.parametrize("kind", TRAINED, ids=str)
def test_saved_pickled_and_cloned(kind, tmp_path):
    X = random_data(kind)
    rbm = make(kind, learn_variance="gaussian" in dict(kind.blocks)).fit(X)
    save(rbm, tmp_path / "rbm.safetensors")
    for again in (load(tmp_path / "rbm.safetensors"), pickle.loads(pickle.dumps(rbm))):
        same_model(rbm, again)
        tolerance.same_bits(again.free_energy(X), rbm.free_energy(X))
        tolerance.same_bits(
            again.partial_fit(X).components_, pickle.loads(pickle.dumps(rbm)).partial_fit(X).components_
        )
    same_model(clone(rbm).fit(X), rbm)


@pytest.mark.parametrize("kind", [kind for kind in TRAINED if str(kind) != "gaussian-relu"], ids=str)
@pytest.mark.parametrize("method", ["pcd", "cd"])
def test_training_raises_the_likelihood(kind, method):
    """Of data from two classes, beyond that of independent columns, which training starts from."""
    X = two_classes(kind, 600)
    rbm = make(kind, method=method, batch_size=100, learning_rate=0.2, n_iter=0).fit(X)
    before = rbm.log_likelihood(X).mean()
    rbm.set_params(n_iter=300).fit(X)
    assert rbm.log_likelihood(X).mean() > before + 0.05


@pytest.mark.parametrize("method", ["fpcd", "pt", "exact"])
def test_other_methods_reach_what_exact_gradients_reach(method):
    rng = np.random.default_rng(0)
    z = rng.integers(0, 2, (400, 1))
    X = (rng.random((400, 8)) < np.where(z, 0.85, 0.15)).astype(float)
    settings = {"learning_rate": 0.3, "annealing": 60, "n_iter": 250, "batch_size": 400, "random_state": 0}
    best = RBM(4, method="exact", **settings).fit(X).log_likelihood(X).mean()
    rbm = RBM(4, method=method, fast_learning_rate=0.02, n_chains=500, n_temperatures=4, **settings).fit(X)
    assert abs(rbm.log_likelihood(X).mean() - best) < 0.05
    if method == "pt":
        assert rbm.h_samples_.shape == (4 * 500, 4) and rbm.swap_rates_.shape == (3,)
        assert (rbm.swap_rates_ > 0.2).all() and (rbm.swap_rates_ <= 1).all()


def test_tempered_chains_cross_between_modes_that_gibbs_sampling_does_not_leave():
    """Two modes far apart: plain chains that start in one stay, tempered ones give both their share."""
    n = 14
    X = np.repeat([[0.0] * n, [1.0] * n], 50, axis=0)
    settings = {"batch_size": 100, "learning_rate": 1e-6, "annealing": None, "averaging": None, "random_state": 0}
    share = {}
    for method in ("pcd", "pt"):
        rbm = RBM(2, method=method, n_temperatures=12, n_iter=0, n_chains=500, l1=1e-12, **settings).fit(X)
        rbm.components_ = np.full((2, n), 3.0)
        rbm.intercept_visible_, rbm.intercept_hidden_ = np.full(n, -3.0), np.full(2, -1.5 * n)
        rbm.h_samples_ = np.zeros_like(rbm.h_samples_)
        for _ in range(300):
            rbm.partial_fit(X)
        share[method] = rbm.h_samples_[:500].mean()
    assert share["pcd"] < 0.05 and abs(share["pt"] - 0.5) < 0.15, share


@pytest.mark.parametrize("sampler", ["pt", "annealed"])
@pytest.mark.parametrize("kind", [None, *(kind for kind in KINDS if kind.hidden == "bernoulli")], ids=str)
def test_samplers_that_start_anew_draw_from_the_model(kind, sampler):
    if kind is None:
        kind = Kind("bernoulli", "bernoulli", (("bernoulli", 5),))
    rbm, n = machine(kind, seed=6), 20_000
    words = {"n_words": WORDS} if kind.visible == "count" else {}
    if words and sampler == "pt":
        with pytest.raises(ValueError, match="no bags of words"):
            rbm.sample(2, sampler="pt", **words)
        return
    truth = Truth(rbm, kind)
    drawn = rbm.sample(n, sampler=sampler, n_steps=60, random_state=0, **words)
    table = columns(truth.v, kind)
    mean = truth.p_v @ table
    deviation = np.sqrt(truth.p_v @ table**2 - mean**2)
    tolerance.statistical((drawn.mean(axis=0) - mean) / (deviation / np.sqrt(n)))
    if sampler == "pt":
        assert rbm.swap_rates_.shape == (9,) and (rbm.swap_rates_ > 0.5).all()


def test_missing_entries_are_marginalised():
    """Half of the entries removed: closer to the fit of all than one of columns filled with their own draws."""
    rng = np.random.default_rng(1)
    z = rng.integers(0, 2, (3000, 1))
    X = (rng.random((3000, 10)) < np.where(z, 0.9, 0.1)).astype(float)
    holes = X.copy()
    holes[rng.random(X.shape) < 0.5] = np.nan
    settings = {"n_iter": 60, "random_state": 0}
    whole = RBM(3, **settings).fit(X).log_likelihood(X).mean()
    marginal = RBM(3, allow_missing=True, **settings).fit(holes).log_likelihood(X).mean()
    filled = np.where(np.isnan(holes), (rng.random(X.shape) < np.nanmean(holes, axis=0)), holes)
    imputed = RBM(3, **settings).fit(filled).log_likelihood(X).mean()
    assert whole - marginal < 0.2 < 0.5 < whole - imputed, (whole, marginal, imputed)


def test_missing_choices():
    rng = np.random.default_rng(1)
    z = rng.integers(0, 3, (2000, 1))
    X = np.where(rng.random((2000, 6)) < 0.8, z, rng.integers(0, 3, (2000, 6))).astype(float)
    holes = X.copy()
    holes[rng.random(X.shape) < 0.3] = np.nan
    settings = {"visible": "categorical", "n_iter": 60, "random_state": 0}
    whole = RBM(4, **settings).fit(X).log_likelihood(X).mean()
    marginal = RBM(4, allow_missing=True, **settings).fit(holes).log_likelihood(X).mean()
    assert whole - marginal < 0.3


def test_sparsity_and_l1():
    X = np.random.default_rng(0).random((500, 30)) < 0.3
    settings = {"n_iter": 300, "random_state": 0}
    free = RBM(10, **settings).fit(X, sample_weight=np.ones(500))
    sparse = RBM(10, sparsity_cost=1.0, sparsity_target=0.05, **settings).fit(X)
    assert abs(sparse.transform(X).mean() - 0.05) < 0.02 < 0.2 < free.transform(X).mean()
    shrunk = RBM(10, l1=0.01, **settings).fit(X)
    assert abs(shrunk.components_).mean() < 0.3 * abs(free.components_).mean()


def test_one_hot_and_codes_are_the_same_machine():
    kind = next(kind for kind in KINDS if str(kind).startswith("categorical") and kind.hidden == "bernoulli")
    X = random_data(kind)
    one_hot = np.hstack([np.eye(k)[X[:, i].astype(int)] for i, k in enumerate((3, 2, 4))])
    codes, hot = make(kind).fit(X.astype(np.int64)), make(kind).fit(one_hot.astype(np.uint8))
    same_model(codes, hot)
    tolerance.same_bits(codes.transform(X), hot.transform(one_hot))
    assert (hot.sample(20, random_state=0).sum(axis=1) == 3).all() and codes.sample(5, random_state=0).shape == (5, 3)
    equal = RBM(3, visible="categorical", n_categories=4, n_iter=1, random_state=0)
    assert equal.fit(np.eye(4)[[0, 3, 2, 1]]).n_features_in_ == 4 and len(equal.n_categories_) == 1


def test_bags_of_words_stay_sparse_and_empty_ones_have_their_likelihood():
    rng = np.random.default_rng(0)
    dense = rng.poisson(0.3, (60, 40))
    dense[7] = 0
    X = sp.csr_matrix(dense)
    rbm, same = (RBM(5, visible="count", n_iter=4, random_state=0) for _ in range(2))
    same_model(rbm.fit(X), same.fit(dense.astype(np.int64)))
    likelihood = rbm.log_likelihood(X)
    tolerance.near_sum(likelihood[7], np.float64(0), np.float64(5 * np.log(2)), 100)
    assert (likelihood[np.arange(60) != 7] < 0).all()
    drawn = rbm.sample(30, n_words=np.arange(30), random_state=0)
    tolerance.exact(drawn.sum(axis=1), np.arange(30, dtype=drawn.dtype))


def test_assigned_model_of_each_kind_can_be_used_and_trained():
    for kind in TRAINED:
        X = random_data(kind, 30)
        rbm = machine(kind)
        assert np.isfinite(rbm.free_energy(X)).all() and np.isfinite(rbm.transform(X)).all()
        assert rbm.sample(3, n_steps=2, random_state=0).shape == (3, X.shape[1])
        assert rbm.partial_fit(X).n_iter_ == 1


@pytest.mark.parametrize("kind", TRAINED, ids=str)
@pytest.mark.parametrize("n_chains", [None, 40, 55])
def test_contrastive_divergence_keeps_the_last_whole_batch_of_a_pass(kind, n_chains):
    """Its hidden states are at hand after a short batch; with another number of chains they are as in the beginning."""
    X = random_data(kind, 90)
    settings = {"method": "cd", "n_chains": n_chains, "shuffle": False, "n_iter": 1, "averaging": None}
    rbm, whole = make(kind, **settings).fit(X), make(kind, **settings).partial_fit(X[:80])
    if n_chains == 55:
        whole = make(kind, **settings | {"n_iter": 0}).fit(X)
    if kind.visible != "count":  # whose steps depend on the mean size of all rows
        tolerance.exact(rbm.h_samples_, whole.h_samples_)
    assert rbm.h_samples_.any(axis=0).all() and (rbm.h_samples_[1:] != rbm.h_samples_[0]).any()


EXACT = [kind for kind in KINDS if kind.hidden == "bernoulli" or "gaussian" not in dict(kind.blocks)]


@pytest.mark.parametrize("kind", EXACT, ids=str)
@pytest.mark.parametrize("averaging", [None, 3])
def test_exact_training_leaves_hidden_states_drawn_from_the_model(kind, averaging):
    X = random_data(kind, 50)
    settings = {"method": "exact", "n_chains": 20_000, "learning_rate": 0.1, "batch_size": 50, "averaging": averaging}
    rbm = make(kind, n_iter=30, **settings).fit(X)
    truth = Truth(rbm, kind)
    h = rbm.h_samples_
    mean = truth.p_h @ truth.h
    second = np.einsum("s,si,sj->ij", truth.p_h, truth.h, truth.h)
    fourth = np.einsum("s,si,sj->ij", truth.p_h, truth.h**2, truth.h**2)
    tolerance.statistical((h.mean(axis=0) - mean) / np.sqrt((np.diag(second) - mean**2) / len(h)))
    tolerance.statistical((h.T @ h / len(h) - second) / np.sqrt((fourth - second**2) / len(h)))
    assert (make(kind, n_iter=0, **settings).fit(X).h_samples_ != 0).any()


def test_chains_of_bernoulli_units_are_0_or_1():
    X = random_data(KINDS[2], 40)
    rbm = make(KINDS[2]).fit(X)
    rbm.h_samples_ = rbm.h_samples_ + 0.5
    with pytest.raises(ValueError, match="h_samples_"):
        rbm.partial_fit(X)
    assert rbm.n_iter_ == 3


def bad(error, match, X, **parameters):
    rbm = RBM(2, **parameters)
    with pytest.raises(error, match=match):
        rbm.fit(np.asarray(X))
    assert not hasattr(rbm, "components_")


def test_refusals_say_what_and_where():
    codes = {"visible": "categorical", "n_categories": 3}
    bad(
        ValueError,
        r"3 in row 1, column 0; codes are integers from 0 to n_categories - 1, at most 2",
        [[0], [3]],
        **codes,
    )
    bad(ValueError, r"contains -1 in row 0, column 1", [[0, -1], [0, 1]], visible="categorical")
    bad(ValueError, r"contains 0.5 in row 1, column 0", [[0.0], [0.5]], **codes)
    bad(
        ValueError,
        r"n_categories has 2 entries that sum to 5; X has 3",
        [[0, 1, 0]],
        visible="categorical",
        n_categories=[2, 3],
    )
    bad(ValueError, r"contains -2 in row 0, column 1; counts are integers", [[1, -2]], visible="count")
    bad(ValueError, r"contains 1.5 in row 1, column 0; counts are integers", [[1, 2], [1.5, 0]], visible="count")
    bad(ValueError, "NaN in row 0, column 1", [[1.0, np.nan]], visible="gaussian")
    bad(ValueError, "blocks of visible have 3 columns in all, X has 2", [[1.0, 0.0]], visible=[("bernoulli", 3)])
    bad(ValueError, "a bag of words stands alone", [[1.0, 0.0]], visible=[("count", 2)])
    bad(ValueError, "visible='count' takes hidden='bernoulli'", [[1.0, 0.0]], visible="count", hidden="relu")
    bad(ValueError, "method='pt' takes hidden='bernoulli'", [[1.0, 0.0]], hidden="gaussian", method="pt")
    bad(ValueError, "learn_variance=True needs gaussian", [[1.0, 0.0]], learn_variance=True)
    bad(ValueError, "draw_data=True draws bits for bernoulli columns", [[1.0, 0.5]], visible="gaussian", draw_data=True)
    bad(ValueError, "column 1 has no known entry", [[1.0, np.nan], [0.0, np.nan]], allow_missing=True)
    bad(ValueError, "enumerates a layer", [[1.0, 0.0]], visible="gaussian", hidden="relu", method="exact")
    with pytest.raises(ValueError, match="NaN"):
        RBM(2).fit(np.array([[1.0, np.nan]]))


def test_improper_machines_are_refused_with_the_reason():
    kind = next(kind for kind in KINDS if str(kind) == "gaussian-gaussian")
    rbm = machine(kind)
    rbm.components_ = 2 * rbm.components_
    with pytest.raises(ValueError, match=r"largest singular value of the weights is 1\.2.*proper below 1 only"):
        rbm.log_partition()
    with pytest.raises(ValueError, match="proper below 1"):
        rbm.sample(2)


@pytest.mark.filterwarnings("error")
def test_gaussian_data_far_from_standard_are_told_of():
    X = np.random.default_rng(0).normal(size=(50, 3))
    RBM(2, visible="gaussian", n_iter=0).fit(X)
    with pytest.warns(UserWarning, match="column 1 has standard deviation [45][0-9]"):
        RBM(2, visible="gaussian", n_iter=0).fit(X * [1, 50, 1])
    with pytest.warns(UserWarning, match="column 2 has standard deviation 0"):
        RBM(2, visible="gaussian", n_iter=0).fit(X * [1, 1, 0])


@pytest.mark.parametrize("settings", [{"learning_rate": 1e-8}, {"learning_rate": 1e-6, "learn_variance": True}])
def test_means_of_many_standard_deviations_are_no_divergence(settings):
    X = 5000 + np.random.default_rng(0).normal(size=(200, 3))
    rbm = RBM(2, visible="gaussian", random_state=0, **settings).fit(X)
    assert rbm.n_iter_ == 20 and (rbm.intercept_visible_ > 1000).all()
    with pytest.raises(ArithmeticError, match="training diverged"):
        rbm.set_params(learning_rate=1e6, annealing=None).partial_fit(X)


def test_a_failed_fit_keeps_the_last_whole_epoch():
    X = np.random.default_rng(0).normal(size=(200, 4))
    rbm = RBM(3, visible="gaussian", n_iter=2, random_state=0).fit(X)
    before = pickle.loads(pickle.dumps(rbm))
    with pytest.raises(ArithmeticError, match="training diverged in epoch 3"):
        rbm.set_params(learning_rate=1e9, annealing=None).partial_fit(X)
    same_model(rbm, before)
    assert rbm.n_iter_ == 2
