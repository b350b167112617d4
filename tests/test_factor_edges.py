"""Where linear factor models break: columns without variance, too few rows, extreme scales, fits that are cut short."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.exceptions import ConvergenceWarning, NotFittedError

import factor_reference as reference
import tolerance
from harmonium import PPCA, FactorAnalysis, LinearFactorModel, save
from harmonium._accelerated_em import Stalled, accelerated
from harmonium._factor_solvers import State

quiet_heywood = pytest.mark.filterwarnings("ignore:.*Heywood case:UserWarning")


def draw(n, p, k, seed):
    return reference.draw_rows(reference.draw_model(p, k, seed), n, seed)


# -- columns without variance ----------------------------------------------------------------------------------------


def constant_column(n):
    """0.1 in column 1: its mean over n rows is not 0.1, so a variance by arithmetic is not 0."""
    X = np.random.default_rng(0).standard_normal((n, 3))
    X[:, 1] = 0.1
    return X


@pytest.mark.parametrize("way", ["rows", "wide", "missing", "partial_fit"])
def test_a_constant_column_is_known_by_its_values(way):
    X = constant_column(1000)
    if way == "wide":
        X = np.hstack([X[:20], np.random.default_rng(1).standard_normal((20, 1100))])
    if way == "missing":
        X[3, :] = np.nan
    with pytest.warns(UserWarning, match=r"\(1\) are constant"):
        if way == "partial_fit":
            fa = FactorAnalysis(1).partial_fit(X[:7]).partial_fit(X[7:])
        else:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", ".*Heywood")
                fa = FactorAnalysis(1, max_iter=2000).fit(X)
    assert fa.heywood_[1]
    tolerance.exact(fa.mean_[1], np.float64(0.1))
    others = np.delete(np.nanvar(X, axis=0), 1).mean()
    tolerance.near_sum(fa.noise_variance_[1], np.float64(1e-8 * others), np.float64(1e-8 * others), X.size)


@pytest.mark.parametrize("shape", [(1000, 3), (20, 1100)], ids=str)
@pytest.mark.parametrize("model", [PPCA(1), FactorAnalysis(1)], ids=["PPCA", "FA"])
def test_rows_all_the_same_are_refused(model, shape):
    X = np.full(shape, 0.1)
    with pytest.raises(ValueError, match=f"all {shape[1]} columns of X are constant"):
        model.fit(X)
    X[0, 0] = np.nan
    with pytest.raises(ValueError, match=f"all {shape[1]} columns of X are constant"):
        model.fit(X)


# -- EM of PPCA ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 3, 5])
def test_em_of_columns_of_very_different_scales(k):
    """The log-likelihood that EM reports is the model's, by dense algebra, and no lower than the closed form's."""
    X = np.random.default_rng(0).standard_normal((200, 6)) * [1000, 100, 10, 1, 0.1, 0.1]
    em, ml = PPCA(k, method="em", tol=1e-8, random_state=0).fit(X), PPCA(k).fit(X)
    psi = np.full(6, em.noise_variance_)
    dense = reference.log_density(X, em.components_.T, em.mean_, psi)
    # The dense reference loses digits by the condition of the covariance; sums of squares do not.
    condition = np.linalg.cond(em.get_covariance())
    size = reference.magnitude(X - em.mean_, em.components_.T, 0 * em.mean_, psi).mean()
    reported = np.float64(em.history_["log_likelihood"][-1])
    tolerance.near_sum(reported, dense.mean(), np.float64(40.0 + 1e-6 * size + 1e-3 * condition), 200)
    tolerance.near_sum(reported, em.score(X), np.float64(1e3), 200)
    assert ml.score(X) - em.score(X) < 1e-6  # 1e-8 nats in the last iteration, falling off geometrically


def test_em_of_real_data_whose_variances_span_ten_orders():
    X = load_breast_cancer().data
    em = PPCA(12, method="em", random_state=0).fit(X)
    reported = np.float64(em.history_["log_likelihood"][-1])
    # The floor of the noise is 1e-8 of the variance: so much of a covariance's rounding is in a density's exponent.
    tolerance.near_sum(reported, em.score(X), np.float64(1e8), X.shape[1])
    assert PPCA(12).fit(X).score(X) - reported < 1e-3


def test_a_fit_that_rounding_ends_is_not_called_converged():
    class Falling(PPCA):
        def _fit_complete(self, who, data, mean, dtype, X, *, reset, keep, curve=None):
            def states():
                yield State(np.zeros((3, 1)), np.ones(3), mean, -100.0)
                raise Stalled("rounding errors make a step lower by 5 nats")

            self._run(who, states(), data.n, dtype, X=X, reset=reset, keep=keep)

    with pytest.warns(ConvergenceWarning, match="not converged: after 1 iterations rounding errors make a step lower"):
        assert Falling(1).fit(draw(20, 3, 1, 0)).n_iter_ == 1


def test_a_step_that_cannot_be_computed_ends_an_acceleration():
    """Halving on the way to 0, with points of which nothing can be computed."""

    def evaluate(x):
        if x[0] < 0.1:
            raise np.linalg.LinAlgError
        return float(-x[0]), x / 2

    seen = []
    with pytest.raises(Stalled, match="no step that can be computed"):
        for x, _ in accelerated(np.ones(1), evaluate, lambda x: x, 0.0):
            seen.append(float(x[0]))
    assert seen == [1.0, 0.25, 0.125]
    with pytest.raises(Stalled, match=r"a step lower by 0\.5 nats"):
        list(accelerated(np.ones(1), lambda x: (float(x[0]), x / 2), lambda x: x, 0.1))


# -- missing values: few rows, few values ----------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:.*(Heywood|explain all of the variance)")
@pytest.mark.parametrize("model", [PPCA, FactorAnalysis])
def test_more_factors_than_rows_with_a_value_missing(model):
    """Factors that the rows cannot fill have no weight, and the rest are as if they were not there."""
    X = np.random.default_rng(0).standard_normal((5, 20))
    X[0, 0] = np.nan
    few, many, all_of_them = (model(k).fit(X) for k in (4, 8, 20))
    assert many.components_.shape == (8, 20) and all_of_them.components_.shape == (20, 20)
    tolerance.exact(many.components_[4:], np.zeros((4, 20)))
    for fit in (many, all_of_them):
        # Where an iteration ends, within tol of the maximum of the five rows, differs.
        tolerance.converged(fit.score(X) * 5, few.score(X) * 5, few.tol, 10)


@pytest.mark.filterwarnings("ignore:.*(Heywood|explain all of the variance|not converged)")
@pytest.mark.parametrize("model", [PPCA, FactorAnalysis])
@pytest.mark.parametrize("seed", [0, 6, 8, 10])
def test_four_of_five_values_missing(model, seed):
    """Two values a row on average, three factors: the noise falls to its floor and matrices become singular."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 10)) + 0.5 * rng.standard_normal((40, 10))
    X[rng.random(X.shape) < 0.8] = np.nan
    fit = model(3, max_iter=200).fit(X)
    values = fit.history_["log_likelihood"]
    assert (np.diff(values) >= 0).all() and values[-1] > values[0]
    tolerance.near_sum(np.float64(values[-1]), fit.score(X), np.float64(1e8), 10)  # the noise is at its floor
    assert np.isfinite(fit.impute(X)).all()


