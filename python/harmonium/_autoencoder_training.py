"""Training of autoencoders: gradient steps in one crossing into the core, SciPy's optimisers over its loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import validate_data

from . import _core
from ._autoencoder_checks import CheckedAutoencoder, TrainingData
from ._autoencoder_pretraining import pretrained_layers
from ._autoencoder_record import Progress, Record
from ._autoencoder_start import initial_weights, match_rates, mirror_of, settle_outputs
from ._callbacks import CallbackMixin, EpochLoop, epoch_loop
from ._device import beside, is_on_gpu, transposed
from ._rbm_sampling import new_seed
from ._validation import tell

_KEPT = {"sgd": 0, "momentum": 1, "nesterov": 1, "adagrad": 1, "rmsprop": 1, "adam": 2}  # values for each parameter
_RATES = {"sgd": 0.05, "momentum": 0.01, "nesterov": 0.01, "adagrad": 0.01}  # of the others 0.001
_FEW = 1000  # rows that the output layer is set by, fewer where they are long
_FEW_ENTRIES = 10**7
_SOME = 200  # rows that say whether a fit ended worse than it began
_AT_A_TIME = 10_000  # epochs of one call into the core


def _takes_batches(model: Any) -> bool:
    if model.solver in ("lbfgs", "cg"):
        raise AttributeError(
            f"{type(model).__name__}: solver={model.solver!r} has no partial_fit, it needs all rows at once"
        )
    return True


class AutoencoderTraining(CallbackMixin, CheckedAutoencoder):
    """Adds `fit` and `partial_fit`."""

    def fit(self, X: Any, y: Any = None) -> Any:
        """Train on X, from the start unless `warm_start` is set and there is a model.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features)
            bernoulli: values in [0, 1]. gaussian, laplace: real numbers. categorical: integer codes, or one-hot.
            poisson: counts. A CSR matrix is taken where no column is categorical; it is not made dense. An array on a
            GPU is trained on there.
        y : ignored

        Returns
        -------
        self

        Raises
        ------
        ValueError, TypeError
            For bad parameters, NaN, infinity, values that a likelihood cannot take; nothing has been changed then.
        DivergenceError
            When a batch's loss goes beyond a thousand times what it was, plus 1, by the parameters that the call began
            with, or a parameter is not finite; the parameters of the last whole epoch are kept, as they are on Ctrl-C
            and when a callback raises.

        Warns
        -----
        ConvergenceWarning
            When training ended worse than it began, by the loss of the first rows.
        """
        fresh = not (self.warm_start and hasattr(self, "coefs_"))
        seed = self._new_seed(fresh)
        data = self._check_fit("fit", X, seed, fresh=fresh)
        with self._as_before_unless_begun(fresh):
            if fresh:
                self._start(X, data, seed)
            before = self._loss_of_some(data)
            self._train(data, self.max_iter, X, y)
            after = self._loss_of_some(data)
        if after > before + 0.1 * abs(before):
            tell(
                f"{type(self).__name__}: training ended at a loss of {after:.6g} a row, worse than the {before:.6g} "
                "that it began with; use a smaller learning_rate_init",
                ConvergenceWarning,
            )
        return self

    @available_if(_takes_batches)
    def partial_fit(self, X: Any, y: Any = None) -> Any:
        """Train on with one pass over X, in batches; the first call starts as `fit` does, without `pretraining`.

        ``fit`` with max_iter=k is the same, bit for bit, as k calls with the same X, as long as nothing stops it early.

        Parameters
        ----------
        X : array-like or CSR matrix of shape (n_samples, n_features), as in `fit`
        y : ignored

        Returns
        -------
        self
        """
        fresh = not hasattr(self, "coefs_")
        seed = self._new_seed(fresh)
        data = self._check_fit("partial_fit", X, seed, fresh=fresh, split=False)
        with self._as_before_unless_begun(fresh):
            if fresh:
                self._start(X, data, seed, pretrain=False)
            return self._train(data, 1, X, y, by_tol=False)

    def _loss_of_some(self, data: TrainingData) -> float:
        """A row's, over the first rows."""
        rows = data.first_rows(min(_SOME, 1 + _FEW_ENTRIES // data.columns.n_units))
        return float(_core.autoencoder_score(*self._model(), rows, data.device).mean())

    def _new_seed(self, fresh: bool) -> int:
        return new_seed(self.random_state) if fresh or not hasattr(self, "_seed") else self._seed

    @contextmanager
    def _as_before_unless_begun(self, fresh: bool) -> Iterator[None]:
        """Undo a start that fails before there are parameters to train."""
        before = dict(vars(self))
        self._begun = not fresh
        try:
            yield
        except BaseException:
            if not self._begun:
                self.__dict__.clear()
                self.__dict__.update(before)
            raise
        finally:
            self.__dict__.pop("_begun", None)

    def _start(self, X: Any, data: TrainingData, seed: int, *, pretrain: bool = True) -> None:
        """A new model: its first parameters, pretrained or drawn."""
        hidden, decoder = self._sizes("hidden_layer_sizes"), self._decoder_sizes()
        code_activation = self._code_activation(hidden)
        encoder = [data.columns.n_units, *hidden]
        groups = data.columns.groups
        network = _core.AutoencoderModel(encoder, decoder, self.activation, code_activation, bool(self.tied), groups)
        theta = np.zeros(network.n_parameters, data.dtype)
        coefs, intercepts = self._parts(network, theta)
        for layer, W in enumerate(coefs[: len(hidden)] if self.tied else coefs):
            of = (
                code_activation
                if layer + 1 == len(hidden)
                else "identity"
                if layer + 1 == len(coefs)
                else self.activation
            )
            # The decoder starts as the encoder's mirror where it can.
            mirrored = mirror_of(layer, coefs, len(hidden)) if layer >= len(hidden) else None
            W[:] = (
                initial_weights(self.initialization, of, W.shape, seed, layer, data.dtype)
                if mirrored is None
                else coefs[mirrored].T
            )
        few = min(_FEW, 1 + _FEW_ENTRIES // encoder[0])
        wanted = data.columns.natural_parameters(data.means, data.rows)
        if self.pretraining and pretrain:
            pretrained_layers(self, data, seed, code_activation, coefs, intercepts)
            counts = [block.units for block in data.columns.one_hot_columns().blocks if block.type == "poisson"]
            if counts and self.pretraining == "rbm":
                match_rates(network, theta, intercepts[-1], data.first_rows(few), counts)
        else:
            plain = _core.AutoencoderModel(
                encoder, decoder, self.activation, code_activation, bool(self.tied), [("gaussian", encoder[0])]
            )
            few = min(few, max(200, data.rows // 20))  # two passes over them cost a few hundredths of an epoch at most
            spread = data.columns.one_hot_columns().natural_spread(data.head(few))
            settle_outputs(plain, theta, (coefs, intercepts), data.first_rows(few), wanted, spread)
        validate_data(self, X, reset=True, skip_check_array=True)
        self._begun = True
        self.coefs_, self.intercepts_ = coefs, intercepts
        self.code_activation_ = code_activation
        self.n_categories_ = np.array(data.columns.categories, dtype=np.int64)
        self._one_hot, self._n_encoder, self._pairs = data.columns.one_hot, len(hidden), data.columns.pairs
        self.n_iter_, self.history_ = 0, {}
        self._seed, self._steps, self._rate_factor = seed, 0, 1.0
        self._kept, self._kept_rule, self._kept_since = np.zeros(0, data.dtype), self.solver, 0

    def _code_activation(self, hidden: list[int]) -> str:
        if self.code_activation != "auto":
            return self.code_activation
        return self.activation if len(hidden) == 1 and self.pretraining != "rbm" else "identity"

    def _settings(self, limits: tuple[np.ndarray, np.ndarray] | None = None) -> dict[str, Any]:
        n = np.shape(self.coefs_[0])[0]
        low, high = (np.zeros(n), np.ones(n)) if limits is None else limits
        rate = self.learning_rate_init
        return {
            "corruption": self.corruption or "none",
            "corruption_level": float(self.corruption_level),
            "low": np.ascontiguousarray(low, np.float64),
            "high": np.ascontiguousarray(high, np.float64),
            "dropout": float(self.dropout),
            "contraction": float(self.contraction),
            "weight_decay": float(self.alpha),
            "rule": self.solver if self.solver in _KEPT else "sgd",
            "learning_rate_init": _RATES.get(self.solver, 0.001) if rate is None else float(rate),
            "momentum": float(self.momentum),
            "beta_1": float(self.beta_1),
            "beta_2": float(self.beta_2),
            "epsilon": float(self.epsilon),
            "learning_rate": self.learning_rate,
            "power_t": float(self.power_t),
            "schedule_epochs": max(int(self.max_iter), 1),
            "batch_size": int(self.batch_size),
            "shuffle": bool(self.shuffle),
            "seed": self._seed,
        }

    def _train(self, data: TrainingData, n_epochs: int, X: Any, y: Any, *, by_tol: bool = True) -> Any:
        network, theta = self._model()
        self._show(network, theta, data.like)
        self.n_features_in_ = data.columns.n_columns if not hasattr(self, "n_features_in_") else self.n_features_in_
        names = ("loss", "learning_rate") if data.validation is None else ("loss", "validation_score", "learning_rate")
        if data.validation is None:
            self.__dict__.pop("best_validation_score_", None)  # of other parameters
        with epoch_loop(self, n_epochs, X=X, y=y) as loop:
            record = Record(self, names)
            run = self._descend if self.solver in _KEPT else self._minimise
            try:
                run(network, theta, data, n_epochs, loop, record, by_tol)
            except _core.DivergenceError as error:
                raise _core.DivergenceError(f"{type(self).__name__}: {error}") from None
            finally:
                record.catch_up()
                if is_on_gpu(X):
                    self._show(network, theta, X)
        return self

    def _show(self, network: Any, theta: np.ndarray, like: Any) -> None:
        """The parameters as attributes: views of theta, so that training is seen at once, or copies on X's GPU."""
        coefs, intercepts = self._parts(network, theta)
        layers = [layer for layer in network.layers if not layer[4]]
        coefs[: len(layers)] = [beside(W, like) for W in coefs[: len(layers)]]
        for layer in range(len(layers), len(coefs)):
            coefs[layer] = transposed(coefs[len(coefs) - 1 - layer])
        self.coefs_, self.intercepts_ = coefs, [beside(b, like) for b in intercepts]

    def _descend(
        self,
        network: Any,
        theta: np.ndarray,
        data: TrainingData,
        n_epochs: int,
        loop: EpochLoop,
        record: Record,
        by_tol: bool,
    ) -> None:
        """Gradient steps, in the core."""
        size = _KEPT[self.solver] * theta.size
        if self._kept_rule == self.solver and self._kept.size == size:
            kept, since = np.require(self._kept, theta.dtype, ["C", "W"]), self._kept_since
        else:  # what another rule kept means something else
            kept, since = np.zeros(size, theta.dtype), self._steps
        counters = np.array([self._steps, self.n_iter_, since], np.int64)
        factor, stopped = np.array([self._rate_factor]), False
        progress = Progress(float(self.tol), int(self.n_iter_no_change), self.learning_rate == "adaptive")
        held_out = data.validation is not None
        if data.validation is not None and record.first:  # the model there is may stay the best one
            progress.best = float(_core.autoencoder_score(network, theta, data.validation, data.device).mean())
            progress.kept = theta.copy()

        def on_epoch() -> bool:
            nonlocal stopped
            record.catch_up()
            if is_on_gpu(data.like):
                self._show(network, theta, data.like)
            last = record.last()
            loss = -last["validation_score"] if held_out else last["loss"]
            if held_out and loss < progress.best:
                progress.kept = theta.copy()
            stopped = by_tol and progress.stop(loss, factor, last["learning_rate"])
            stopped = loop.epoch_end(last, self._fitted_attributes) or stopped
            return stopped

        try:
            for first in range(0, n_epochs, _AT_A_TIME):
                quantities = np.zeros((min(n_epochs - first, _AT_A_TIME), 3))

                def rows(done: int, first: int = first, quantities: np.ndarray = quantities) -> list[dict[str, float]]:
                    new = quantities[done - first : int(counters[1]) - record.first - first].tolist()
                    return [
                        {"loss": loss, "learning_rate": rate} | ({"validation_score": -other} if held_out else {})
                        for loss, other, rate in new
                    ]

                def others() -> None:
                    self._steps, self._kept_since, self._rate_factor = int(counters[0]), since, float(factor[0])
                    self._kept, self._kept_rule = kept, self.solver

                record.follow(rows, others)
                _core.autoencoder_train(
                    network, data.states, data.validation, theta, kept, counters, factor, quantities,
                    self._settings(data.limits), on_epoch, data.device,
                )  # fmt: skip
                if stopped:
                    break
        finally:
            if progress.kept is not None:
                theta[:] = progress.kept
                self.best_validation_score_ = -progress.best

    def _minimise(
        self,
        network: Any,
        theta: np.ndarray,
        data: TrainingData,
        n_epochs: int,
        loop: EpochLoop,
        record: Record,
        by_tol: bool,
    ) -> None:
        """SciPy's L-BFGS or conjugate gradients over the loss of all rows; an iteration counts as an epoch."""
        settings = self._settings(data.limits)
        gradient = np.empty_like(theta)
        losses: list[float] = []
        latest: list[Any] = [np.nan, theta]

        def loss_and_gradient(point: np.ndarray) -> tuple[float, np.ndarray]:
            at = point.astype(theta.dtype)
            loss = _core.autoencoder_loss(network, data.states, at, gradient, settings, data.device)
            if not np.isfinite(loss):
                loss = np.inf  # a step too far: the line search comes back
            latest[:] = [loss, point.copy()]
            return loss, gradient.astype(np.float64)

        def on_iteration(point: np.ndarray) -> None:
            loss = float(latest[0]) if np.array_equal(latest[1], point) else loss_and_gradient(point)[0]
            if not (np.isfinite(loss) and np.isfinite(point.astype(theta.dtype)).all()):
                raise _core.DivergenceError(f"the loss is {loss} in iteration {len(losses) + 1} of {self.solver}")
            losses.append(loss)
            theta[:] = point
            record.catch_up()
            if is_on_gpu(data.like):
                self._show(network, theta, data.like)
            if loop.epoch_end(record.last(), self._fitted_attributes):
                raise StopIteration

        record.follow(lambda done: [{"loss": loss, "learning_rate": np.nan} for loss in losses[done:]], lambda: None)
        if n_epochs == 0:
            return
        method = "L-BFGS-B" if self.solver == "lbfgs" else "CG"
        options: dict[str, Any] = {"maxiter": n_epochs, "gtol": float(self.tol) * 0.1}
        if method == "L-BFGS-B":
            options |= {"maxfun": 10 * n_epochs + 100, "maxcor": 20, "ftol": float(self.tol) * 1e-8}
        try:
            result = scipy.optimize.minimize(
                loss_and_gradient,
                theta.astype(np.float64),
                jac=True,
                method=method,
                callback=on_iteration,
                options=options,
            )
        except StopIteration:
            return
        if not np.isfinite(result.fun):
            raise _core.DivergenceError(f"the loss is {result.fun} after {len(losses)} iterations of {self.solver}")
        if not losses and not result.success:
            tell(f"{type(self).__name__}: {self.solver} takes no step from here: {result.message}", ConvergenceWarning)

    @property
    def loss_curve_(self) -> list[float]:
        """The loss of every epoch."""
        return self.history_.get("loss", [])

    @property
    def loss_(self) -> float:
        """The loss of the last epoch."""
        if not self.loss_curve_:
            raise AttributeError(f"{type(self).__name__}: loss_ is of the last epoch, there was none")
        return self.loss_curve_[-1]

    @property
    def validation_scores_(self) -> list[float]:
        """`score` of the rows held out, after every epoch; of early_stopping=True."""
        if "validation_score" not in self.history_:
            raise AttributeError(f"{type(self).__name__}: validation_scores_ are of early_stopping=True")
        return self.history_["validation_score"]

    def _fitted_attributes(self) -> dict[str, Any]:
        private = {"_one_hot", "_n_encoder", "_pairs", "_seed", "_steps", "_rate_factor"}
        private |= {"_kept", "_kept_rule", "_kept_since"}
        return {
            name: value
            for name, value in vars(self).items()
            if (name.endswith("_") and not name.startswith("_")) or name in private
        }
