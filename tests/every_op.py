"""Every op and every loop of the core once or more, on fixed input: `results` is a dict of arrays.

Two runs that should give the same bits (other threads, other SIMD levels) are compared by it. As a script it writes
them to the file named on the command line.
"""

from __future__ import annotations

import sys

import numpy as np
import scipy.sparse as sp

from harmonium import RBM, Autoencoder, SparseCoding, _core, ops, sparse_encode

OFFSET_RATE, LEARNING_RATE = 0.125, 0.25  # of run_step


def states_in_runs(rng, rows, columns, density):
    """0 and 1, a share `density` of ones in runs of about six: what pixels of strokes look like."""
    v = np.zeros((rows, columns), dtype=bool)
    starts = rng.random((rows, columns)) < -np.log1p(-min(density, 0.99)) / 6
    for shift in range(6):
        v[:, shift:] |= starts[:, : columns - shift]
    return v


def products(rng, out):
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        b = rng.standard_normal((333, 150)).astype(dtype)
        out[f"gemm {name}"] = ops.gemm(rng.standard_normal((70, 333)).astype(dtype), b)
        for rows in (1, 80, 700):
            for density in (0.02, 0.3, 0.6):
                a = states_in_runs(rng, rows, 333, density)
                out[f"binary_gemm {name} {rows} {density}"] = ops.binary_gemm(a, b)
                out[f"binary_gemm sparse {name} {rows} {density}"] = ops.binary_gemm(sp.csr_matrix(a), b)
                right = rng.standard_normal((rows, 150)).astype(dtype)
                out[f"binary_gemm_tn {name} {rows} {density}"] = ops.binary_gemm_tn(a, right)
                out[f"binary_gemm^T {name} {rows} {density}"] = ops.binary_gemm(a, b.T.copy(), transpose_b=True)
        p, words = ops.bernoulli(3 * right, right[0].copy(), seed=7, step=3, scale=0.5)
        out[f"bernoulli p {name}"], out[f"bernoulli x {name}"] = p, words
    out["transpose_bits"] = _core.transpose_bits(words, 150)


def step_arguments(rng, visible, hidden, n, m, dtype, dense):
    """Arguments of rbm_step by name, without the switches."""
    data = rng.random((n, visible)).astype(dtype) if dense else states_in_runs(rng, n, visible, 0.3)
    p = rng.random((n, hidden)) / n
    draw = lambda *shape: rng.standard_normal(shape).astype(dtype)  # noqa: E731
    model = states_in_runs(rng, m, visible, 0.3)
    return {
        "data": data,
        "data_probability": p.astype(dtype),
        "model": model,
        "visible_difference": (data.mean(0) - model.mean(0)).astype(dtype),
        "visible_offset": rng.random(visible).astype(dtype),
        "hidden_offset": rng.random(hidden).astype(dtype),
        "weights": draw(visible, hidden),
        "visible_bias": draw(visible),
        "hidden_bias": draw(hidden),
        "weight_velocity": draw(visible, hidden),
        "visible_velocity": draw(visible),
        "hidden_velocity": draw(hidden),
    }


def run_step(arguments, *, centred, momentum, weight_decay, seed=5):
    """rbm_step on copies. Returns (model's probabilities, its draws, all that the step changes)."""
    a = {name: value.copy() for name, value in arguments.items()}
    data, model = a.pop("data"), ops.pack_bits(a.pop("model"))
    if data.dtype == bool:
        states = _core.States.from_bits(ops.pack_bits(data), data.shape[1])
    else:
        states = _core.States.from_dense(data)
    rates = {"offset_rate": OFFSET_RATE, "learning_rate": LEARNING_RATE}
    rates.update(momentum=momentum, weight_decay=weight_decay)
    p, words = _core.rbm_step(data=states, model=model, centred=centred, seed=seed, **rates, **a)
    return p, words, {**a, **rates, "centred": centred}


def step_cases():
    rng = np.random.default_rng(1)
    for dtype in (np.float32, np.float64):
        arguments = step_arguments(rng, 77, 150, 30, 21, dtype, dense=False)
        for centred in (False, True):
            name = f"rbm_step {np.dtype(dtype).name} {'centred ' if centred else ''}"
            yield name, arguments, {"centred": centred, "momentum": 0.5, "weight_decay": 0.01}


def steps(rng, out):
    for name, arguments, switches in step_cases():
        p, words, after = run_step(arguments, **switches)
        out[name + "p"], out[name + "x"] = p, words
        out.update({name + key: value for key, value in after.items() if isinstance(value, np.ndarray)})


