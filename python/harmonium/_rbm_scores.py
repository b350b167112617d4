"""How well an RBM fits data: energies, pseudo-likelihood, likelihood."""

from __future__ import annotations

from numbers import Integral
from typing import Any

import numpy as np
import scipy.sparse as sp
from scipy.special import expit
from sklearn.utils import check_array
from sklearn.utils.extmath import safe_sparse_dot

from . import _core, _log_partition
from ._callbacks import progress_bar
from ._device import host, is_on_gpu
from ._log_partition import LogPartition
from ._rbm_sampling import Model, SamplingRBM
from ._validation import bit_words, check_choice, check_flag, check_number, check_X


class ScoringRBM(SamplingRBM):
    """Scores, from the three arrays of the model."""

    def energy(self, V: Any, H: Any) -> np.ndarray:
        """E(v, h) = -b.v - c.h - v W h, row by row (Smolensky 1986).

        Parameters
        ----------
        V : array-like or CSR matrix of shape (n_samples, n_features)
        H : array-like of shape (n_samples, n_components)

        Returns
        -------
        energy : float64 array of shape (n_samples,)
        """
        weights, visible_bias, hidden_bias = (part.astype(np.float64) for part in self._model())
        for name, given in (("V", V), ("H", H)):
            self._refuse_mixed("energy", given, name)
        V, H = (host(given) if is_on_gpu(given) else given for given in (V, H))
        V = check_X(self, V, reset=False)
        H = check_array(H, dtype="numeric", ensure_all_finite=False, input_name="H")
        for name, part, columns in (("V", V, weights.shape[0]), ("H", H, weights.shape[1])):
            self._states("energy", part, columns, weights.dtype, name)
        if V.shape[0] != H.shape[0]:
            raise ValueError(f"{type(self).__name__}.energy: V has {V.shape[0]} rows, H {H.shape[0]}")
        V = V if sp.issparse(V) else V.astype(np.float64)
        H = H.astype(np.float64)
        energy = -(V @ visible_bias) - H @ hidden_bias - (safe_sparse_dot(V, weights) * H).sum(axis=1)
        return self._beside_model(energy)

    def free_energy(self, X: Any) -> np.ndarray:
        """F(v) = -log sum_h exp(-E(v, h)) = -b.v - sum_j softplus(c_j + (v W)_j), so p(v) = exp(-F(v)) / Z.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        free_energy : float64 array of shape (n_samples,), in nats
        """
        data, model = self._visible("free_energy", X)
        return self._beside_model(_core.rbm_free_energy(*model, data, self._device()))

    def score_samples(self, X: Any) -> np.ndarray:
        """Pseudo-log-likelihood of every row, exact: sum_i log p(v_i | all other units) (Besag 1975).

        Nothing is drawn: equal rows score equally. scikit-learn's estimates the sum from one random unit.
        Where X holds values between 0 and 1, unit i is set against its complement 1 - v_i, as there.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)

        Returns
        -------
        pseudo_log_likelihood : float64 array of shape (n_samples,), in nats
        """
        data, model = self._visible("score_samples", X)
        return self._beside_model(_core.rbm_pseudo_log_likelihood(*model, data, self._device()))

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: comparable between models of the same data, without Z."""
        return float(host(self.score_samples(X)).mean())

    def log_likelihood(self, X: Any, *, log_partition: LogPartition | None = None, return_bracket: bool = False) -> Any:
        """log p(v) = -F(v) - log Z of every row.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), 0 or 1
        log_partition : LogPartition or None
            What `log_partition()` returned, to compute Z once for several X. None: ``log_partition()`` is called, or
            ``log_partition("bracket")`` with return_bracket where Z cannot be enumerated.
        return_bracket : bool, default=False
            Return (log_likelihood, lower, upper), by log Z's upper and lower bounds.

        Returns
        -------
        log_likelihood : float64 array of shape (n_samples,), in nats. Every row shares the error of log Z.
        lower, upper : arrays of the same shape, with return_bracket only. They are as far from log_likelihood in every
            row; the bounds of the mean are the means of these.

        Raises
        ------
        ValueError
            If X holds values other than 0 and 1: they have no probability under this model. Binarise them.
        """
        data, model = self._visible("log_likelihood", X)
        device = self._device()
        if data.is_dense():
            raise ValueError(
                f"{type(self).__name__}.log_likelihood: X holds values between 0 and 1, the model only gives 0 and 1 "
                "a probability; binarise X, by a threshold or by drawing"
            )
        if not (log_partition is None or isinstance(log_partition, LogPartition)):
            raise TypeError(
                f"{type(self).__name__}.log_likelihood: log_partition={log_partition!r}, what log_partition() returns "
                "is needed"
            )
        check_flag(f"{type(self).__name__}.log_likelihood", "return_bracket", return_bracket)
        if log_partition is None:
            sampled = return_bracket and min(model[0].shape) > _log_partition.MAX_ENUMERATED
            log_partition = self.log_partition("bracket" if sampled else "auto")
        minus_energy = -_core.rbm_free_energy(*model, data, device)
        values = self._beside_model(minus_energy - log_partition.value)
        if not return_bracket:
            return values
        bounds = (log_partition.upper, log_partition.lower)
        return values, *(self._beside_model(minus_energy - bound) for bound in bounds)

    def log_partition(
        self,
        method: str = "auto",
        *,
        n_runs: int = 100,
        n_betas: int = 5000,
        betas: Any = None,
        random_state: Any = None,
    ) -> LogPartition:
        """log Z = log sum over v and h of exp(-E(v, h)).

        Parameters
        ----------
        method : {"auto", "exact", "ais", "reverse_ais", "bracket"}, default="auto"
            exact: sum over all states of the smaller layer, which may have 25 units.
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
        random_state : int, RandomState or None, as in `gibbs`

        Returns
        -------
        log_partition : LogPartition
            With `value`, `std_error`, `lower`, `upper` and `effective_sample_size`.
        """
        who = f"{type(self).__name__}.log_partition"
        steps = self._check_partition(who, method, n_runs, n_betas, betas)
        model = self._model()
        device = self._device()  # refused before anything is drawn
        if method == "exact" or (method == "auto" and min(model[0].shape) <= _log_partition.MAX_ENUMERATED):
            with progress_bar(who, self.verbose) as progress:
                return _log_partition.exact(model, progress, device)
        seed = self._draw_seed(random_state)
        if method != "bracket":
            return self._annealed(method == "reverse_ais", model, steps, n_runs, seed)
        up, down = (self._annealed(downwards, model, steps, n_runs, seed) for downwards in (False, True))
        return _log_partition.bracket(up, down)

    @staticmethod
    def _check_partition(who: str, method: str, n_runs: int, n_betas: int, betas: Any) -> np.ndarray:
        """The temperatures."""
        check_choice(who, "method", method, ("auto", "exact", "ais", "reverse_ais", "bracket"))
        if isinstance(betas, str):
            check_choice(who, "betas", betas, (_log_partition.PUBLISHED,))
        check_number(who, "n_runs", n_runs, Integral, low=1)
        check_number(who, "n_betas", n_betas, Integral, low=2)
        steps = _log_partition.temperatures(betas, n_betas)
        if steps.ndim != 1 or len(steps) < 2 or steps[0] != 0 or steps[-1] != 1 or not (np.diff(steps) >= 0).all():
            raise ValueError(f"{who}: betas must rise from 0 to 1")
        return steps

    def _annealed(self, downwards: bool, model: Model, betas: np.ndarray, n_runs: int, seed: int) -> LogPartition:
        who = f"{type(self).__name__}.log_partition"
        start = None
        if downwards:
            start = bit_words(f"{who}: start", host(self.sample(n_runs, random_state=seed % 2**32)))
        with progress_bar(who, self.verbose) as progress:
            return _log_partition.annealed(
                model, self._base_rates(model), betas, n_runs, seed, start, progress, self._device()
            )

    def _base_rates(self, model: Model) -> np.ndarray:
        """Visible biases of the independent model that annealing starts from: those of the data's means.

        A model put together by assignment has none: there, with every hidden unit half on. Its own biases alone are
        the means of one of its modes, and annealing from there may never see the others.
        """
        if hasattr(self, "visible_offset_"):
            means = host(self.visible_offset_).astype(np.float64)
        else:
            weights, visible_bias, _ = model
            means = expit(visible_bias + 0.5 * weights.sum(axis=1, dtype=np.float64))
        means = np.clip(means, 0.005, 0.995)
        return np.log(means) - np.log1p(-means)
