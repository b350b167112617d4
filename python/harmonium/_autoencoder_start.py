"""Where an autoencoder's parameters begin: heuristics by activation, an output layer that gives the data's means."""

from __future__ import annotations

import numpy as np
from scipy.special import ndtri

from . import _core, ops

INITIALIZATIONS = ("auto", "glorot", "he", "sparse")
_WEIGHTS_STREAM = 4
_SPARSE = 15  # incoming weights of a unit that are not 0


def initial_weights(
    how: str, activation: str, shape: tuple[int, int], seed: int, layer: int, dtype: np.dtype
) -> np.ndarray:
    """W (inputs, outputs) of one layer, drawn from (seed, layer).

    glorot: uniform with variance 2 / (inputs + outputs), of sigmoid units sixteen times that, as their slope at 0 is
    1/4 (Glorot, Bengio 2010). he: uniform with variance 2 / inputs (He, Zhang, Ren, Sun 2015). sparse: 15 standard
    normal weights into every unit, the rest 0 (Martens 2010). auto: he for relu and softplus, else glorot.
    """
    inputs, outputs = shape
    u = ops.uniform(shape, seed=seed, stream=_WEIGHTS_STREAM, step=2 * layer, dtype=np.float64)
    if how == "sparse":
        order = np.argsort(
            ops.uniform(shape, seed=seed, stream=_WEIGHTS_STREAM, step=2 * layer + 1, dtype=np.float64), axis=0
        )
        normal = ndtri(u + 2.0**-33)
        return np.where(order.argsort(axis=0) < _SPARSE, normal, 0).astype(dtype)
    if how == "auto":
        how = "he" if activation in ("relu", "softplus") else "glorot"
    variance = 2.0 / inputs if how == "he" else 2.0 / (inputs + outputs)
    if how == "glorot" and activation == "sigmoid":
        variance *= 16
    return ((2 * u - 1) * np.sqrt(3 * variance)).astype(dtype)


def mirror_of(layer: int, coefs: list[np.ndarray], n_encoder: int) -> int | None:
    """The other layer of the pair that mirror each other, where there is one: the encoder's or the decoder's."""
    other = len(coefs) - 1 - layer
    apart = (layer < n_encoder) != (other < n_encoder)
    return other if apart and coefs[other].shape == coefs[layer].shape[::-1] else None


def settle_outputs(
    network: _core.AutoencoderModel,
    theta: np.ndarray,
    parts: tuple[list[np.ndarray], list[np.ndarray]],
    states: _core.States,
    wanted: np.ndarray,
    spread: np.ndarray,
) -> None:
    """Shrink the output layer's weights until its input varies over these rows by no more than `spread` around its
    mean, and set its bias so that this mean is `wanted`: whatever the scale of X, training begins near the columns'
    means.

    network has a gaussian likelihood, whose mean is that input itself; parts are views of theta.
    """
    coefs, intercepts = parts
    intercepts[-1][:] = 0
    for _ in range(12):
        codes = _core.autoencoder_encode(network, theta, states)
        z = _core.autoencoder_decode(network, theta, _core.States.from_dense(codes)).astype(np.float64)
        mean = z.mean(axis=0)
        excess = float(np.sqrt((((z - mean) / spread) ** 2).mean()))
        if not excess > 1:
            break
        # Tied weights are both the first and the last layer's: a linear network's output goes with their square.
        coefs[-1][:] *= max(excess**-0.7, 1e-3)
    intercepts[-1][:] = wanted - mean


def match_rates(
    network: _core.AutoencoderModel,
    theta: np.ndarray,
    bias: np.ndarray,
    states: _core.States,
    columns: list[slice],
) -> None:
    """Set the output layer's bias, a view of theta, so that over these rows the mean rates of the poisson columns are
    the columns' means: of the other parameters this is the best bias, and it is known at once.

    A pretrained stack of RBMs knows the shares of the words of a row, not how many they are.
    """
    codes = _core.autoencoder_encode(network, theta, states)
    rates = _core.autoencoder_decode(network, theta, _core.States.from_dense(codes)).astype(np.float64).sum(axis=0)
    counts = states.dense().sum(axis=0, dtype=np.float64)
    for part in columns:
        bias[part] += np.log((counts[part] + 0.5) / rates[part])
