"""Probabilistic PCA: the closed form, EM, the number of components, streaming, the edges."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning

import factor_reference as reference
import tolerance
from harmonium import PPCA, load, save


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data
    X = X[:, X.std(axis=0) > 0]
    X.setflags(write=False)
    return X


def draw(n, p, k, seed, dtype=np.float64):
    return reference.draw_rows(reference.draw_model(p, k, seed, equal_noise=True), n, seed).astype(dtype)


def eigen_size(X):
    """Of the entries of a covariance, for errors of its eigenvalues."""
    return float(np.linalg.norm(X - X.mean(axis=0)) ** 2 / len(X))


# -- the closed form -------------------------------------------------------------------------------------------------

# Tipping and Bishop's formula with NumPy on these data, rounded.
PUBLISHED = [
    ("iris", 1, -3.137796, 0.114139), ("iris", 2, -2.699752, 0.050682), ("wine", 2, -16.155260, None),
    ("wine", 5, -15.212645, None), ("wine", 10, -14.688000, None), ("digits", 2, -170.703410, 14.558386),
    ("digits", 10, -154.551384, 6.166960), ("digits", 20, -145.769315, 3.097379),
]  # fmt: skip


@pytest.mark.parametrize(("name", "k", "log_likelihood", "noise"), PUBLISHED)
def test_log_likelihood_of_real_data(digits, name, k, log_likelihood, noise):
    if name == "digits":
        X = digits
    else:
        X = load_iris().data if name == "iris" else load_wine().data
        X = X if name == "iris" else (X - X.mean(axis=0)) / X.std(axis=0)
    ppca = PPCA(k).fit(X)
    tolerance.printed(ppca.score(X), log_likelihood, 6)
    tolerance.printed(ppca.history_["log_likelihood"][-1], log_likelihood, 6)
    if noise is not None:
        tolerance.printed(ppca.noise_variance_, noise, 6)


@pytest.mark.parametrize("shape", [(50, 6), (6, 50), (300, 290), (30, 300)], ids=str)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_closed_form(shape, dtype):
    k = 3
    X = draw(*shape, k, 0, dtype)
    W, b, s2 = reference.ppca(X.astype(np.float64), k)
    ppca = PPCA(k).fit(X)
    size = eigen_size(X.astype(np.float64))
    p = shape[1]
    tolerance.near_sum(ppca.mean_, b, np.abs(X).astype(np.float64).mean(axis=0) + 1, shape[0])
    tolerance.near_sum(np.float64(ppca.noise_variance_), s2, np.float64(size), p)
    # The covariance does not depend on the signs of axes.
    C = W @ W.T + s2 * np.eye(p)
    tolerance.near_sum(ppca.get_covariance(), C, np.full((p, p), size), max(shape))
    inner = ppca.components_.astype(np.float64) @ ppca.components_.T
    assert (np.diff(np.diag(inner)) <= 0).all()
    tolerance.near_sum(inner, np.diag(np.diag(inner)), np.full((k, k), size), max(shape), dtype=dtype)
    assert (np.take_along_axis(ppca.components_, np.abs(ppca.components_).argmax(axis=1)[:, None], 1) > 0).all()
    assert ppca.components_.dtype == ppca.mean_.dtype == ppca.transform(X).dtype == dtype
    tolerance.near_sum(ppca.explained_variance_, np.diag(W.T @ W) + s2, np.full(k, size), max(shape))


def test_randomised_svd_is_close_where_eigenvalues_decay():
    rng = np.random.default_rng(0)
    U = np.linalg.qr(rng.standard_normal((300, 300)))[0]
    X = rng.standard_normal((400, 300)) * 0.5 ** np.arange(300) @ U + 1e-3 * rng.standard_normal((400, 300))
    full, random = (PPCA(5, svd_solver=s, random_state=0).fit(X) for s in ("full", "randomized"))
    # 1e-8 nats a column of 300; and 1e-9 for the rounding of scores of a thousand nats.
    assert -1e-9 < full.score(X) - random.score(X) < 300 * 1e-8 + 1e-9
    tolerance.same_bits(random.components_, PPCA(5, svd_solver="randomized", random_state=0).fit(X).components_)


@pytest.mark.parametrize("shape", [(1100, 1050), (1050, 1100), (400, 600), (600, 400)], ids=str)
@pytest.mark.parametrize("k", [5, 30])
def test_some_eigenvalues_are_as_good_as_all(shape, k):
    """Five of them stand out; the 30th is one of hundreds next to each other."""
    X = draw(*shape, 5, 2)
    auto, full = PPCA(k).fit(X), PPCA(k, svd_solver="full").fit(X)
    gap = full.score(X) - auto.score(X)
    assert -1e-9 < gap < 1e-8 * shape[1]
    if min(shape) <= 1000:
        C = full.get_covariance()
        tolerance.near_sum(auto.get_covariance(), C, np.full(C.shape, 10 * np.abs(C).max()), max(shape))


@pytest.mark.parametrize("way", ["memory", "file"])
def test_few_rows_of_many_columns_are_gone_on_from(way, tmp_path):
    """They are kept instead of a scatter matrix of more numbers."""
    X = draw(50, 300, 2, 0)
    X[:, 7] = 0.1
    ppca = PPCA(2).fit(X[:20])
    if way == "file":
        save(ppca, tmp_path / "model")
        ppca = load(tmp_path / "model")
    ppca.partial_fit(X[20:])
    C = PPCA(2).fit(X).get_covariance()
    tolerance.near_sum(ppca.get_covariance(), C, np.full(C.shape, 10 * np.abs(C).max()), 300)
    tolerance.exact(ppca.mean_[7], np.float64(0.1))


def test_without_noise_it_is_pca(digits):
    """As s2 goes to 0 the posterior mean becomes the whitened coordinates of PCA, divisor n."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 8)) + 5
    with pytest.warns(UserWarning, match="explain all of the variance of 40 rows and 8 columns"):
        ppca = PPCA(3).fit(X)
    pca = PCA(3, whiten=True).fit(X)
    scores = pca.transform(X) * np.sqrt(40 / 39)
    sign = np.sign((scores * ppca.transform(X)).sum(axis=0))
    # What remains is of the size of the floored noise, 1e-8 of the variance, over the least variance kept.
    bound = 1e-8 * X.var(axis=0).mean() / ppca.explained_variance_.min()
    assert (np.abs(ppca.transform(X) * sign - scores) <= bound * np.abs(scores) + 1e-12).all()
    again = ppca.inverse_transform(ppca.transform(X))
    assert (np.abs(again - X) <= bound * np.abs(X - X.mean(axis=0)).max() * 3 + 1e-12).all()


