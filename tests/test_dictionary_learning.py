"""SparseCoding: what a pass does, when learning stops, what an interruption leaves, rows of any kind."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.datasets import load_digits

import reference
import tolerance
from harmonium import DivergenceError, SparseCoding, _dictionary_learning, sparse_encode
from harmonium.image import Patches, extract_patches_2d

NEVER_STOPS = {"tol": 0, "max_no_improvement": None}
STATE = ("components_", "_covariance", "_projections", "_idle", "_counters", "_smoothed")


@pytest.fixture(scope="module")
def digits():
    X = load_digits().data[:300]
    X.setflags(write=False)
    return X


def make(**parameters):
    defaults = {"n_components": 20, "alpha": 5.0, "max_iter": 3, "batch_size": 64, "random_state": 0, **NEVER_STOPS}
    return SparseCoding(**{**defaults, **parameters})


def assert_same_model(a, b):
    for name in STATE:
        tolerance.same_bits(getattr(a, name), getattr(b, name))
    assert a.history_ == b.history_ and a.n_iter_ == b.n_iter_ and a.n_steps_ == b.n_steps_


class Watch:
    """Calls what it is given at the end of every pass."""

    def __init__(self, at_end):
        self.at_end, self.passes = at_end, []

    def setup(self, estimator, context): ...
    def on_fit_task_begin(self, estimator, context): ...
    def teardown(self, estimator, context): ...
    def on_fit_task_end(self, estimator, context):
        if context.task_name == "epoch":
            self.passes.append(getattr(context, "quantities", None))
            return self.at_end(estimator, context)
        return None


# -- what a pass does ------------------------------------------------------------------------------------------------


def test_one_batch_is_codes_statistics_and_atoms(digits):
    X, start = digits[:50], reference_start(digits)
    model = make(dict_init=start, batch_size=50, max_iter=1, transform_tol=1e-12).fit(X)
    codes = sparse_encode(X, start, alpha=5.0, tol=1e-12)
    A, B = reference.code_statistics(codes, X, 0, 1 / 50, np.zeros((20, 20)), np.zeros((20, 64)))
    assert (np.diag(A) > 0).all()
    expected = reference.dictionary_update(A, B, start)
    tolerance.near_sum(model.components_, expected, np.ones((20, 64)), 1e5)
    objective = reference.lasso_objective(X, start, 5.0, codes).mean()
    tolerance.near_sum(model.history_["objective"][0], objective, objective, 1e4)
    assert model.history_["density"] == [np.count_nonzero(codes) / codes.size]


def reference_start(X):
    start = X[100:120].copy()
    return start / np.linalg.norm(start, axis=1, keepdims=True)


@pytest.mark.parametrize("positive_code", [False, True])
@pytest.mark.parametrize("positive_dict", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_full_batches_never_raise_the_objective(digits, positive_code, positive_dict, dtype):
    X = (digits - digits.mean()).astype(dtype)
    options = {"positive_code": positive_code, "positive_dict": positive_dict}
    model = make(batch_size=None, max_iter=8, **options).fit(X)
    objective = np.array(model.history_["objective"])
    assert (np.diff(objective) < 1e-6 * objective[:-1]).all() and objective[-1] < 0.95 * objective[0]
    D = model.components_
    assert D.dtype == dtype
    tolerance.near_sum(np.linalg.norm(D, axis=1), np.ones(20), np.ones(20), 64)
    assert not positive_dict or (D >= 0).all()
    codes = model.transform(X)
    assert codes.dtype == dtype and (not positive_code or (codes >= 0).all())
    # What the history says of the next pass is what codes give.
    again = model.partial_fit(X).history_["objective"][-1]
    wide = reference.lasso_objective(X.astype(np.float64), D.astype(np.float64), 5.0, codes.astype(np.float64)).mean()
    tolerance.converged(again, wide, 1e-6 * wide, 10)


def test_small_batches_learn_faster(digits):
    options = {"alpha": 5.0, "dict_init": reference_start(digits), "n_components": 20}
    small, whole = (make(batch_size=size, **options).fit(digits) for size in (32, None))
    left = [reference.lasso_objective(digits, m.components_, 5.0, m.transform(digits)).mean() for m in (small, whole)]
    assert left[0] < left[1]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shuffle", [False, True])
@pytest.mark.parametrize("batch_size", [64, None])
def test_passes_are_the_same_in_one_call_or_several(digits, dtype, shuffle, batch_size):
    X = digits.astype(dtype)
    whole = make(shuffle=shuffle, batch_size=batch_size).fit(X)
    parts = make(shuffle=shuffle, batch_size=batch_size)
    for _ in range(3):
        parts.partial_fit(X)
    assert_same_model(parts, whole)
    assert parts.n_iter_ == 3 and parts.n_steps_ == 3 * (5 if batch_size else 1)
    assert_same_model(make(shuffle=shuffle, batch_size=batch_size).fit(X), whole)  # and again, from the same seed


def test_seeds_and_shuffling_matter(digits):
    one = make().fit(digits).components_
    assert (make(random_state=1).fit(digits).components_ != one).any()
    assert (make(shuffle=False).fit(digits).components_ != one).any()


def test_threads_change_no_bit(digits, set_threads):
    results = []
    for threads in (1, 2):
        set_threads(threads)
        results.append(make().fit(digits))
    set_threads(0)
    results.append(make(n_jobs=2).fit(digits))
    for other in results[1:]:
        assert_same_model(other, results[0])


# -- where it starts -------------------------------------------------------------------------------------------------


def test_without_a_pass_the_start_is_left_as_it_was_given(digits):
    start = np.random.default_rng(0).standard_normal((7, 64))
    start.setflags(write=False)
    model = make(n_components=7, dict_init=start, max_iter=0).fit(digits)
    tolerance.same_bits(model.components_, start)
    assert model.n_iter_ == 0 and model.history_ == {"objective": [], "density": [], "redrawn": []}
    drawn = make(max_iter=0).fit(digits).components_
    tolerance.near_sum(np.linalg.norm(drawn, axis=1), np.ones(20), np.ones(20), 64)
    rows = digits / np.linalg.norm(digits, axis=1, keepdims=True)
    assert (drawn @ rows.T).max(axis=1).min() > 1 - 1e-12
    assert len(np.unique(drawn, axis=0)) == 20


def test_more_atoms_than_rows_and_rows_of_zeros(digits):
    X = digits[:10].copy()
    X[::2] = 0
    model = make(n_components=None, max_iter=2).fit(X)
    assert model.components_.shape == (64, 64) and np.isfinite(model.components_).all()
    tolerance.near_sum(np.linalg.norm(model.components_, axis=1), np.ones(64), np.ones(64), 64)
    assert not model.transform(X)[::2].any()
    with pytest.warns(UserWarning, match="all codes of the last pass are zero at alpha=5"):
        nothing = make().fit(np.zeros((8, 5)))
    assert nothing.components_.shape == (20, 5) and np.isfinite(nothing.components_).all()


def test_positive_dictionaries_start_positive(digits):
    X = digits[:200] - 8.0
    start = np.random.default_rng(0).standard_normal((20, 64))
    start[3] = -1  # nothing of it is positive: drawn anew after the first batch
    model = make(dict_init=start, positive_dict=True, max_iter=1, transform_tol=1e-3).fit(X)
    assert (model.components_ >= 0).all() and model.history_["redrawn"][0] >= 1
    tolerance.near_sum(np.linalg.norm(model.components_, axis=1), np.ones(20), np.ones(20), 64)


def test_unused_atoms_become_rows(digits):
    """Atoms on pixels that are always 0 are never used."""
    start = reference_start(digits)
    start[[2, 5]] = np.eye(64)[[0, 32]]
    assert not digits[:, [0, 32]].any()
    options = {"dict_init": start, "shuffle": False, "batch_size": 100}
    early = make(max_iter=3, **options).fit(digits)  # 900 rows: not yet
    tolerance.same_bits(early.components_[[2, 5]], start[[2, 5]])
    assert (early._idle[[2, 5]] == 900).all() and sum(early.history_["redrawn"]) == 0
    late = make(max_iter=4, **options).fit(digits)
    assert late.history_["redrawn"] == [0, 0, 0, 2]
    assert (late._idle < 1000).all() and late.transform(digits)[:, [2, 5]].any(axis=0).all()


# -- stopping --------------------------------------------------------------------------------------------------------


def test_stops_where_a_pass_gains_little(digits):
    model = make(batch_size=None, tol=1e-2, max_iter=50).fit(digits)
    objective = np.array(model.history_["objective"])
    gains = -np.diff(objective) / objective[:-1]
    assert 2 < model.n_iter_ == len(objective) < 50
    assert gains[-1] < 1e-2 <= gains[:-1].min()


def test_stops_where_the_smoothed_objective_no_longer_falls(digits):
    model = make(max_no_improvement=5, max_iter=500, batch_size=16).fit(digits)
    assert model.n_iter_ < 500 and model._counters[2] == 5
    assert model._smoothed[0] > model._smoothed[1] > 0
    assert make(max_no_improvement=0, max_iter=6).fit(digits).n_iter_ == 6  # 0: never, like None
    before = model.n_steps_
    assert model.partial_fit(digits).n_steps_ == before + 19  # which always does a whole pass


def test_callbacks_see_passes_and_stop(digits):
    def at_end(estimator, context):
        assert estimator.n_iter_ == context.task_id + 1 == len(estimator.history_["objective"])
        return estimator.n_iter_ == 2

    watch = Watch(at_end)
    model = make(max_iter=9).set_callbacks(watch).fit(digits)
    assert model.n_iter_ == 2
    assert watch.passes == [{name: values[i] for name, values in model.history_.items()} for i in range(2)]
    model.set_callbacks()
    assert_same_model(model, make(max_iter=2).fit(digits))


def test_verbose_shows_the_quantities(digits, capsys):
    make(verbose=1, max_iter=2).fit(digits)
    shown = capsys.readouterr()
    assert shown.out == ""
    for word in ("SparseCoding", "objective", "density", "redrawn"):
        assert word in shown.err
    make().fit(digits)
    assert capsys.readouterr() == ("", "")


# -- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("kind", ["array", "sparse"])
def test_an_interrupted_fit_keeps_its_last_whole_pass(digits, kind, error):
    X = sp.csr_matrix(digits) if kind == "sparse" else digits

    def at_end(estimator, context):
        if context.task_id == 1:
            raise error("enough")

    model = make(max_iter=9).set_callbacks(Watch(at_end))
    with pytest.raises(error):
        model.fit(X)
    model.set_callbacks()
    whole = make(max_iter=2).fit(X)
    assert_same_model(model, whole)
    assert_same_model(model.partial_fit(X), whole.partial_fit(X))


def test_a_pass_over_blocks_that_fails_changes_nothing(digits, monkeypatch):
    monkeypatch.setattr(_dictionary_learning, "_BLOCK", 100)
    model = make(max_iter=1).fit(sp.csr_matrix(digits))
    whole = make(max_iter=1).fit(sp.csr_matrix(digits))
    blocks = _dictionary_learning._blocks

    def failing(*arguments):
        for i, block in enumerate(blocks(*arguments)):
            if i == 2:
                raise OSError("no more")
            yield block

    monkeypatch.setattr(_dictionary_learning, "_blocks", failing)
    with pytest.raises(OSError, match="no more"):
        model.partial_fit(sp.csr_matrix(digits))
    assert_same_model(model, whole)


def test_refused_input_changes_nothing(digits):
    model, other = make().fit(digits), make().fit(digits)
    bad = digits.copy()
    bad[7, 3] = np.nan
    cases = [
        ({}, bad, "X contains NaN in row 7, column 3"),
        ({"alpha": 0.0}, digits, "alpha=0.0, it must be greater than 0"),
        ({"dict_init": np.ones((20, 63))}, digits, r"dict_init is \(20, 63\), 20 atoms of 64 features are needed"),
        ({"dict_init": np.full((20, 64), np.inf)}, digits, "dict_init contains inf in row 0, column 0"),
        ({"batch_size": None}, sp.csr_matrix(digits), "batch_size=None needs all of it in memory"),
        ({"fit_algorithm": "omp"}, digits, "fit_algorithm='omp' is not one of"),
        ({"transform_algorithm": "omp"}, digits, "does not solve the lasso"),
        ({"n_jobs": 0}, digits, "n_jobs=0"),
    ]
    for parameters, X, message in cases:
        model.set_params(**parameters)
        with pytest.raises(ValueError, match=message):
            model.fit(X)
        model.set_params(**make().get_params())
        assert_same_model(model, other)
    for X, message in ((digits[:, :9], "9 features"), (bad, "NaN in row 7"), (digits[:0], "0 sample")):
        with pytest.raises(ValueError, match=message):
            model.partial_fit(X)
        assert_same_model(model, other)
    with pytest.raises(DivergenceError, match=r"rows 0 to 63 of pass 3 is inf"):
        model.partial_fit(np.full((300, 64), 1e200))
    assert_same_model(model, other)


# -- rows of any kind ------------------------------------------------------------------------------------------------


def test_rows_of_any_kind_are_the_same_rows(digits, monkeypatch, tmp_path):
    """In 256 rows, in blocks of 128 too: batches of 64 end where blocks do."""
    digits = digits[:256]
    whole = make(shuffle=False).fit(digits)
    patches = extract_patches_2d(np.random.default_rng(0).standard_normal((20, 20)), (5, 5))
    of_patches = make(shuffle=False, alpha=0.5).fit(np.asarray(patches))
    on_disk = np.memmap(tmp_path / "rows", dtype=np.float64, mode="w+", shape=digits.shape)
    on_disk[:] = digits
    on_disk.flush()
    read_only = np.memmap(tmp_path / "rows", dtype=np.float64, mode="r", shape=digits.shape)
    for X in (read_only, np.asfortranarray(digits), np.repeat(digits, 2, axis=0)[::2], digits.tolist()):
        assert_same_model(make(shuffle=False).fit(X), whole)
    for block in (16384, 128):
        monkeypatch.setattr(_dictionary_learning, "_BLOCK", block)
        for model, expected in (
            (make(shuffle=False).fit(sp.csr_matrix(digits)), whole),
            (make(shuffle=False, alpha=0.5).fit(patches), of_patches),
        ):
            tolerance.same_bits(model.components_, expected.components_)
            assert model.n_iter_ == 3 and model.n_steps_ == expected.n_steps_
            for name, values in expected.history_.items():
                tolerance.near_sum(np.array(model.history_[name]), np.array(values), np.abs(values), 1000)


@pytest.mark.parametrize("dtype", [np.float16, np.uint8, np.int64, bool])
def test_other_types_become_float32(digits, dtype):
    X = digits.astype(dtype)
    model = make(alpha=0.5).fit(X)
    assert model.components_.dtype == np.float32 == model.transform(X).dtype
    assert_same_model(model, make(alpha=0.5).fit(X.astype(np.float32)))


def test_images_written_to_meanwhile_are_refused():
    image = np.random.default_rng(0).standard_normal((20, 23))
    patches = extract_patches_2d(image, (5, 5))
    assert isinstance(patches, Patches)
    model = make(alpha=0.5, max_iter=1).fit(patches)
    before = model.components_.copy()
    image[3, 3] = np.nan
    with pytest.raises(ValueError, match="contains NaN"):
        model.partial_fit(patches)
    tolerance.same_bits(model.components_, before)
    with pytest.raises(ValueError, match="X has 9 columns, the model has 25"):
        model.partial_fit(extract_patches_2d(np.ones((5, 5)), (3, 3)))


# -- learned arrays may be assigned ----------------------------------------------------------------------------------


@pytest.mark.parametrize("layout", [np.asfortranarray, np.ndarray.tolist, lambda D: np.repeat(D, 2, axis=1)[:, ::2]])
def test_assigned_dictionaries_are_used(digits, layout):
    D = reference_start(digits)
    for model in (make(), make(n_components=9).fit(digits)):
        model.components_ = layout(D)
        tolerance.same_bits(model.transform(digits), sparse_encode(digits, D, alpha=5.0))
        assert model.transform(digits).shape == (300, 20) and len(model.get_feature_names_out()) == 20
        # Statistics of other atoms count no longer: it is as if learning began there.
        model.partial_fit(digits)
        fresh = make(dict_init=D, max_iter=1, shuffle=False)
        if model.n_iter_ == 1:
            tolerance.same_bits(model.components_, fresh.set_params(shuffle=True).fit(digits).components_)
        assert model.n_steps_ == 5 and len(model.history_["objective"]) == model.n_iter_


def test_dictionaries_written_into_are_used(digits):
    model = make().fit(digits)
    model.components_[:] = model.components_[::-1].copy()
    turned = model.components_.copy()
    after = model.partial_fit(digits).components_
    assert (np.abs((after * turned).sum(axis=1)) > 0.5).mean() > 0.8  # atoms stay near where they were put
    model.components_ = np.full((20, 64), np.nan)
    with pytest.raises(ValueError, match="components_ contains NaN in row 0, column 0"):
        model.partial_fit(digits)


def test_n_components_counts_in_the_first_call_only(digits):
    model = make(max_iter=1).fit(digits).set_params(n_components=7).partial_fit(digits)
    assert model.components_.shape == (20, 64)
    assert model.fit(digits).components_.shape == (7, 64)