def test_posteriors_where_the_identity_is_lost_in_the_weights():
    """Noise of 1e-20, two factors, one of three columns observed: M is singular in float64, the posterior is not."""
    W = np.array([[1.0, 2.0], [0.5, 1.0], [1.0, -1.0]])
    _, covariance = LinearFactorModel(W.T, noise_variance=1e-20).posterior([[1.0, np.nan, np.nan]])
    w = W[0]  # x_0 = h_0 + 2 h_1 without noise: h is N(w / 5, I - w w' / 5)
    tolerance.near_sum(covariance[0], np.eye(2) - np.outer(w, w) / 5, np.full((2, 2), 1e3), 10)


# -- what a fit leaves behind ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("hole", [False, True])
def test_a_well_measured_column_is_no_heywood_case(hole):
    """A tenth of a per cent of its variance is noise, and 500 rows tell that from none."""
    rng = np.random.default_rng(1)
    h = rng.standard_normal((500, 1))
    X = np.hstack([h + 0.04 * rng.standard_normal((500, 1)), h + 0.06 * rng.standard_normal((500, 1)),
                   h + 0.5 * rng.standard_normal((500, 3))])  # fmt: skip
    X[0, 3] = np.nan if hole else X[0, 3]
    assert not FactorAnalysis(1, tol=1e-4).fit(X).heywood_.any()