# -- EM --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(60, 8), (10, 400)], ids=str)
def test_em_ends_at_the_closed_form(shape):
    X = draw(*shape, 3, 4)
    ml = PPCA(3, method="ml").fit(X)
    em = PPCA(3, method="em", tol=1e-9, random_state=0).fit(X)
    gap = (ml.score(X) - em.score(X)) * len(X)
    assert -1e-9 < gap < 1e-5  # the last gain was under 1e-9, gains fall off geometrically
    assert len(em.history_["log_likelihood"]) == em.n_iter_ > 2
    assert (np.diff(em.history_["log_likelihood"]) >= 0).all()


def test_em_does_not_see_the_rows():
    """From the same covariance, the same fit: an iteration works with that alone."""
    X = draw(50, 6, 2, 0)
    twice = np.vstack([X, X])
    one = PPCA(2, method="em", random_state=0, tol=0, max_iter=3)
    with pytest.warns(ConvergenceWarning, match=r"PPCA.fit: not converged after max_iter=3"):
        once, again = one.fit(X).components_, PPCA(**one.get_params()).fit(twice).components_
    tolerance.near_sum(again, once, np.full(once.shape, eigen_size(X)), 3 * 100)


# -- how many components ---------------------------------------------------------------------------------------------


def test_minka_against_the_formula_and_scikit_learn(digits):
    for X in (load_iris().data, digits, draw(200, 12, 4, 3)):
        n, p = X.shape
        values = np.linalg.eigvalsh(np.cov(X.T, bias=True))[::-1]
        evidence = [reference.minka_evidence(values, n, k) for k in range(1, p)]
        found = PPCA("mle").fit(X).n_components_
        assert found == 1 + int(np.argmax(evidence))
        assert found == PCA("mle").fit(X).n_components_


def test_the_right_number_is_found():
    X = draw(500, 12, 4, 3)
    assert PPCA("mle").fit(X).n_components_ == 4
    ppca = PPCA("cv", random_state=0).fit(X)
    assert ppca.n_components_ == 4 == int(np.argmax(ppca.held_out_log_likelihood_))
    assert not hasattr(ppca.set_params(n_components=2).fit(X), "held_out_log_likelihood_")


