"""Greedy layer-wise pretraining: a stack of small models, each of the codes of the one below.

By RBMs, unrolled (Hinton, Salakhutdinov 2006), or by autoencoders of one hidden layer (Bengio et al. 2007; denoising:
Vincent et al. 2010).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from ._autoencoder_start import mirror_of
from ._device import beside, host, is_on_gpu, transposed

# Visible units of an RBM that stand for a likelihood, and those that stand for codes of an activation.
_VISIBLE = {"bernoulli": "bernoulli", "gaussian": "gaussian", "laplace": "gaussian", "poisson": "count"}
_HIDDEN = {"sigmoid": "bernoulli", "identity": "gaussian", "relu": "relu", "softplus": "relu"}
_RBM_RATE = {"bernoulli": 0.1, "gaussian": 0.005, "relu": 0.005}


def pretrained_layers(
    model: Any, data: Any, seed: int, code_activation: str, coefs: list[np.ndarray], intercepts: list[np.ndarray]
) -> None:
    """Fill in the layers. Where the decoder does not mirror the encoder, only the encoder is filled in."""
    n = len(model._sizes("hidden_layer_sizes"))
    rows = data.array
    for layer in range(n):
        width, top = coefs[layer].shape[1], layer + 1 == n
        activation = code_activation if top else model.activation
        fit = _rbm if model.pretraining == "rbm" else _autoencoder
        (W, b, c), codes = fit(model, data, rows, layer, width, activation, seed)
        coefs[layer][:], intercepts[layer][:] = W, c
        other = mirror_of(layer, coefs, n)
        if other is not None:
            if not model.tied:
                coefs[other][:] = W.T
            intercepts[other][:] = b
        rows = codes


def _rbm(model: Any, data: Any, rows: Any, layer: int, width: int, activation: str, seed: int) -> Any:
    from .rbm import RBM

    who = type(model).__name__
    if activation not in _HIDDEN:
        raise ValueError(f"{who}: pretraining='rbm' has no hidden units for activation={activation!r}; use 'layerwise'")
    visible = _visible(who, model, data, layer)
    hidden = _HIDDEN[activation]
    if visible == "count" and hidden != "bernoulli":
        raise ValueError(
            f"{who}: pretraining='rbm' of counts takes a first layer of sigmoid units, not {activation!r}; use more "
            "than one hidden layer, code_activation='sigmoid', or 'layerwise'"
        )
    rates = [_RBM_RATE[hidden], 0.005 if _real(visible) else 0.1]
    rbm = RBM(
        width,
        visible=visible,
        hidden=hidden,
        method="cd",
        learning_rate=min(rates),
        averaging=None,
        n_iter=model.pretraining_iter,
        batch_size=model.batch_size,
        momentum=0.5,
        check_range=model.check_range,
        n_categories=_categories(data) if layer == 0 else None,
        verbose=model.verbose,
        random_state=(seed + layer) % 2**32,
        device=model.device,
    )
    rbm.fit(rows)
    # An RBM of counts takes its hidden biases once for each word of a row: here as often as a row has words on average.
    words = float(data.means.sum()) if visible == "count" else 1.0
    W, b, c = (host(part) for part in (rbm.components_, rbm.intercept_visible_, rbm.intercept_hidden_))
    parameters = (W.T, b, words * c)
    return parameters, _mean_codes(model, rows, parameters, activation, data.dtype, seed)


def _real(visible: Any) -> bool:
    return visible == "gaussian" or (not isinstance(visible, str) and any(kind == "gaussian" for kind, _ in visible))


def _categories(data: Any) -> Any:
    return np.array(data.columns.categories) if data.columns.categories else None


def _visible(who: str, model: Any, data: Any, layer: int) -> Any:
    if layer:
        return {"bernoulli": "bernoulli"}.get(_HIDDEN[model.activation], "gaussian")
    pairs = [(block.type, block.units.stop - block.units.start) for block in data.columns.one_hot_columns().blocks]
    types = [(_VISIBLE.get(kind, kind), width) for kind, width in pairs]
    if len(types) == 1:
        return types[0][0]
    if any(kind == "count" for kind, _ in types):
        raise ValueError(f"{who}: pretraining='rbm' takes counts only where all columns are; use 'layerwise'")
    return types


def _mean_codes(model: Any, rows: Any, parameters: Any, activation: str, dtype: np.dtype, seed: int) -> Any:
    """What the layer itself gives for these rows, as the next one will see them."""
    from .autoencoder import Autoencoder

    W, b, c = parameters
    layer = Autoencoder(
        (W.shape[1],), activation=activation, likelihood="gaussian", random_state=seed % 2**32, device=model.device
    )
    below = beside(W, rows)
    layer.coefs_, layer.intercepts_ = [below, transposed(below)], [beside(c, rows), beside(b, rows)]
    layer.code_activation_, layer.n_categories_ = activation, np.zeros(0, np.int64)
    layer._one_hot, layer._n_encoder, layer._pairs = False, 1, [("gaussian", W.shape[0])]
    layer.n_features_in_ = W.shape[0]
    return layer.transform(rows if sp.issparse(rows) or is_on_gpu(rows) else np.ascontiguousarray(rows, dtype))


def _autoencoder(model: Any, data: Any, rows: Any, layer: int, width: int, activation: str, seed: int) -> Any:
    from .autoencoder import Autoencoder

    parameters = {
        name: value
        for name, value in model.get_params(deep=False).items()
        if name not in ("decoder_layer_sizes", "n_categories", "pretraining", "early_stopping", "warm_start")
    }
    inner = {"sigmoid": "bernoulli"}.get(model.activation, "gaussian")
    columns = data.columns.one_hot_columns()
    likelihood = inner if layer else [(b.type, b.units.stop - b.units.start) for b in columns.blocks]
    parameters |= {
        "hidden_layer_sizes": (width,),
        "activation": activation,
        "code_activation": activation,
        "likelihood": likelihood,
        "n_categories": _categories(data) if layer == 0 else None,
        "tied": True,
        "max_iter": model.pretraining_iter,
        "random_state": (seed + layer) % 2**32,
    }
    if layer and model.corruption == "salt_and_pepper" and inner == "gaussian":
        parameters["corruption"] = "masking"
    small = Autoencoder(**parameters).fit(rows)
    parts = tuple(host(part) for part in (small.coefs_[0], small.intercepts_[1], small.intercepts_[0]))
    return parts, small.transform(rows)