@quiet_heywood
@pytest.mark.parametrize("rows", [3, 20])
def test_promax_where_factors_have_no_loadings(rows):
    X = draw(20, 6, 2, 0)[:rows]
    fa = FactorAnalysis(3, rotation="promax").fit(X)
    plain = FactorAnalysis(3).fit(X)
    assert np.isfinite(fa.factor_covariance_).all()
    C = plain.get_covariance()
    tolerance.near_sum(fa.get_covariance(), C, np.full(C.shape, 10 * np.abs(C).max()), 100)
    tolerance.near_sum(np.diag(fa.factor_covariance_), np.ones(3), np.ones(3), 20)


class Interrupt:
    """Ctrl-C at the end of an iteration."""

    def __init__(self, iteration):
        self.iteration = iteration

    def setup(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...

    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch" and context.task_id == self.iteration:
            raise KeyboardInterrupt


@quiet_heywood
@pytest.mark.parametrize("hole", [False, True])
def test_an_interrupted_fit_is_whole(hole):
    X, other = draw(60, 6, 2, 0), draw(60, 4, 1, 1)
    X[0, 0] = np.nan if hole else X[0, 0]
    fa = FactorAnalysis(1).fit(other)
    fa.set_callbacks(Interrupt(1))
    with pytest.raises(KeyboardInterrupt):
        fa.set_params(n_components=2).fit(X)
    assert fa.n_iter_ == 2 and fa.heywood_.shape == fa.noise_variance_.shape == (6,)


def test_warnings_as_errors_leave_a_whole_model():
    X = draw(60, 6, 2, 0)
    fa = FactorAnalysis(2, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ConvergenceWarning):
            fa.fit(X)
    assert fa.n_iter_ == 1 and fa.heywood_.shape == (6,)
    ppca = PPCA("cv", method="em", max_iter=1, random_state=0)
    with pytest.raises(ConvergenceWarning), warnings.catch_warnings():
        warnings.simplefilter("error")
        ppca.fit(X)
    assert int(np.argmax(ppca.held_out_log_likelihood_)) == ppca.n_components_


def test_a_curve_of_other_rows_is_forgotten():
    X = draw(60, 6, 2, 0)
    ppca = PPCA("cv", random_state=0).fit(X)
    ppca.set_params(n_components=2).partial_fit(X)
    assert not hasattr(ppca, "held_out_log_likelihood_")


@pytest.mark.parametrize("model", [PPCA(2), FactorAnalysis(2)], ids=["PPCA", "FA"])
def test_one_row_is_no_model(model, tmp_path):
    model.partial_fit(np.ones((1, 4)))
    for call in (lambda: model.transform(np.ones((1, 4))), model.get_covariance, model.get_feature_names_out,
                 lambda: save(model, tmp_path / "model")):  # fmt: skip
        with pytest.raises(NotFittedError):
            call()


# -- more than one maximum -------------------------------------------------------------------------------------------


def few_rows(seed):
    """Some rows, columns and factors; on many such data a noise variance goes to 0."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(15, 60)), int(rng.integers(5, 10))
    k = int(rng.integers(1, p // 2 + 1))
    return draw(n, p, k, seed), k


@quiet_heywood
@pytest.mark.parametrize("seed", [0, 9, 16])
def test_where_another_start_ends_higher_it_is_taken(seed):
    X, k = few_rows(seed)
    fa = FactorAnalysis(k, tol=1e-4).fit(X)
    for start in (np.ones(X.shape[1]), X.var(axis=0)):
        other = FactorAnalysis(k, tol=1e-4, noise_variance_init=start).fit(X)
        assert fa.loglike_[-1] > other.loglike_[-1] - 100 * fa.tol  # within tol of the same maximum, or above
    assert (np.diff(fa.loglike_) >= 0).all() and fa.n_iter_ == len(fa.loglike_)


@quiet_heywood
@pytest.mark.parametrize("seed", [37, 65, 258, 287])
def test_newton_does_not_crawl_along_a_boundary(seed):
    """A variance next to 0 must not lead the others astray: as many steps as without, not thousands."""
    X, k = few_rows(seed)
    fa = FactorAnalysis(k, tol=1e-8, max_iter=60).fit(X)  # a warning that it has not converged is an error
    assert fa.heywood_.any()
    assert (np.diff(fa.loglike_) >= 0).all()


@quiet_heywood
@pytest.mark.filterwarnings("ignore:.*not converged")
@pytest.mark.parametrize("seed", [0, 16, 23, 27])
def test_streaming_is_not_caught_by_the_maximum_of_the_first_rows(seed):
    X, k = few_rows(seed)
    whole, parts = (FactorAnalysis(k, tol=1e-4) for _ in range(2))
    for batch in np.array_split(X, 3):
        parts.partial_fit(batch)
    tolerance.converged(parts.loglike_[-1], whole.fit(X).loglike_[-1], whole.tol, 100)


# -- what float32 cannot hold ----------------------------------------------------------------------------------------


@quiet_heywood
@pytest.mark.parametrize("model", [PPCA(2), FactorAnalysis(2)], ids=["PPCA", "FA"])
@pytest.mark.parametrize("way", ["fit", "partial_fit"])
def test_large_integers_keep_their_digits(model, way):
    X = np.round(draw(200, 6, 2, 0) * 10).astype(np.int64)
    near, far = clone(model).fit(X.astype(np.float64)), clone(model)
    X += 10**9
    if way == "fit":
        far.fit(X)
    else:
        far.partial_fit(X[:50] - 10**9).partial_fit(X[50:] - 10**9)
        assert far.components_.dtype == np.float32
        far = clone(model).partial_fit(X[:100]).partial_fit(X[100:])
    assert far.mean_.dtype == far.components_.dtype == np.float64
    size = np.full(200, 10 * np.abs(near.score_samples(X - 10**9)).max() * 1e9 / 10)  # eps of 1e9 over the deviation
    tolerance.near_sum(far.score_samples(X), near.score_samples(X.astype(np.float64) - 10**9), size, 10)


@pytest.mark.parametrize("model", [PPCA(2), FactorAnalysis(2)], ids=["PPCA", "FA"])
@pytest.mark.parametrize("scale", [1e20, 1e-24])
def test_variances_outside_float32(model, scale):
    X = draw(200, 6, 2, 0)
    unit = clone(model).fit(X.astype(np.float32))
    scaled = clone(model).fit((X * scale).astype(np.float32))
    assert scaled.components_.dtype == np.float32 and np.asarray(scaled.noise_variance_).dtype == np.float64
    expected = unit.score((X).astype(np.float32)) - 6 * np.log(scale)
    # Rounding of the rows to float32 is another at the other scale.
    tolerance.near_sum(
        np.float64(scaled.score((X * scale).astype(np.float32))), expected, np.float64(1e3), 10, np.float32
    )
    C = unit.get_covariance().astype(np.float64) * scale**2
    tolerance.near_sum(scaled.get_covariance(), C, np.full((6, 6), np.abs(C).max()), 100, np.float32)
    assert np.isfinite(scaled.get_precision()).all() and scaled.get_precision().any()