@pytest.mark.parametrize("shape", [(40, 7), (20, 30)], ids=str)
def test_held_out_likelihood_is_that_of_models_fitted_to_the_rest(shape):
    X = draw(*shape, 2, 5)
    curve = PPCA("cv", random_state=3).fit(X).held_out_log_likelihood_
    fold = np.random.RandomState(3).permutation(len(X)) % 5
    for k in (0, 1, 3):
        total = np.concatenate([PPCA(k).fit(X[fold != f]).score_samples(X[fold == f]) for f in range(5)])
        size = np.abs(total).max() * 100
        tolerance.near_sum(curve[k], total.mean(), np.float64(size), max(shape))


def test_numbers_chosen_from_data_need_complete_rows():
    X = draw(30, 4, 1, 0)
    with pytest.raises(ValueError, match=r"n_components='mle' needs more rows than columns, X is 3 x 4"):
        PPCA("mle").fit(X[:3])
    with pytest.raises(ValueError, match=r"needs at least 10 rows for its folds, X has 9"):
        PPCA("cv").fit(X[:9])
    with pytest.raises(ValueError, match=r"partial_fit: n_components='cv' needs rows to hold out"):
        PPCA("cv").partial_fit(X)
    X[0, 0] = np.nan
    for options in ({"n_components": "mle"}, {"n_components": "cv"}, {"n_components": 1, "method": "ml"}):
        with pytest.raises(ValueError, match=r"needs complete rows, X has 1 missing values"):
            PPCA(**options).fit(X)


