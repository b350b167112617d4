"""Training of RBMs with units of any type, and the ways of training that the Bernoulli loop leaves out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight

from . import _categories, _core
from ._device import choose_device, gpu_rows, host, is_on_gpu
from ._unit_scores import UnitScoresRBM
from ._units import HIDDEN, UnitStates, VisibleLayer, hidden_groups, kinds_of, parse_visible, visible_pairs
from ._validation import bit_words, check_choice, check_flag, check_number, float_dtype

METHODS = ("cd", "pcd", "fpcd", "pt", "exact")


@dataclass(frozen=True)
class UnitTraining:
    """Data of one fit, checked."""

    layer: VisibleLayer
    states: UnitStates
    sample_weight: np.ndarray | None
    observed: np.ndarray | None  # words of bits over units
    device: str = "cpu"

    @property
    def cols(self) -> int:
        return self.layer.n_units


def _row_weights(who: str, sample_weight: Any, X: Any, dtype: np.dtype) -> np.ndarray | None:
    """With mean 1, whatever the scale of what is given; None where all are the same."""
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weight.any():
        raise ValueError(f"{who}: sample_weight is 0 in all {len(weight)} rows")
    if (weight == weight[0]).all():
        return None
    weight = weight / weight.max()  # neither sum nor quotient overflows
    return (weight / weight.mean()).astype(dtype)


def _constant_columns(layer: VisibleLayer, X: Any, weight: np.ndarray | None, dtype: np.dtype) -> list[int]:
    """Gaussian columns that are the same but for rounding in all rows that count, as the core finds them."""
    least = 2.0**-17 if dtype == np.float32 else 2.0**-26
    found: list[int] = []
    for block in layer.blocks:
        if block.type == "gaussian":
            part = np.asarray(X[:, block.columns], dtype=np.float64)
            part = part if weight is None else part[weight > 0]
            about = part - part[0]
            constant = about.std(axis=0) <= least * np.abs(part.mean(axis=0))
            found += (block.columns.start + np.flatnonzero(constant)).tolist()
    return found


class UnitsRBM(UnitScoresRBM):
    """Adds `fit` and `partial_fit`."""

    def _check_parameters(self) -> None:
        who = type(self).__name__
        check_choice(who, "hidden", self.hidden, HIDDEN)
        check_choice(who, "method", self.method, METHODS)
        for name in ("l1", "sparsity_cost"):
            check_number(who, name, getattr(self, name), Real, low=0)
        check_number(who, "sparsity_target", self.sparsity_target, Real, low=0, high=1)
        check_number(who, "fast_learning_rate", self.fast_learning_rate, Real, low=0, open_low=True)
        check_number(who, "n_temperatures", self.n_temperatures, Integral, low=2)
        check_flag(who, "learn_variance", self.learn_variance)
        check_flag(who, "allow_missing", self.allow_missing)
        if self.learning_rate is not None:
            check_number(who, "learning_rate", self.learning_rate, Real, low=0, open_low=True)
        kinds = {kind for kind, _ in visible_pairs(who, self.visible)}
        if "count" in kinds and (self.hidden != "bernoulli" or self.method == "pt" or self.allow_missing):
            raise ValueError(
                f"{who}: visible='count' takes hidden='bernoulli', one temperature and no missing entries; here "
                f"hidden={self.hidden!r}, method={self.method!r}, allow_missing={self.allow_missing}"
            )
        if self.method == "pt" and self.hidden != "bernoulli":
            raise ValueError(f"{who}: method='pt' takes hidden='bernoulli', not {self.hidden!r}")
        if self.learn_variance and "gaussian" not in kinds:
            raise ValueError(f"{who}: learn_variance=True needs gaussian visible units, visible={self.visible!r:.60}")
        if self.draw_data and "bernoulli" not in kinds:
            raise ValueError(f"{who}: draw_data=True draws bits for bernoulli columns, visible={self.visible!r:.60}")
        if self.allow_missing and not kinds <= {"bernoulli", "categorical"}:
            raise ValueError(
                f"{who}: allow_missing=True takes bernoulli and categorical units, visible={self.visible!r:.60}"
            )
        if self.method == "exact" and self.hidden != "bernoulli" and "gaussian" in kinds:
            raise ValueError(f"{who}: method='exact' enumerates a layer; both have real units here")
        method, rate = self.method, self.learning_rate
        try:  # the checks that all classes share know the loop's own methods and a number as rate
            self.method, self.learning_rate = ("cd" if method == "cd" else "pcd"), self._rate()
            super()._check_parameters()
        finally:
            self.method, self.learning_rate = method, rate

    def _rate(self) -> float:
        if self.learning_rate is not None:
            return float(self.learning_rate)
        kinds = {kind for kind, _ in visible_pairs(type(self).__name__, self.visible)}
        return 0.01 if "gaussian" in kinds or self.hidden != "bernoulli" else 0.1

    def _quantities(self, data: Any) -> tuple[str, ...]:
        if not isinstance(data, UnitTraining):
            return super()._quantities(data)
        return ("reconstruction_error", "hidden_activity", "weight_rms")

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Any:
        """Train on X from the start, for `n_iter` passes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            bernoulli: 0 or 1 of any dtype, or probabilities in [0, 1] such as grey pixels. gaussian: real numbers, best
            standardised. categorical: integer codes, or one-hot. count: how often each word occurs. With
            `allow_missing`, NaN where an entry is not known. An array on a GPU is trained on there, see `device`.
        y : ignored
        sample_weight : array-like of shape (n_samples,) or None
            Weights of the rows in the log-likelihood that is maximised, at least 0; None: all 1.

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad parameters, NaN, infinity, values that the units cannot take; nothing has been changed then.
        DivergenceError
            When the parameters leave every sensible range; those of the last whole epoch are kept, as they are
            on Ctrl-C and when a callback raises.
        """
        data, dtype = self._check_units(X, sample_weight, fresh=True)
        with self._as_before_unless_begun():
            self._start_units(X, data, dtype)
            return self._train(data, self.n_iter, X, y)

    def partial_fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Any:
        """Train on with one pass over X, in batches; the first call starts as `fit` does.

        ``fit`` with n_iter=k is the same, bit for bit, as k calls with the same X (unless entries are missing). With
        ``shuffle=False`` and one pass it is the same as calls with its batches one by one, but for what is taken over
        all rows of a call: the mean of `sample_weight`, the mean size of bags of words, and the standard deviations
        that `learn_variance` starts from; for the fast weights of method="fpcd", which begin at 0 in every pass; and
        for the `h_samples_` of method="exact", drawn at the end of one. Weights count against those of the same call.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        self
        """
        fresh = not hasattr(self, "components_")
        data, dtype = self._check_units(X, sample_weight, fresh=fresh)
        with self._as_before_unless_begun():
            if fresh:
                self._start_units(X, data, dtype)
            return self._train(data, 1, X, y)

    def _check_units(self, X: Any, sample_weight: Any, *, fresh: bool) -> tuple[Any, np.dtype]:
        """All checks of parameters and data; nothing is changed. What is plain stays with the plain loop."""
        if self._plain_training() and sample_weight is None:
            return self._check_fit(X, fresh=fresh)
        self._check_parameters()
        who = f"{type(self).__name__}.{'fit' if fresh else 'partial_fit'}"
        device = choose_device(who, self.device, X)
        if is_on_gpu(sample_weight):
            sample_weight = host(sample_weight)
        sparse = "csr" if self.__sklearn_tags__().input_tags.sparse else False
        if fresh:
            # What columns hold is looked at, and put into units, by the CPU.
            checked = (
                host(gpu_rows(f"{who}: X", X))
                if is_on_gpu(X)
                else check_array(
                    X, accept_sparse=sparse, dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X"
                )
            )
            dtype = float_dtype(checked)
        else:
            checked = self._check_columns("partial_fit", X, on_host=True)
            dtype = self._model()[0].dtype
        weight = None
        if sample_weight is not None:
            weight = _row_weights(who, sample_weight, checked, dtype)
        if fresh:
            layer = self._new_layer(who, checked)
            scale = np.ones(layer.n_units)
        else:
            layer = self._layer().of_width(checked.shape[1])
            scale = np.ones_like(self._scale())  # looked at here, though training divides by them itself
        observed = None
        if self.allow_missing:
            checked, observed = self._without_missing(who, checked, layer)
        # Training divides by the standard deviations itself: they move.
        states = layer.encode(f"{who}: X", checked, dtype, scale, check_range=self.check_range)
        if self.allow_missing and not states.states.is_bits():
            raise ValueError(f"{who}: allow_missing=True takes 0 and 1, X holds values between")
        if fresh and self.learn_variance and (constant := _constant_columns(layer, checked, weight, dtype)):
            warnings.warn(
                f"{who}: the variance of a constant column cannot be learned and stays 1: X has the same value in "
                f"{'columns' if len(constant) > 1 else 'column'} {', '.join(map(str, constant[:10]))}",
                UserWarning,
                stacklevel=3,
            )
        if fresh and not self.learn_variance and (found := layer.far_from_standard(checked, weight)):
            warnings.warn(
                f"{who}: gaussian units have variance 1 around their mean, but {found}; standardise X "
                "(sklearn.preprocessing.StandardScaler) or use learn_variance=True",
                UserWarning,
                stacklevel=3,
            )
        return UnitTraining(layer, states, weight, observed, device), dtype

    def _new_layer(self, who: str, X: Any) -> VisibleLayer:
        blocks = parse_visible(who, self.visible, X.shape[1])
        return VisibleLayer(who, blocks, *_categories.in_data(who, X, blocks, self.n_categories))

    def _without_missing(self, who: str, X: Any, layer: VisibleLayer) -> tuple[np.ndarray, np.ndarray]:
        """X with draws from the columns' own values for its NaN, and which units are known."""
        X = np.array(X.toarray() if sp.issparse(X) else X, dtype=np.float64)
        missing = np.isnan(X)
        if layer.one_hot and missing.any():
            raise ValueError(f"{who}: missing choices are NaN among integer codes; X is one-hot")
        empty = np.flatnonzero(missing.all(axis=0))
        if empty.size:
            raise ValueError(f"{who}: column {empty[0]} has no known entry")
        generator = np.random.default_rng(0)
        for column in np.flatnonzero(missing.any(axis=0)):
            known = X[~missing[:, column], column]
            X[missing[:, column], column] = generator.choice(known, int(missing[:, column].sum()))
        return X, bit_words(who, layer.unit_mask(~missing))

    def _start_units(self, X: Any, data: Any, dtype: np.dtype) -> None:
        self._start(X, data.cols, dtype)
        if not isinstance(data, UnitTraining):
            return
        layer = data.layer
        self.n_categories_ = np.array([k for block in layer.blocks for k in block.categories], dtype=np.int64)
        self._one_hot, self._n_columns = layer.one_hot, layer.n_columns
        self.n_features_in_ = layer.n_columns
        words = data.states.exposure
        if words is not None:
            self._mean_words = max(float(np.average(words.astype(np.float64), weights=data.sample_weight)), 1.0)

    def _start(self, X: Any, n_features: int, dtype: np.dtype) -> None:
        super()._start(X, n_features, dtype)
        self.n_categories_ = np.zeros(0, np.int64)
        self._one_hot, self._n_columns, self._mean_words = False, n_features, 1.0

    def _beside_the_model(self, n_features: int, n_components: int, dtype: np.dtype) -> dict[str, Any]:
        start = super()._beside_the_model(n_features, n_components, dtype)
        start["visible_scale_"] = np.ones(n_features, dtype)
        start["swap_rates_"] = np.zeros(self.n_temperatures - 1 if self.method == "pt" else 0)
        if self.method == "pt":
            start["h_samples_"] = np.repeat(start["h_samples_"], self.n_temperatures, axis=0)
        return start

    def _chains(self, data: Any, chains: np.ndarray) -> np.ndarray:
        if not isinstance(data, UnitTraining):
            return super()._chains(data, chains)
        if self.hidden == "bernoulli":
            bit_words(f"{type(self).__name__}: h_samples_", chains)  # refuses others than 0 and 1
        return chains

    def _chain_states(self, chains: np.ndarray, n_components: int, dtype: np.dtype) -> np.ndarray:
        return chains if chains.dtype == dtype else super()._chain_states(chains, n_components, dtype)

    def _run(self, data: Any, model: Any, last: Any, offsets: Any, velocity: Any, chains: Any, progress: Any,
             on_epoch: Any) -> None:  # fmt: skip
        if not isinstance(data, UnitTraining):
            super()._run(data, model, last, offsets, velocity, chains, progress, on_epoch)
            return
        dtype = model[0].dtype
        n_components = model[0].shape[1]
        scale = self._own("visible_scale_", (data.cols,), dtype)
        n_temperatures = self.n_temperatures if self.method == "pt" else 1
        swaps = np.zeros(n_temperatures - 1)
        self.visible_scale_, self.swap_rates_ = scale, swaps
        arrays = {
            "scale": scale,
            "chains": chains,
            "swaps": swaps,
            "visible_offset": offsets[0],
            "hidden_offset": offsets[1],
            "mirrored": offsets[2],
        }
        for prefix, parts in (("", model), ("last_", last), ("velocity_", velocity)):
            arrays.update(zip((f"{prefix}weights", f"{prefix}visible", f"{prefix}hidden"), parts, strict=True))
        settings = {
            "method": self.method,
            "n_gibbs_steps": self.n_gibbs_steps,
            "batch_size": self.batch_size,
            "learning_rate": self._rate(),
            **dict(zip(("schedule", "annealing", "schedule_passes"), self._schedule(), strict=True)),
            "averaging": float(self.averaging or 0),
            "momentum": float(self.momentum),
            "weight_decay": float(self.weight_decay),
            "l1": float(self.l1),
            "sparsity_cost": float(self.sparsity_cost),
            "sparsity_target": float(self.sparsity_target),
            "fast_rate": float(self.fast_learning_rate) if self.method == "fpcd" else 0.0,
            "n_temperatures": n_temperatures,
            "learn_variance": bool(self.learn_variance),
            "centering": bool(self.centering),
            "shuffle": bool(self.shuffle),
            "draw_data": bool(self.draw_data),
            "divergence_limit": 1000.0,
            "seed": self._seed,
        }
        _core.unit_train(  # type: ignore[call-arg]
            data.states.states, data.sample_weight, data.observed, data.layer.groups,
            hidden_groups(self.hidden, n_components), arrays, settings, *progress, on_epoch, data.device,
        )  # fmt: skip

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        kinds = kinds_of(self.visible)  # any value: only fit minds parameters
        tags.input_tags.sparse = kinds in ({"bernoulli"}, {"count"})
        tags.input_tags.positive_only = self.check_range and "gaussian" not in kinds
        tags.input_tags.allow_nan = bool(self.allow_missing)
        tags.input_tags.categorical = kinds == {"categorical"}
        return tags
