"""Energies and likelihoods of RBMs with units of any type."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils import check_array

from . import _core, _unit_bags, _unit_missing, _unit_partition
from ._callbacks import progress_bar
from ._device import host, is_on_gpu
from ._log_partition import LogPartition, Progress, bracket
from ._unit_sampling import UnitSamplingRBM
from ._units import UnitStates
from ._validation import check_flag


class UnitScoresRBM(UnitSamplingRBM):
    """Adds `energy`, `free_energy`, `score_samples`, `log_likelihood` and `log_partition`."""

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
        self._refuse_mixed("energy", H, "H")
        H = host(H) if is_on_gpu(H) else H
        weights, b, c = (part.astype(np.float64) for part in self._unit_model()[:3])
        layer = self._layer()
        V = self._check_columns("energy", V, "V", on_host=True)
        data = layer.encode(f"{who}: V", V, np.dtype(np.float64), self._scale())
        n = data.rows
        H = check_array(H, dtype=np.float64, input_name="H", estimator=self)
        if H.shape != (n, len(c)):
            raise ValueError(f"{who}: H is {H.shape}, {(n, len(c))} is needed")
        if (self.hidden != "gaussian" and (H < 0).any()) or (self.hidden == "bernoulli" and (H > 1).any()):
            raise ValueError(
                f"{who}: H holds values that {self.hidden} units cannot take, from {H.min():g} to {H.max():g}"
            )
        words = 1.0 if data.exposure is None else data.exposure[:, None].astype(np.float64)
        linear, gaussian = b.copy(), [block.units for block in layer.blocks if block.type == "gaussian"]
        for part in gaussian:
            linear[part] = 0
        # By the core, for which bits and sparse rows stay what they are.
        energy = -(_core.binary_gemm(data.states, weights, False) * H).sum(axis=1)
        energy -= _core.binary_gemm(data.states, linear[:, None], False)[:, 0]
        if gaussian:
            units = data.states.dense()
            for part in gaussian:
                energy += 0.5 * ((units[:, part] - b[part]) ** 2).sum(axis=1)
        if self.hidden == "gaussian":
            energy += (0.5 * (H - c) ** 2).sum(axis=1)
        else:
            energy += ((0.5 * H**2 if self.hidden == "relu" else 0) - words * c * H).sum(axis=1)
        return self._beside_model(energy)

    def free_energy(self, X: Any) -> np.ndarray:
        """F(v) = -log of the sum (or integral) over h of exp(-E(v, h)), so p(v) = exp(-F(v)) / Z.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            With `allow_missing`, NaN are summed over too: exactly, over all states of a row's missing entries if they
            have at most 1024, else of the hidden units if they are bernoulli and at most 20 (missing entries of up to
            65536 states where that is not so).

        Returns
        -------
        free_energy : float64 array of shape (n_samples,), in nats
        """
        if self._has_missing(X):
            return self._beside_model(self._free_energy_of_known("free_energy", X, binary=False))
        if self._plain():
            return super().free_energy(X)
        return self._beside_model(self._free_energy(self._check_columns("free_energy", X)))

    def _free_energy(self, X: Any) -> np.ndarray:
        """`free_energy` of X whose columns were checked, as NumPy's."""
        model, data = self._unit_model(), self._unit_states("free_energy", X)
        return _core.unit_free_energy(*model, data.states, data.exposure, self._device())

    def _free_energy_of_known(self, method: str, X: Any, *, binary: bool) -> np.ndarray:
        """With the missing entries summed over; `binary`: refuse values between 0 and 1."""
        who, model = f"{type(self).__name__}.{method}", self._unit_model()
        X = self._check_columns(method, X, on_host=True)
        X, missing, layer = _unit_missing.split(who, X, self._layer())
        units = layer.encode(f"{who}: X", X, model[0].dtype, self._scale()).states.dense()
        if binary:
            layer.check_binary(f"{who}: X", X)
        units = np.where(layer.unit_mask(missing), 0, units).astype(model[0].dtype)
        with progress_bar(who, self.verbose) as progress:
            return _unit_missing.free_energy(who, model, layer, units, missing, progress)

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
        self._refuse_missing("score_samples", X)
        if self._plain():
            return super().score_samples(X)
        model = self._unit_model()
        _unit_partition.check_proper(f"{type(self).__name__}.score_samples", model)
        data = self._unit_states("score_samples", self._check_columns("score_samples", X))
        scores = _core.unit_pseudo_log_likelihood(*model, data.states, data.exposure, self._device())
        return self._beside_model(scores - self._log_scale())

    def _log_scale(self) -> float:
        return float(np.log(self._scale()).sum())

    def log_likelihood(self, X: Any, *, log_partition: LogPartition | None = None, return_bracket: bool = False) -> Any:
        """log p(v) = -F(v) - log Z of every row; densities where units are gaussian.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            With `allow_missing`, of rows with NaN the likelihood of what is known; as in `free_energy`.
        log_partition : LogPartition or None
            What `log_partition()` returned, to compute Z once for several X. None: ``log_partition()`` is called, or
            ``log_partition("bracket")`` with return_bracket where Z is not to be had exactly. Not for bags of words:
            Z depends on their size. Where it is not to be had exactly, sizes at most a tenth apart are annealed, with
            100 runs each and 5000 temperatures, or, of more than four sizes, with 20,000 divided by their number, but
            at least 1000; the sizes between are reached from those within a tenth (from above on the line between two:
            log Z is convex in the size). ``log_partition(n_words=...)`` takes as many as one likes for one size.
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
        missing = self._has_missing(X)
        if self._plain() and not missing:
            return super().log_likelihood(X, log_partition=log_partition, return_bracket=return_bracket)
        who = f"{type(self).__name__}.log_likelihood"
        check_flag(who, "return_bracket", return_bracket)
        if not (log_partition is None or isinstance(log_partition, LogPartition)):
            raise TypeError(f"{who}: log_partition={log_partition!r}, what log_partition() returns is needed")
        model = self._unit_model()
        layer = self._layer()
        if missing:
            minus_energy = -self._free_energy_of_known("log_likelihood", X, binary=True)
        else:
            X = self._check_columns("log_likelihood", X)
            data = self._unit_states("log_likelihood", X)
            layer.check_binary(f"{who}: X", X)
            minus_energy = -_core.unit_free_energy(*model, data.states, data.exposure, self._device())
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
            return self._beside_model(minus_energy - z[0])
        return tuple(self._beside_model(minus_energy - z[k]) for k in (0, 2, 1))

    @staticmethod
    def _is_exact(model: _unit_partition.UnitModel) -> bool:
        return _unit_partition.is_gaussian(model) or _unit_partition.enumerable(model)[0] > 0

    def _partitions_of(self, words: Any, with_bracket: bool) -> np.ndarray:
        """Value, lower and upper bound of log Z for bags of each of these sizes."""
        model = self._unit_model()
        sizes, where = np.unique(words, return_inverse=True)
        if self._is_exact(model):
            terms = _unit_partition.terms(model, None, self._device())
            values = np.array([_unit_partition.of_words(terms, n) for n in sizes])
            return np.stack([values] * 3)[:, where]
        who = f"{type(self).__name__}.log_likelihood"

        def sample(n_words: np.ndarray, seed: int, progress: Progress) -> UnitStates:
            drawn = self._sample_on(who, len(n_words), 1000, None, None, n_words, seed % 2**32, progress)
            return self._unit_states("log_likelihood", drawn, "start")

        base = _unit_partition.base_biases(model, getattr(self, "visible_offset_", None))
        seed, sizes = self._draw_seed(), sizes.astype(np.int64)
        with progress_bar(who, self.verbose) as progress:
            down = sample if with_bracket else None
            found = _unit_bags.of_sizes(model, base, sizes, seed, down, progress, self._device())
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
            integrated; of gaussian visible and hidden units, in closed form on the CPU.
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
        device = self._device()  # refused before anything is drawn
        if method == "exact" or (method == "auto" and self._is_exact(model)):
            if not self._is_exact(model):
                raise ValueError(f'{who}: neither layer has at most 2^25 states; use method="ais"')
            with progress_bar(who, self.verbose) as progress:
                if exposure is not None:
                    value = _unit_partition.of_words(_unit_partition.terms(model, progress, device), words)
                    return LogPartition(value, 0.0, value, value, np.inf, "exact")
                return self._shifted(_unit_partition.exact(model, progress, device))
        seed = self._draw_seed(random_state)
        base = _unit_partition.base_biases(model, getattr(self, "visible_offset_", None))

        def one(downwards: bool) -> LogPartition:
            start = None
            if downwards:
                size = None if exposure is None else int(words)
                drawn = host(self.sample(n_runs, n_words=size, random_state=seed % 2**32))
                start = self._unit_states("log_partition", drawn, "start")
            with progress_bar(who, self.verbose) as progress:
                z = _unit_partition.annealed(model, base, steps, n_runs, seed, start, words, progress, device)
            return self._shifted(z)

        if method != "bracket":
            return one(method == "reverse_ais")
        return bracket(one(False), one(True))

    def _shifted(self, z: LogPartition) -> LogPartition:
        """Z of densities of X from Z of densities of X divided by its standard deviations."""
        shift = self._log_scale()
        return LogPartition(
            z.value + shift, z.std_error, z.lower + shift, z.upper + shift, z.effective_sample_size, z.method
        )
