"""RBMs with units of any type, and the ways of training that the Bernoulli loop leaves out."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils.validation import _check_sample_weight

from . import _core, _unit_partition
from ._callbacks import progress_bar
from ._log_partition import LogPartition, bracket
from ._rbm_base import BaseRBM
from ._units import HIDDEN, UnitStates, VisibleLayer, categories_of, hidden_groups, parse_visible, visible_pairs
from ._validation import bit_words, check_choice, check_flag, check_number, check_X, float_dtype

METHODS = ("cd", "pcd", "fpcd", "pt", "exact")


@dataclass(frozen=True)
class UnitTraining:
    """Data of one fit, checked."""

    layer: VisibleLayer
    states: UnitStates
    sample_weight: np.ndarray | None
    observed: np.ndarray | None  # words of bits over units

    @property
    def cols(self) -> int:
        return self.layer.n_units


class UnitsRBM(BaseRBM):
    """`BaseRBM` for all types of units; where all is plain Bernoulli, its own methods do the work."""

    visible: Any
    hidden: str
    n_categories: Any
    learn_variance: bool
    l1: float
    sparsity_target: float
    sparsity_cost: float
    fast_learning_rate: float
    n_temperatures: int
    allow_missing: bool
    n_categories_: np.ndarray
    visible_scale_: np.ndarray
    swap_rates_: np.ndarray

    # -- which way ------------------------------------------------------------------------------------------------

    def _plain(self) -> bool:
        """Whether all units are Bernoulli units, in one block."""
        return isinstance(self.visible, str) and self.visible == self.hidden == "bernoulli"

    def _plain_training(self) -> bool:
        return (
            self._plain()
            and self.method in ("cd", "pcd")
            and not (self.l1 or self.sparsity_cost or self.allow_missing or self.learn_variance)
        )

    def _layer(self) -> VisibleLayer:
        who = type(self).__name__
        n_units = np.shape(self.components_)[1]
        blocks = parse_visible(who, self.visible, self._columns(n_units))
        return VisibleLayer(who, blocks, self._categories(n_units), getattr(self, "_one_hot", False))

    def _categories(self, n_units: int) -> tuple[int, ...]:
        """Of each categorical column; of a model put together by assignment as n_categories says."""
        if hasattr(self, "n_categories_"):
            return tuple(map(int, self.n_categories_))
        if self.n_categories is None or not isinstance(self.visible, str):
            return () if self.n_categories is None else tuple(map(int, np.atleast_1d(self.n_categories)))
        given = np.atleast_1d(self.n_categories)
        return tuple(map(int, given if given.size > 1 else np.repeat(given, n_units // given[0])))

    def _columns(self, n_units: int) -> int:
        if hasattr(self, "_n_columns"):
            return self._n_columns
        if not isinstance(self.visible, str):
            return sum(count for _, count in self.visible)
        return len(self._categories(n_units)) if self.visible == "categorical" else n_units

    def _scale(self) -> np.ndarray:
        n_units = np.shape(self.components_)[1]
        return np.asarray(getattr(self, "visible_scale_", np.ones(n_units)), dtype=np.float64)

    def _unit_model(self) -> _unit_partition.UnitModel:
        weights, visible_bias, hidden_bias = self._model()
        layer = self._layer()
        if layer.n_units != len(visible_bias):
            raise ValueError(
                f"{type(self).__name__}: components_ has {len(visible_bias)} columns, the visible layer "
                f"{layer.n_units} units"
            )
        return weights, visible_bias, hidden_bias, layer.groups, hidden_groups(self.hidden, len(hidden_bias))

    # -- training -------------------------------------------------------------------------------------------------

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

    def _quantities(self) -> tuple[str, ...]:
        return (
            super()._quantities()
            if self._plain_training()
            else ("reconstruction_error", "hidden_activity", "weight_rms")
        )

    def fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Any:
        """Train on X from the start, for `n_iter` passes.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            bernoulli: 0 or 1 of any dtype, or probabilities in [0, 1] such as grey pixels. gaussian: real numbers, best
            standardised. categorical: integer codes, or one-hot. count: how often each word occurs. With
            `allow_missing`, NaN where an entry is not known.
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
        self._start_units(X, data, dtype)
        return self._train(data, self.n_iter, X, y)

    def partial_fit(self, X: Any, y: Any = None, *, sample_weight: Any = None) -> Any:
        """Train on with one pass over X, in batches; the first call starts as `fit` does.

        ``fit`` with n_iter=k is the same, bit for bit, as k calls with the same X (unless entries are missing), and
        with ``shuffle=False`` the same as calls with its batches one by one.

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
        if fresh:
            self._start_units(X, data, dtype)
        return self._train(data, 1, X, y)

    def _check_units(self, X: Any, sample_weight: Any, *, fresh: bool) -> tuple[Any, np.dtype]:
        """All checks of parameters and data; nothing is changed. What is plain stays with the plain loop."""
        if self._plain_training() and sample_weight is None:
            return self._check_fit(X, fresh=fresh)
        self._check_parameters()
        who = f"{type(self).__name__}.{'fit' if fresh else 'partial_fit'}"
        sparse = "csr" if self.__sklearn_tags__().input_tags.sparse else False
        if fresh:
            checked = check_array(
                X, accept_sparse=sparse, dtype="numeric", ensure_all_finite=False, estimator=self, input_name="X"
            )
            dtype = float_dtype(checked)
        else:
            checked = check_X(self, X, reset=False)
            dtype = self._model()[0].dtype
        weight = None
        if sample_weight is not None:
            weight = _check_sample_weight(sample_weight, checked, dtype=dtype, ensure_non_negative=True)
            if not weight.any():
                raise ValueError(f"{who}: sample_weight is 0 in all {len(weight)} rows")
        if fresh:
            layer = self._new_layer(who, checked)
            scale = np.ones(layer.n_units)
        else:
            layer, scale = self._layer(), np.ones(self._layer().n_units)
        observed = None
        if self.allow_missing:
            checked, observed = self._without_missing(who, checked, layer)
        # Training divides by the standard deviations itself: they move.
        states = layer.encode(f"{who}: X", checked, dtype, scale, check_range=self.check_range)
        if self.allow_missing and not states.states.is_bits():
            raise ValueError(f"{who}: allow_missing=True takes 0 and 1, X holds values between")
        if fresh and not self.learn_variance and (found := layer.far_from_standard(checked)):
            warnings.warn(
                f"{who}: gaussian units have variance 1 around their mean, but {found}; standardise X "
                "(sklearn.preprocessing.StandardScaler) or use learn_variance=True",
                UserWarning,
                stacklevel=3,
            )
        return UnitTraining(layer, states, weight, observed), dtype

    def _new_layer(self, who: str, X: Any) -> VisibleLayer:
        blocks = parse_visible(who, self.visible, X.shape[1])
        categories: list[int] = []
        one_hot, column = False, 0
        for kind, width in blocks:
            if kind == "categorical":
                given = self.n_categories
                found, one_hot = categories_of(who, X, slice(column, column + width), given)
                categories += found
            column += width
        return VisibleLayer(who, blocks, tuple(categories), one_hot)

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
        self._mean_words = 1.0 if words is None else max(float(np.mean(words, dtype=np.float64)), 1.0)

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
        return chains if isinstance(data, UnitTraining) else super()._chains(data, chains)

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
            "annealing": float(self.annealing or 0),
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
            "divergence_limit": 1000.0,
            "seed": self._seed,
        }
        _core.unit_train(  # type: ignore[call-arg]
            data.states.states, data.sample_weight, data.observed, data.layer.groups,
            hidden_groups(self.hidden, n_components), arrays, settings, *progress, on_epoch,
        )  # fmt: skip

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        kinds = {kind for kind, _ in visible_pairs(type(self).__name__, self.visible)}
        tags.input_tags.sparse = kinds in ({"bernoulli"}, {"count"})
        tags.input_tags.positive_only = self.check_range and "gaussian" not in kinds
        tags.input_tags.allow_nan = bool(self.allow_missing)
        tags.input_tags.categorical = kinds == {"categorical"}
        return tags

    # -- conditionals and samples ------------------------------------------------------------------------------------

    def _unit_states(self, method: str, X: Any, name: str = "X") -> UnitStates:
        return self._layer().encode(f"{type(self).__name__}.{method}: {name}", X, self._model()[0].dtype, self._scale())

    def transform(self, X: Any) -> np.ndarray:
        """The hidden units' means given every row of X: p(h = 1 | v) = sigmoid(c + v W) for bernoulli units.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`

        Returns
        -------
        H : array of shape (n_samples, n_components), in the dtype of the model
        """
        if self._plain():
            return super().transform(X)
        model = self._unit_model()
        data = self._unit_states("transform", check_X(self, X, reset=False))
        return _core.unit_probability(*model, data.states, data.exposure, False)

    def inverse_transform(self, H: Any) -> np.ndarray:
        """The visible units' means given every row h of H: p(v = 1 | h) = sigmoid(b + W h) for bernoulli units.

        Parameters
        ----------
        H : array-like or CSR matrix of shape (n_samples, n_components)
            Hidden states, or means as `transform` gives them.

        Returns
        -------
        X : array of shape (n_samples, n_units), in the dtype of the model
            Categorical columns as probabilities of their categories; of a bag of words, of its words.
        """
        if self._plain():
            return super().inverse_transform(H)
        model = self._unit_model()
        who = f"{type(self).__name__}.inverse_transform"
        H = check_array(H, dtype=[model[0].dtype], input_name="H", estimator=self)
        if H.shape[1] != model[0].shape[1]:
            raise ValueError(f"{who}: H has {H.shape[1]} columns, the model has {model[0].shape[1]} hidden units")
        exposure = np.ones(len(H), model[0].dtype) if self._layer().counts else None
        means = _core.unit_probability(*model, _core.States.from_dense(np.ascontiguousarray(H)), exposure, True)
        return (means * self._scale()).astype(means.dtype)

    def gibbs(self, v: Any, n_steps: int = 1, *, random_state: Any = None) -> np.ndarray:
        """Alternating draws of h given v and v given h, `n_steps` times.

        Parameters
        ----------
        v : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`
        n_steps : int, default=1
        random_state : int, RandomState or None
            None: the next draws of the sequence that the fit's random_state began, new ones at every call.

        Returns
        -------
        v_new : array of shape (n_samples, n_features), bool where all units are bernoulli
        """
        if self._plain():
            return super().gibbs(v, n_steps, random_state=random_state)
        who = f"{type(self).__name__}.gibbs"
        check_number(who, "n_steps", n_steps, Integral, low=1)
        model = self._unit_model()
        data = self._unit_states("gibbs", check_X(self, v, reset=False), "v")
        return self._draw(who, model, data, False, n_steps, self._draw_seed(random_state), None, None)

    def _draw(self, who: str, model: Any, start: UnitStates, from_hidden: bool, n_steps: int, seed: int, mask: Any,
              values: Any) -> np.ndarray:  # fmt: skip
        with progress_bar(who, self.verbose) as progress:
            units = _core.unit_gibbs(  # type: ignore[call-arg]
                *model, start.states, start.exposure, from_hidden, n_steps, seed, mask, values, progress
            )
        return self._layer().decode(units, self._scale())

    def sample(
        self,
        n_samples: int = 1,
        *,
        n_steps: int = 1000,
        init: Any = None,
        clamp: tuple[Any, Any] | None = None,
        n_words: Any = None,
        sampler: str = "gibbs",
        random_state: Any = None,
    ) -> np.ndarray:
        """Draw visible states from the model, one chain for each.

        Parameters
        ----------
        n_samples : int, default=1
        n_steps : int, default=1000
            Full steps v -> h -> v from the start. Neighbouring digits of a start show until the chain has mixed.
        init : array-like of shape (n_samples, n_features) or None
            States to start from. None: the persistent chains of training, else draws from the visible biases.
        clamp : (mask, values) or None
            Columns that stay: mask (n_features,) or (n_samples, n_features) of bool, values (n_samples, n_features)
            or (n_features,). The others are drawn given these: fill in the missing half of an image.
        n_words : int, array-like of shape (n_samples,) or None
            Sizes of bags of words. None: the mean of the training data's.
        sampler : {"gibbs", "pt", "annealed"}, default="gibbs"
            gibbs: alternating draws of both layers. pt: with parallel tempering over `n_temperatures` (the shares of
            accepted swaps are in `swap_rates_` then), which crosses between modes; bernoulli hidden units. annealed:
            from independent units with the data's means to the model in `n_steps` temperatures (Neal 2001). The latter
            two start anew: neither init nor clamp.
        random_state : int, RandomState or None, as in `gibbs`

        Returns
        -------
        V : array of shape (n_samples, n_features), in the dtype of the model and the form of the training data
        """
        who = f"{type(self).__name__}.sample"
        check_choice(who, "sampler", sampler, ("gibbs", "pt", "annealed"))
        if sampler != "gibbs":
            if init is not None or clamp is not None:
                raise ValueError(f"{who}: sampler={sampler!r} starts anew, it takes neither init nor clamp")
            return self._sample_anew(who, sampler, n_samples, n_steps, n_words, random_state)
        if self._plain():
            if n_words is not None:
                raise ValueError(f"{who}: n_words={n_words!r}, but the visible units are no bag of words")
            return super().sample(n_samples, n_steps=n_steps, init=init, clamp=clamp, random_state=random_state)
        check_number(who, "n_samples", n_samples, Integral, low=1)
        check_number(who, "n_steps", n_steps, Integral, low=1)
        model = self._unit_model()
        _unit_partition.check_proper(who, model)
        layer, dtype = self._layer(), model[0].dtype
        exposure = self._words(who, n_words, n_samples, dtype)
        mask = values = None
        if clamp is not None:
            mask, values, known = self._unit_clamp(who, clamp, n_samples)
        from_hidden = init is None and clamp is None and len(getattr(self, "h_samples_", ())) > 0
        seed = self._draw_seed(random_state)
        if from_hidden:
            chains = np.asarray(self.h_samples_, dtype=dtype)
            n_chains = len(chains) // (self.n_temperatures if self.method == "pt" else 1)
            chains = chains[np.arange(n_samples) % n_chains]
            start = UnitStates(_core.States.from_dense(np.ascontiguousarray(chains)), exposure)
        else:
            if init is None:
                none = np.zeros((n_samples, model[0].shape[1]), dtype)
                init = layer.decode(
                    _core.unit_gibbs(*model, _core.States.from_dense(none), exposure, True, 1, seed, None, None, None),
                    self._scale(),
                )
            init = check_array(init, dtype="numeric", input_name="init", estimator=self)
            if len(init) != n_samples:
                raise ValueError(f"{who}: init has {len(init)} rows, n_samples={n_samples}")
            if clamp is not None:
                init = np.where(known[0], known[1], init)
            states = self._unit_states("sample", init, "init")
            start = UnitStates(
                states.states, exposure if states.exposure is None or n_words is not None else states.exposure
            )
        return self._draw(who, model, start, from_hidden, n_steps, seed, mask, values)

    def _sample_anew(
        self, who: str, sampler: str, n_samples: int, n_steps: int, n_words: Any, random_state: Any
    ) -> np.ndarray:
        check_number(who, "n_samples", n_samples, Integral, low=1)
        check_number(who, "n_steps", n_steps, Integral, low=1)
        model = self._unit_model()
        _unit_partition.check_proper(who, model)
        if sampler == "pt" and (self.hidden != "bernoulli" or self._layer().counts):
            raise ValueError(f"{who}: sampler='pt' takes hidden='bernoulli' and no bags of words")
        exposure = self._words(who, n_words, n_samples, model[0].dtype)
        base = _unit_partition.base_biases(model, getattr(self, "visible_offset_", None))
        seed = self._draw_seed(random_state)
        with progress_bar(who, self.verbose) as progress:
            if sampler == "pt":
                base = base.astype(model[0].dtype)
                n_temperatures = self.n_temperatures
                units, self.swap_rates_ = _core.unit_temper(
                    *model, base, n_samples, n_temperatures, n_steps, seed, progress
                )
            else:
                betas = np.linspace(0, 1, n_steps + 1)
                _, units = _core.unit_anneal(*model, base, betas, None, exposure, seed, n_samples, progress)
        return self._layer().decode(units, self._scale())

    def _words(self, who: str, n_words: Any, n_samples: int, dtype: np.dtype) -> np.ndarray | None:
        if not self._layer().counts:
            if n_words is not None:
                raise ValueError(f"{who}: n_words={n_words!r}, but the visible units are no bag of words")
            return None
        words = np.asarray(round(getattr(self, "_mean_words", 1.0)) if n_words is None else n_words)
        if words.dtype.kind not in "iu" or (words < 0).any() or words.shape not in ((), (n_samples,)):
            raise ValueError(
                f"{who}: n_words={n_words!r:.60}, an integer of at least 0, or one for each sample, is needed"
            )
        return np.ascontiguousarray(np.broadcast_to(words, (n_samples,)), dtype)

    def _unit_clamp(self, who: str, clamp: Any, n_samples: int) -> tuple[Any, Any, Any]:
        """Mask and values of units, and of columns."""
        layer = self._layer()
        if layer.counts:
            raise ValueError(f"{who}: words of a bag cannot be clamped")
        if not isinstance(clamp, (tuple, list)) or len(clamp) != 2:
            raise TypeError(f"{who}: clamp is {clamp!r:.60}, a pair (mask, values) is needed")
        mask, values = (np.asarray(part) for part in clamp)
        if mask.dtype != bool:
            raise TypeError(f"{who}: the mask of clamp is of type {mask.dtype}, bool is needed")
        shape = (n_samples, layer.n_columns)
        try:
            mask, values = np.broadcast_to(mask, shape), np.broadcast_to(values, shape)
        except ValueError:
            raise ValueError(f"{who}: clamp is {mask.shape} and {values.shape}, it must fit {shape}") from None
        # What is not clamped may hold anything: it is read as a state that every unit can take.
        harmless = layer.decode(_first_states(layer), np.ones(layer.n_units))
        filled = np.where(mask, values, harmless)
        states = layer.encode(f"{who}: values of clamp", filled, self._model()[0].dtype, self._scale()).states
        dense = np.ascontiguousarray(states.dense(), self._model()[0].dtype)
        return bit_words(who, layer.unit_mask(mask)), dense, (mask, values)

    # -- scores ------------------------------------------------------------------------------------------------------

    def energy(self, V: Any, H: Any) -> np.ndarray:
        """E(v, h), row by row: -b.v - c.h - v W h, with (x - bias)^2 / 2 instead of -bias x for gaussian units.

        relu units have h^2 / 2 - c h. Gaussian visible columns are divided by `visible_scale_` first; under a bag of
        N words the hidden biases count N times.

        Parameters
        ----------
        V : array-like or CSR matrix of shape (n_samples, n_features)
        H : array-like of shape (n_samples, n_components)

        Returns
        -------
        energy : float64 array of shape (n_samples,)
        """
        if self._plain():
            return super().energy(V, H)
        who = f"{type(self).__name__}.energy"
        weights, b, c = (part.astype(np.float64) for part in self._unit_model()[:3])
        layer = self._layer()
        data = layer.encode(f"{who}: V", check_X(self, V, reset=False), np.dtype(np.float64), self._scale())
        units = data.states.dense()
        H = check_array(H, dtype=np.float64, input_name="H", estimator=self)
        if H.shape != (len(units), len(c)):
            raise ValueError(f"{who}: H is {H.shape}, {(len(units), len(c))} is needed")
        if (self.hidden != "gaussian" and (H < 0).any()) or (self.hidden == "bernoulli" and (H > 1).any()):
            raise ValueError(
                f"{who}: H holds values that {self.hidden} units cannot take, from {H.min():g} to {H.max():g}"
            )
        words = 1.0 if data.exposure is None else data.exposure[:, None].astype(np.float64)
        energy = -((units @ weights) * H).sum(axis=1)
        for block in layer.blocks:
            x, bias = units[:, block.units], b[block.units]
            energy += (0.5 * (x - bias) ** 2 if block.type == "gaussian" else -x * bias).sum(axis=1)
        if self.hidden == "gaussian":
            return energy + (0.5 * (H - c) ** 2).sum(axis=1)
        return energy + ((0.5 * H**2 if self.hidden == "relu" else 0) - words * c * H).sum(axis=1)

    def free_energy(self, X: Any) -> np.ndarray:
        """F(v) = -log of the sum (or integral) over h of exp(-E(v, h)), so p(v) = exp(-F(v)) / Z.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        free_energy : float64 array of shape (n_samples,), in nats
        """
        if self._plain():
            return super().free_energy(X)
        model = self._unit_model()
        data = self._unit_states("free_energy", check_X(self, X, reset=False))
        return _core.unit_free_energy(*model, data.states, data.exposure)

    def score_samples(self, X: Any) -> np.ndarray:
        """Pseudo-log-likelihood of every row, exact: the sum of log p(this | all others) (Besag 1975).

        The terms are units, choices of categorical columns, words of a bag, or (log densities of) gaussian columns.
        Nothing is drawn: equal rows score equally.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        pseudo_log_likelihood : float64 array of shape (n_samples,), in nats
        """
        if self._plain():
            return super().score_samples(X)
        model = self._unit_model()
        _unit_partition.check_proper(f"{type(self).__name__}.score_samples", model)
        data = self._unit_states("score_samples", check_X(self, X, reset=False))
        return _core.unit_pseudo_log_likelihood(*model, data.states, data.exposure) - self._log_scale()

    def _log_scale(self) -> float:
        return float(np.log(self._scale()).sum())

    def log_likelihood(self, X: Any, *, log_partition: LogPartition | None = None, return_bracket: bool = False) -> Any:
        """log p(v) = -F(v) - log Z of every row; densities where units are gaussian.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
        log_partition : LogPartition or None
            What `log_partition()` returned, to compute Z once for several X. None: ``log_partition()`` is called, or
            ``log_partition("bracket")`` with return_bracket where Z is not to be had exactly. Not for bags of words:
            Z depends on their size, and is computed for every size in X.
        return_bracket : bool, default=False
            Return (log_likelihood, lower, upper), by log Z's upper and lower bounds.

        Returns
        -------
        log_likelihood : float64 array of shape (n_samples,), in nats. Every row shares the error of log Z. Of a bag of
            words: of its words in one order, given their number.
        lower, upper : arrays of the same shape, with return_bracket only.

        Raises
        ------
        ValueError
            If X holds values that have no probability under this model.
        """
        if self._plain():
            return super().log_likelihood(X, log_partition=log_partition, return_bracket=return_bracket)
        who = f"{type(self).__name__}.log_likelihood"
        check_flag(who, "return_bracket", return_bracket)
        if not (log_partition is None or isinstance(log_partition, LogPartition)):
            raise TypeError(f"{who}: log_partition={log_partition!r}, what log_partition() returns is needed")
        model = self._unit_model()
        layer = self._layer()
        data = self._unit_states("log_likelihood", check_X(self, X, reset=False))
        if layer.binary and data.states.is_dense():
            raise ValueError(f"{who}: X holds values between 0 and 1, the model only gives 0 and 1 a probability")
        minus_energy = -_core.unit_free_energy(*model, data.states, data.exposure)
        if layer.counts:
            if log_partition is not None:
                raise ValueError(f"{who}: log Z of a bag depends on its number of words; leave log_partition out")
            z = self._partitions_of(data.exposure, return_bracket)
        else:
            if log_partition is None:
                log_partition = self.log_partition(
                    "bracket" if return_bracket and not self._is_exact(model) else "auto"
                )
            z = np.array([[log_partition.value], [log_partition.lower], [log_partition.upper]])
        if not return_bracket:
            return minus_energy - z[0]
        return minus_energy - z[0], minus_energy - z[2], minus_energy - z[1]

    @staticmethod
    def _is_exact(model: _unit_partition.UnitModel) -> bool:
        return _unit_partition.is_gaussian(model) or _unit_partition.enumerable(model)[0] > 0

    def _partitions_of(self, words: Any, with_bracket: bool) -> np.ndarray:
        """Value, lower and upper bound of log Z for bags of each of these sizes."""
        model = self._unit_model()
        sizes, where = np.unique(words, return_inverse=True)
        if self._is_exact(model):
            terms = _unit_partition.terms(model, None)
            values = np.array([_unit_partition.of_words(terms, n) for n in sizes])
            return np.stack([values] * 3)[:, where]
        found = [self.log_partition("bracket" if with_bracket else "ais", n_words=int(n)) for n in sizes]
        return np.array([[z.value, z.lower, z.upper] for z in found]).T[:, where]

    def log_partition(
        self,
        method: str = "auto",
        *,
        n_runs: int = 100,
        n_betas: int = 5000,
        betas: Any = None,
        n_words: int | None = None,
        random_state: Any = None,
    ) -> LogPartition:
        """log Z = log of the sum or integral over v and h of exp(-E(v, h)).

        Parameters
        ----------
        method : {"auto", "exact", "ais", "reverse_ais", "bracket"}, default="auto"
            exact: sum over all states of the smaller layer that has finitely many (25 bernoulli units), the other
            integrated; of gaussian visible and hidden units, in closed form.
            ais: annealed importance sampling (Neal 2001; Salakhutdinov and Murray 2008) up from independent
            units with the data's base rates. Its weights are right on average, so log Z comes out too low more
            often than too high, and likelihoods too good.
            reverse_ais: down from samples of the model, which errs to the other side (Burda et al. 2015).
            bracket: both, and log Z between them. Where the two are far apart, neither can be believed: take more
            temperatures, and more steps before the samples.
            auto: exact where that is possible, else ais.
        n_runs : int, default=100
            Independent chains.
        n_betas : int, default=5000
            Temperatures, in the proportions of Salakhutdinov and Murray's schedule.
        betas : array-like, "salakhutdinov-murray" or None
            The temperatures themselves, rising from 0 to 1; the name stands for the published schedule of 14,501:
            steps of 1e-3 up to 0.5, of 1e-4 up to 0.9, of 1e-5 up to 1.
        n_words : int or None
            Size of the bag of words that Z is wanted for. None: the mean of the training data's.
        random_state : int, RandomState or None, as in `gibbs`

        Returns
        -------
        log_partition : LogPartition
            With `value`, `std_error`, `lower`, `upper` and `effective_sample_size`.
        """
        who = f"{type(self).__name__}.log_partition"
        if self._plain():
            if n_words is not None:
                raise ValueError(f"{who}: n_words={n_words!r}, but the visible units are no bag of words")
            return super().log_partition(method, n_runs=n_runs, n_betas=n_betas, betas=betas, random_state=random_state)
        steps = self._check_partition(who, method, n_runs, n_betas, betas)
        model = self._unit_model()
        _unit_partition.check_proper(who, model)
        exposure = self._words(who, n_words, 1, model[0].dtype)
        words = 1.0 if exposure is None else float(exposure[0])
        if method == "exact" or (method == "auto" and self._is_exact(model)):
            if not self._is_exact(model):
                raise ValueError(f'{who}: neither layer has at most 2^25 states; use method="ais"')
            with progress_bar(who, self.verbose) as progress:
                if exposure is not None:
                    value = _unit_partition.of_words(_unit_partition.terms(model, progress), words)
                    return LogPartition(value, 0.0, value, value, np.inf, "exact")
                return self._shifted(_unit_partition.exact(model, progress))
        seed = self._draw_seed(random_state)
        base = _unit_partition.base_biases(model, getattr(self, "visible_offset_", None))

        def one(downwards: bool) -> LogPartition:
            start = None
            if downwards:
                size = None if exposure is None else int(words)
                drawn = self.sample(n_runs, n_words=size, random_state=seed % 2**32)
                start = self._unit_states("log_partition", drawn, "start")
            with progress_bar(who, self.verbose) as progress:
                return self._shifted(_unit_partition.annealed(model, base, steps, n_runs, seed, start, words, progress))

        if method != "bracket":
            return one(method == "reverse_ais")
        return bracket(one(False), one(True))

    def _shifted(self, z: LogPartition) -> LogPartition:
        """Z of densities of X from Z of densities of X divided by its standard deviations."""
        shift = self._log_scale()
        return LogPartition(
            z.value + shift, z.std_error, z.lower + shift, z.upper + shift, z.effective_sample_size, z.method
        )


def _first_states(layer: VisibleLayer) -> np.ndarray:
    """A row of units in a state that they can take."""
    units = np.zeros((1, layer.n_units))
    for block in layer.blocks:
        if block.type == "categorical":
            units[0, block.starts()] = 1
    return units