def loops(rng, out):
    v = states_in_runs(rng, 150, 90, 0.3)
    for method, dtype in (("pcd", np.float32), ("cd", np.float64)):
        X = v.astype(dtype)
        m = RBM(70, method=method, n_iter=2, batch_size=20, centering=False, momentum=0.5, random_state=1).fit(X)
        m.components_ = 5 * m.components_
        name = np.dtype(dtype).name
        out[f"weights {name}"], out[f"chains {name}"] = np.ascontiguousarray(m.components_), m.h_samples_
        out[f"hidden {name}"], out[f"visible {name}"] = m.transform(X), m.inverse_transform(m.transform(X))
        out[f"free energy {name}"], out[f"pseudo {name}"] = m.free_energy(X), m.score_samples(X)
        out[f"pseudo grey {name}"] = m.score_samples(0.5 * X)
        out[f"sample {name}"] = m.sample(30, n_steps=5, random_state=1)
        ais = m.log_partition("ais", n_runs=20, n_betas=30, random_state=1)
        out[f"ais {name}"] = np.array([ais.value, ais.std_error])
    for scale in (0.1, 300.0):
        small = RBM(12)
        small.components_ = scale * rng.standard_normal((12, 40))
        small.intercept_hidden_, small.intercept_visible_ = rng.standard_normal(12), rng.standard_normal(40)
        out[f"log Z {scale}"] = np.array(small.log_partition().value)
        out[f"pseudo {scale}"] = small.score_samples(v[:, :40])


def sparse_coding(rng, out):
    for dtype in (np.float32, np.float64):
        name = np.dtype(dtype).name
        x, d = (rng.standard_normal(shape).astype(dtype) for shape in ((70, 21), (45, 21)))
        out[f"shrink {name}"] = ops.shrink(x, 0.5)
        out[f"shrink positive {name}"] = ops.shrink(x, 0.5, positive=True)
        out[f"lipschitz {name}"] = np.array(_core.lipschitz_bound(d))
        for algorithm in ("cd", "ista", "fista"):
            for mask in (None, x < 1):
                options = {"alpha": 4.0, "algorithm": algorithm, "mask": mask, "tol": 1e-4, "return_gap": True}
                codes, gaps = sparse_encode(x, d, **options)
                kind = f"{algorithm} {'of some ' if mask is not None else ''}{name}"
                out[f"lasso {kind}"], out[f"gaps {kind}"] = codes, gaps
        rows = sp.csr_matrix(codes)
        a, b = np.zeros((45, 45)), np.zeros((45, 21))
        states = _core.States.from_sparse(rows.indptr.astype(np.int64), rows.indices.astype(np.int32), rows.data, 45)
        _core.code_statistics(states, x, 0.5, 0.25, a, b)
        atoms = d.astype(np.float64)
        _core.dictionary_update(a, b, False, atoms)
        out[f"statistics A {name}"], out[f"statistics B {name}"], out[f"atoms {name}"] = a, b, atoms
        options = {"alpha": 2.0, "batch_size": 20, "max_iter": 2, "random_state": 0}
        out[f"dictionary {name}"] = SparseCoding(30, **options).fit(x).components_


def networks(rng, out):
    """Dense networks by what they train to: every op, sparse and dense rows, each kind of draw."""
    X = rng.random((230, 150)) * states_in_runs(rng, 230, 150, 0.3)
    for dtype in (np.float32, np.float64):
        for name, parameters in {
            "tied": {"contraction": 0.1, "corruption": "masking"},
            "free": {"tied": False, "solver": "nesterov", "corruption": "gaussian", "dropout": 0.2, "alpha": 0.01},
            "deep": {"hidden_layer_sizes": (70, 40), "activation": "tanh", "contraction": 0.01, "early_stopping": True},
        }.items():
            m = Autoencoder(
                **{"hidden_layer_sizes": 70, "max_iter": 2, "batch_size": 60, "random_state": 1, **parameters}
            )
            m.fit(X.astype(dtype))
            name = f"network {name} {np.dtype(dtype).name}"
            out[name], out[f"{name} loss"] = m.flat_parameters(), np.array(m.loss_curve_)
            out[f"{name} mean"], out[f"{name} score"] = m.reconstruct(X), m.score_samples(X)
            out[f"{name} norm"], out[f"{name} gradient"] = m.jacobian_norm(X), m.loss_and_gradient(X)[1]


def results():
    """The same input in every call."""
    out: dict[str, np.ndarray] = {}
    for part in (products, steps, loops, sparse_coding, networks):
        part(np.random.default_rng(0), out)
    return out


if __name__ == "__main__":
    np.savez(sys.argv[1], level=_core.isa(), **{name.replace("/", "_"): value for name, value in results().items()})
