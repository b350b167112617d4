"""Drawing from RBMs with units of any type."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_array

from . import _core, _unit_partition
from ._callbacks import progress_bar
from ._device import host, is_on_gpu
from ._log_partition import Progress
from ._unit_layers import UnitLayersRBM
from ._units import UnitStates, VisibleLayer
from ._validation import bit_words, check_choice, check_number


class UnitSamplingRBM(UnitLayersRBM):
    """Adds `gibbs` and `sample`."""

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
        self._refuse_missing("gibbs", v)
        if self._plain():
            return super().gibbs(v, n_steps, random_state=random_state)
        who = f"{type(self).__name__}.gibbs"
        check_number(who, "n_steps", n_steps, Integral, low=1)
        model = self._unit_model()
        data = self._unit_states("gibbs", self._check_columns("gibbs", v, "v"), "v")
        self._device()  # refused before anything is drawn
        seed = self._draw_seed(random_state)
        with progress_bar(who, self.verbose) as progress:
            drawn = self._draw(model, data, False, n_steps, seed, None, None, progress)
        types = {block.type for block in self._layer().blocks}
        return self._beside_model(drawn.astype(bool) if types == {self.hidden} == {"bernoulli"} else drawn)

    def _draw(self, model: Any, start: UnitStates, from_hidden: bool, n_steps: int, seed: int, mask: Any, values: Any,
              progress: Progress) -> np.ndarray:  # fmt: skip
        units = _core.unit_gibbs(  # type: ignore[call-arg]
            *model, start.states, start.exposure, from_hidden, n_steps, seed, mask, values, progress, self._device()
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
            return self._beside_model(self._sample_anew(who, sampler, n_samples, n_steps, n_words, random_state))
        if self._plain():
            if n_words is not None:
                raise ValueError(f"{who}: n_words={n_words!r}, but the visible units are no bag of words")
            return super().sample(n_samples, n_steps=n_steps, init=init, clamp=clamp, random_state=random_state)
        with progress_bar(who, self.verbose) as progress:
            drawn = self._sample_on(who, n_samples, n_steps, init, clamp, n_words, random_state, progress)
        return self._beside_model(drawn)

    def _sample_on(self, who: str, n_samples: int, n_steps: int, init: Any, clamp: Any, n_words: Any, random_state: Any,
                   progress: Progress) -> np.ndarray:  # fmt: skip
        """`sample` by Gibbs sampling of all types of units, as NumPy's; reports the share of the steps done."""
        check_number(who, "n_samples", n_samples, Integral, low=1)
        check_number(who, "n_steps", n_steps, Integral, low=1)
        model, device = self._unit_model(), self._device()
        _unit_partition.check_proper(who, model)
        layer, dtype = self._layer(), model[0].dtype
        exposure = self._words(who, n_words, n_samples, dtype)
        mask = values = None
        if clamp is not None:
            mask, values, known = self._unit_clamp(who, clamp, n_samples)
        from_hidden = init is None and clamp is None and np.shape(getattr(self, "h_samples_", ()))[0] > 0
        seed = self._draw_seed(random_state)
        if from_hidden:
            chains = np.asarray(host(self.h_samples_), dtype=dtype)
            n_chains = len(chains) // (self.n_temperatures if self.method == "pt" else 1)
            chains = chains[np.arange(n_samples) % n_chains]
            start = UnitStates(_core.States.from_dense(np.ascontiguousarray(chains)), exposure)
        else:
            if init is None:
                none = _core.States.from_dense(np.zeros((n_samples, model[0].shape[1]), dtype))
                # Under the steps' own seed the first step would draw from the numbers that made the start.
                own = int(np.random.SeedSequence([seed, 1]).generate_state(1, np.uint64)[0])
                drawn = _core.unit_gibbs(*model, none, exposure, True, 1, own, None, None, None, device)
                init = layer.decode(drawn, self._scale())
            else:
                self._refuse_mixed("sample", init, "init")
                init = host(init) if is_on_gpu(init) else init
            init = check_array(init, dtype="numeric", input_name="init", estimator=self)
            if len(init) != n_samples:
                raise ValueError(f"{who}: init has {len(init)} rows, n_samples={n_samples}")
            if clamp is not None:
                if init.shape[1] != layer.n_columns:
                    raise ValueError(f"{who}: init has {init.shape[1]} columns, with clamp it needs {layer.n_columns}")
                init = np.where(known[0], known[1], init)
            states = self._unit_states("sample", init, "init")
            start = UnitStates(
                states.states, exposure if states.exposure is None or n_words is not None else states.exposure
            )
        drawn = self._draw(model, start, from_hidden, n_steps, seed, mask, values, progress)
        # Divided by a standard deviation and multiplied again, a clamped value may be another.
        return drawn if clamp is None else np.where(known[0], known[1], drawn).astype(dtype, copy=False)

    def _sample_anew(
        self, who: str, sampler: str, n_samples: int, n_steps: int, n_words: Any, random_state: Any
    ) -> np.ndarray:
        check_number(who, "n_samples", n_samples, Integral, low=1)
        check_number(who, "n_steps", n_steps, Integral, low=1)
        model, device = self._unit_model(), self._device()
        _unit_partition.check_proper(who, model)
        if sampler == "pt":
            check_number(who, "n_temperatures", self.n_temperatures, Integral, low=2)
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
                    *model, base, n_samples, n_temperatures, n_steps, seed, progress, device
                )
            else:
                betas = np.linspace(0, 1, n_steps + 1)
                _, units = _core.unit_anneal(*model, base, betas, None, exposure, seed, n_samples, progress, device)
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
        most = 2 ** (np.finfo(dtype).nmant + 1)  # beyond it this type does not count
        if words.max(initial=0) > most:
            raise ValueError(f"{who}: n_words={words.max()}, a model in {dtype} counts up to {most}")
        return np.ascontiguousarray(np.broadcast_to(words, (n_samples,)), dtype)

    def _unit_clamp(self, who: str, clamp: Any, n_samples: int) -> tuple[Any, Any, Any]:
        """Mask and values of units, and of columns."""
        layer = self._layer()
        if layer.counts:
            raise ValueError(f"{who}: words of a bag cannot be clamped")
        if not isinstance(clamp, (tuple, list)) or len(clamp) != 2:
            raise TypeError(f"{who}: clamp is {clamp!r:.60}, a pair (mask, values) is needed")
        mask, values = (host(part) if is_on_gpu(part) else np.asarray(part) for part in clamp)
        if mask.dtype != bool:
            raise TypeError(f"{who}: the mask of clamp is of type {mask.dtype}, bool is needed")
        shape = (n_samples, layer.n_columns)
        try:
            mask, values = np.broadcast_to(mask, shape), np.broadcast_to(values, shape)
        except ValueError:
            raise ValueError(f"{who}: clamp is {mask.shape} and {values.shape}, it must fit {shape}") from None
        layer.check_whole(f"{who}: the mask of clamp", mask)
        # What is not clamped may hold anything: it is read as a state that every unit can take.
        harmless = layer.decode(_first_states(layer), np.ones(layer.n_units))
        filled = np.where(mask, values, harmless)
        states = layer.encode(f"{who}: values of clamp", filled, self._model()[0].dtype, self._scale()).states
        dense = np.ascontiguousarray(states.dense(), self._model()[0].dtype)
        return bit_words(who, layer.unit_mask(mask)), dense, (mask, values)


def _first_states(layer: VisibleLayer) -> np.ndarray:
    """A row of units in a state that they can take."""
    units = np.zeros((1, layer.n_units))
    for block in layer.blocks:
        if block.type == "categorical":
            units[0, block.starts()] = 1
    return units
