"""The state of dictionary learning between calls into the core, and the way there from data of any kind."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp

from . import _core
from ._device import as_type, beside, host, is_on_gpu, refuse_mixed, take_rows
from ._lasso import choose_solver, threads
from ._rbm_sampling import new_seed
from ._validation import check_finite, float_dtype, tell
from .image import Patches

_BLOCK = 16384  # rows of CSR matrices and patches in memory at a time, fewer where rows are long
_BLOCK_NUMBERS = 2**24
_FORGETTING = 8.0  # batches weigh t^8: best of 0 to 64 after one to three passes over natural patches and digits
_REDRAW_AFTER = 1000
_QUANTITIES = ("objective", "density", "redrawn")


class DictionaryLearner:
    """All that learning changes; `give` shows it to the user as attributes."""

    PRIVATE: ClassVar = ("_covariance", "_projections", "_idle", "_counters", "_smoothed", "_seed", "_learned")

    def __init__(self, state: dict[str, Any], history: dict[str, list[float]], seed: int, like: Any) -> None:
        self._state, self._history, self._seed = state, history, seed
        self._like = like  # in whose library, on whose GPU, components_ is

    @staticmethod
    def checked(estimator: Any, who: str, data: Any) -> Any:
        """Rows as learning reads them: dense, there or on a GPU, CSR or patches; all finite."""
        if not isinstance(data, Patches):  # whose images were checked
            check_finite(who, data)
        if estimator.batch_size is None and not _is_dense(data):
            raise ValueError(
                f"{who} is {'patches' if isinstance(data, Patches) else 'sparse'}, but batch_size=None needs all of it "
                "in memory; give a batch_size, or X as an array"
            )
        return data

    @classmethod
    def begin(cls, estimator: Any, data: Any, dtype: np.dtype, seed: int) -> DictionaryLearner:
        n_features = data.shape[1]
        n_atoms = n_features if estimator.n_components is None else int(estimator.n_components)
        if estimator.dict_init is None:
            dictionary = _drawn_rows(data, n_atoms, dtype, seed)
        else:
            refuse_mixed(type(estimator).__name__, data, "dict_init", estimator.dict_init)
            dictionary = _given(estimator, n_atoms, n_features, dtype)
        return cls(_fresh(dictionary), {name: [] for name in _QUANTITIES}, seed, data)

    @classmethod
    def resume(cls, estimator: Any) -> DictionaryLearner:
        """Goes on with the estimator's components_, and with the statistics if it was these that they led to."""
        who = f"{type(estimator).__name__}: components_"
        given = host(estimator.components_)
        check_finite(who, given)
        if given.ndim != 2 or 0 in given.shape:
            raise ValueError(f"{who} is {given.shape}, (n_components, n_features) is needed")
        state = _fresh(np.array(given, dtype=float_dtype(given), order="C"))
        seed = getattr(estimator, "_seed", None)
        history = {name: list(values) for name, values in getattr(estimator, "history_", {}).items()}
        if getattr(estimator, "_learned", None) == _digest(state["dictionary"]):
            state |= {name: getattr(estimator, f"_{name}").copy() for name in state if name != "dictionary"}
        state["counters"][1] = getattr(estimator, "n_iter_", 0)
        return cls(
            state,
            history or {name: [] for name in _QUANTITIES},
            new_seed(estimator.random_state) if seed is None else seed,
            estimator.components_,
        )

    def give(self, estimator: Any) -> None:
        """The state after the last whole pass, as the estimator's attributes."""
        estimator.components_ = beside(self._state["dictionary"], self._like)
        estimator._learned = _digest(self._state["dictionary"])
        for name in ("covariance", "projections", "idle", "counters", "smoothed"):
            setattr(estimator, f"_{name}", self._state[name])
        estimator._seed = self._seed
        estimator.n_steps_, estimator.n_iter_ = int(self._state["counters"][0]), int(self._state["counters"][1])
        estimator.history_ = self._history

    def has_converged(self, tol: float) -> bool:
        """Whether the last pass has lowered the objective by less than this share of it."""
        objective = self._history["objective"]
        return tol > 0 and len(objective) > 1 and objective[-2] - objective[-1] < tol * abs(objective[-2])

    def learn(self, estimator: Any, data: Any, n_passes: int, on_pass: Callable[[], bool], *, stops: bool) -> None:
        """So many passes; `on_pass` is called after each, true stops."""
        if n_passes == 0:
            return
        self._start(positive=bool(estimator.positive_dict))
        if _is_dense(data):

            def on_epoch(values: list[float]) -> bool:
                for name, value in zip(_QUANTITIES, values, strict=True):
                    self._history[name].append(value)
                return on_pass()

            dtype, shuffle = self._state["dictionary"].dtype, bool(estimator.shuffle)
            rows = as_type(data, dtype) if is_on_gpu(data) else np.ascontiguousarray(data, dtype=dtype)
            self._call(estimator, self._state, rows, rows.shape[0], n_passes, on_epoch, stops=stops, shuffle=shuffle)
            return
        for _ in range(n_passes):
            stopped = self._pass_in_blocks(estimator, data, stops=stops)
            if on_pass() or stopped:
                return

    def _start(self, *, positive: bool) -> None:
        """Brings a dictionary that was given to norm 1, or to what positive_dict asks for."""
        given = self._state["dictionary"]
        if self._state["counters"][0] > 0 and not (positive and (given < 0).any()):
            return
        atoms = np.maximum(given, 0, dtype=np.float64) if positive else given.astype(np.float64)
        atoms /= np.maximum(np.abs(atoms).max(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        norms = np.linalg.norm(atoms, axis=1)
        self._state["idle"][norms == 0] = np.inf  # redrawn after the first batch
        atoms /= np.where(norms > 0, norms, 1)[:, None]
        self._state["dictionary"] = np.ascontiguousarray(atoms, given.dtype)

    def _pass_in_blocks(self, estimator: Any, data: Any, *, stops: bool) -> bool:
        """One pass; a failure on the way leaves the state as it was before."""
        state = {name: array.copy() for name, array in self._state.items()}
        passes = int(state["counters"][1])
        seen: list[tuple[int, list[float]]] = []
        stopped = False
        seed = self._seed + passes if estimator.shuffle else None
        for rows in _blocks(data, state["dictionary"].dtype, int(estimator.batch_size), seed):

            def on_block(values: list[float], n_rows: int = len(rows)) -> bool:
                seen.append((n_rows, values))
                return False

            stopped = self._call(estimator, state, rows, data.shape[0], 1, on_block, stops=stops, shuffle=False)
            if stopped:
                break
        weights = np.array([n for n, _ in seen], dtype=np.float64)
        objective, density, redrawn = np.array([values for _, values in seen]).T
        summary = (weights @ objective / weights.sum(), weights @ density / weights.sum(), redrawn.sum())
        history = {name: [*self._history[name], float(v)] for name, v in zip(_QUANTITIES, summary, strict=True)}
        state["counters"][1] = passes + 1
        self._state, self._history = state, history
        return stopped

    def _call(
        self,
        estimator: Any,
        state: dict[str, Any],
        rows: Any,
        n_rows: int,
        n_passes: int,
        on_pass: Callable[[list[float]], bool],
        *,
        stops: bool,
        shuffle: bool,
    ) -> bool:
        who = type(estimator).__name__
        device, algorithm = choose_solver(who, "fit_algorithm", estimator.fit_algorithm, estimator.device, rows)
        quantities = np.zeros((n_passes, len(_QUANTITIES)))
        first = int(state["counters"][1])

        def on_epoch() -> bool:
            return on_pass(quantities[int(state["counters"][1]) - first - 1].tolist())

        whole = estimator.batch_size is None
        return _core.sparse_coding_train(  # type: ignore[call-arg]
            rows, *(state[name] for name in ("dictionary", "covariance", "projections", "idle", "counters")),
            state["smoothed"], quantities, float(estimator.alpha),
            algorithm, float(estimator.transform_tol),
            int(estimator.transform_max_iter), bool(estimator.positive_code), bool(estimator.positive_dict),
            0 if whole else int(estimator.batch_size), _FORGETTING, shuffle, self._seed,
            max(rows.shape[0], 1) if whole else _REDRAW_AFTER,
            int(estimator.max_no_improvement or 0) if stops else 0, n_rows,
            threads(who, estimator.n_jobs), on_epoch, device,
        )  # fmt: skip

    def warn_if_idle(self, estimator: Any) -> None:
        """Say so where nothing was learned because no code was used."""
        if self._history["density"] and self._history["density"][-1] == 0:
            tell(
                f"{type(estimator).__name__}: all codes of the last pass are zero at alpha={estimator.alpha:g}; the "
                "dictionary is of rows of X as they were drawn; use a smaller alpha"
            )


def _is_dense(data: Any) -> bool:
    return isinstance(data, np.ndarray) or is_on_gpu(data)


def _fresh(dictionary: np.ndarray) -> dict[str, Any]:
    """The state before the first update."""
    n_atoms, n_features = dictionary.shape
    return {
        "dictionary": dictionary,
        "covariance": np.zeros((n_atoms, n_atoms)),
        "projections": np.zeros((n_atoms, n_features)),
        "idle": np.zeros(n_atoms),
        "counters": np.zeros(3, np.int64),
        "smoothed": np.zeros(2),
    }


def _digest(dictionary: np.ndarray) -> str:
    """Tells whether components_ is still what learning left: users may assign it, or write into it."""
    return hashlib.blake2b(dictionary.tobytes(), digest_size=16).hexdigest()


def _given(estimator: Any, n_atoms: int, n_features: int, dtype: np.dtype) -> np.ndarray:
    who = f"{type(estimator).__name__}: dict_init"
    given = np.array(host(estimator.dict_init), dtype=dtype, order="C")
    if given.shape != (n_atoms, n_features):
        raise ValueError(f"{who} is {given.shape}, {n_atoms} atoms of {n_features} features are needed")
    check_finite(who, given)
    return given


def _drawn_rows(data: Any, n_atoms: int, dtype: np.dtype, seed: int) -> np.ndarray:
    """Rows of the data that are not zero, in a drawn order, of norm 1; where they run out, directions at random."""
    n, n_features = data.shape
    random = np.random.default_rng(seed)
    atoms = np.zeros((0, n_features))
    order = random.permutation(n)
    for first in range(0, n, max(n_atoms, 256)):
        rows = take_rows(data, order[first : first + max(n_atoms, 256)])
        rows = np.asarray(rows.toarray() if sp.issparse(rows) else host(rows), dtype=np.float64)
        norms = np.linalg.norm(rows, axis=1)
        atoms = np.vstack([atoms, rows[norms > 0] / norms[norms > 0, None]])[:n_atoms]
        if len(atoms) == n_atoms:
            break
    if len(atoms) < n_atoms:
        extra = random.standard_normal((n_atoms - len(atoms), n_features))
        atoms = np.vstack([atoms, extra / np.linalg.norm(extra, axis=1, keepdims=True)])
    return np.ascontiguousarray(atoms, dtype=dtype)


def _blocks(data: Any, dtype: np.dtype, batch_size: int, seed: int | None) -> Iterator[np.ndarray]:
    """All rows, in an order drawn from the seed, whole batches of them at a time."""
    n, n_features = data.shape
    step = max(min(_BLOCK, _BLOCK_NUMBERS // n_features) // batch_size, 1) * batch_size
    order = np.arange(n) if seed is None else np.random.default_rng(seed).permutation(n)
    for first in range(0, n, step):
        rows = data[order[first : first + step]]
        block = np.ascontiguousarray(rows.toarray() if sp.issparse(rows) else rows, dtype=dtype)
        if isinstance(data, Patches):  # images are not copied: they may have been written to since they were checked
            check_finite(f"{data!r}", block)
        yield block