# -- streaming -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[100], [1] * 20 + [80], [3, 50, 47]], ids=len)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_partial_fit_is_fit(sizes, dtype):
    X = draw(100, 6, 2, 1, dtype) + 1000  # far from zero: squares of means would eat the digits
    whole = PPCA(2).fit(X)
    parts = PPCA(2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*explain all of the variance")
        for batch in np.split(X, np.cumsum(sizes)[:-1]):
            assert parts.partial_fit(batch) is parts
    assert parts.n_samples_seen_ == 100
    size = eigen_size(X.astype(np.float64))
    tolerance.near_sum(parts.mean_, whole.mean_.astype(np.float64), np.full(6, 1001.0), 100)
    covariance = whole.get_covariance().astype(np.float64)
    # Rounding of the rows themselves, 1000 eps, is the same for both; that of the sums is relative to the variance.
    tolerance.near_sum(parts.get_covariance(), covariance, np.full((6, 6), size + 1000), 100)


def test_partial_fit_goes_on_from_fit():
    X = draw(80, 5, 2, 2)
    both = PPCA(2).fit(X[:50]).partial_fit(X[50:])
    whole = PPCA(2).fit(X)
    size = np.full((5, 5), eigen_size(X))
    tolerance.near_sum(both.get_covariance(), whole.get_covariance(), size, 80)


def test_partial_fit_refuses_what_it_cannot_add():
    X = draw(30, 5, 2, 2)
    ppca = PPCA(2).partial_fit(X)
    before = ppca.components_.copy()
    bad = X.copy()
    bad[4, 1] = np.nan
    with pytest.raises(ValueError, match=r"partial_fit: X contains NaN in row 4, column 1"):
        ppca.partial_fit(bad)
    bad[4, 1] = np.inf
    with pytest.raises(ValueError, match=r"partial_fit: X contains infinity in row 4, column 1"):
        ppca.partial_fit(bad)
    with pytest.raises(ValueError, match="4 features"):
        ppca.partial_fit(X[:, :4])
    assert ppca.n_samples_seen_ == 30
    tolerance.same_bits(ppca.components_, before)
    bad[4, 1] = np.nan
    with pytest.raises(ValueError, match="kept no statistics"):
        PPCA(2).fit(bad).partial_fit(X)


def test_memory_map_is_read_in_chunks(tmp_path):
    X = draw(20_000, 5, 2, 0, np.float32)
    X.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", dtype=np.float32, mode="r", shape=X.shape)
    on_disk, in_memory = PPCA(2).fit(mapped), PPCA(2).fit(X)
    tolerance.same_bits(on_disk.components_, in_memory.components_)


def test_fit_covariance():
    X = draw(50, 6, 2, 0)
    S = np.cov(X.T, bias=True)
    from_rows, from_S = PPCA(2).fit(X), PPCA(2).fit_covariance(S, 50, X.mean(axis=0))
    tolerance.near_sum(from_S.get_covariance(), from_rows.get_covariance(), np.full((6, 6), eigen_size(X)), 50)
    tolerance.near_sum(np.float64(from_S.history_["log_likelihood"][-1]), from_rows.score(X), np.float64(1e3), 50)
    for bad, message in (
        (S[:4], r"covariance is \(4, 6\), a square matrix is needed"),
        (S + np.triu(np.ones((6, 6)), 1), "not symmetric"),
        (S - 100 * np.eye(6), "positive semi-definite"),
        (np.full((6, 6), np.nan), "NaN or infinity"),
    ):
        with pytest.raises(ValueError, match=message):
            PPCA(2).fit_covariance(bad, 50)


# -- the edges -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_components", [None, 3, 9, 10, 50])
def test_fewer_rows_than_columns_never_score_absurdly(n_components):
    X = draw(10, 50, 3, 0)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        ppca = PPCA(n_components).fit(X)
    # Nine directions vary; as many components leave no noise.
    assert len(told) == (n_components is not None and n_components >= 9)
    assert all("explain all of the variance of 10 rows and 50 columns" in str(warning.message) for warning in told)
    # A dimension with the floored variance 1e-8 of the mean adds log(1e8) / 2 nats at most.
    score = ppca.score(X)
    assert np.isfinite(score) and abs(score) < 50 * (np.log(1e8) + 5)
    assert ppca.noise_variance_ > 0


def test_one_row_and_no_variance_are_refused_and_nothing_changes():
    ppca = PPCA(1).fit(draw(10, 3, 1, 0))
    before = dict(vars(ppca))
    for X, message in (
        (np.ones((1, 3)), r"X has 1 sample"),
        (np.full((5, 3), 0.1), "all 3 columns of X are constant"),
        ([[1.0, np.inf], [2.0, 3.0]], "infinity in row 0, column 1"),
        ([[1.0, np.nan], [2.0, np.nan]], "column 1 has no observed value in 2 rows"),
        (np.full((2, 2), 1e300) * [[1], [-1]], "overflow; scale X"),
    ):
        with pytest.raises(ValueError, match=message):
            ppca.fit(X)
    with pytest.raises(ValueError, match=r"PPCA.fit: n_components=4, X has 3 columns"):
        PPCA(4).fit(np.zeros((5, 3)))
    assert all(value is vars(ppca)[name] for name, value in before.items())


@pytest.mark.parametrize(
    "options",
    [{"n_components": -1}, {"n_components": 1.5}, {"n_components": "MLE"}, {"method": "svd"}, {"tol": -1},
     {"max_iter": 0}, {"svd_solver": "arpack"}, {"n_components": "mle", "method": "em"}, {"verbose": "yes"}],
)  # fmt: skip
def test_bad_parameters_are_refused(options):
    with pytest.raises((ValueError, TypeError), match="PPCA"):
        PPCA(**{"n_components": 1} | options).fit(draw(10, 3, 1, 0))


def test_interrupted_em_keeps_the_last_whole_iteration():
    X = draw(60, 8, 3, 4)

    class Interrupt:
        def setup(self, estimator, context): ...
        def teardown(self, estimator, context): ...
        def on_fit_task_begin(self, estimator, context): ...

        def on_fit_task_end(self, estimator, context):
            if context.task_name == "epoch" and context.task_id == 2:
                raise KeyboardInterrupt

    ppca = PPCA(3, method="em", random_state=0, tol=0)
    ppca.set_callbacks(Interrupt())
    with pytest.raises(KeyboardInterrupt):
        ppca.fit(X)
    with pytest.warns(ConvergenceWarning):
        three = PPCA(3, method="em", random_state=0, tol=0, max_iter=3).fit(X)
    assert ppca.n_iter_ == 3
    tolerance.same_bits(ppca.components_, three.components_)
    assert ppca.history_ == three.history_


def test_verbose_shows_a_bar_and_zero_nothing(capfd):
    X = draw(60, 8, 3, 4)
    PPCA(3, method="em", random_state=0).fit(X)
    assert capfd.readouterr() == ("", "")
    PPCA(3, method="em", random_state=0, verbose=1).fit(X)
    out, err = capfd.readouterr()
    assert out == "" and "PPCA" in err and "log_likelihood" in err
