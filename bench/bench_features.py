"""What codes are worth to a linear classifier: raw pixels, a plain autoencoder's codes, a denoising one's; MNIST.

    python bench/bench_features.py --data DIR

1000 hidden units, tied, logistic regression on the codes; the test error of each seed. Vincent et al., "Stacked
denoising autoencoders", JMLR 11, 2010: denoising makes better features than reconstructing does.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

import measure
from harmonium import Autoencoder

KINDS: dict[str, dict[str, Any]] = {
    "plain autoencoder": {},
    "denoising, masking 30 %": {"corruption": "masking", "corruption_level": 0.3},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_data_option(parser)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--units", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    measure.introduce("features")
    train, test = measure.mnist(arguments.data, grey=True)
    with np.load(arguments.data / "mnist.npz", allow_pickle=False) as file:
        labels, test_labels = file["y_train"][: arguments.rows], file["y_test"]
    train = train[: arguments.rows]

    def error(codes: np.ndarray, test_codes: np.ndarray) -> float:
        classifier = LogisticRegression(C=0.1, max_iter=150).fit(codes, labels)
        return 100 * (1 - classifier.score(test_codes, test_labels))

    found: dict[str, list[float]] = {"raw pixels": [error(train, test)]}
    print(f"raw pixels: {found['raw pixels'][0]:.2f} %", flush=True)
    for seed in range(arguments.seeds):
        for name, parameters in KINDS.items():
            model = Autoencoder(arguments.units, max_iter=arguments.epochs, random_state=seed, **parameters).fit(train)
            found.setdefault(name, []).append(error(model.transform(train), model.transform(test)))
            print(f"{name}, seed {seed}: {found[name][-1]:.2f} %", flush=True)
    settings = {"rows": arguments.rows, "units": arguments.units, "epochs": arguments.epochs}
    measure.write("features", {**settings, "test error %": found}, arguments.output)


if __name__ == "__main__":
    main()
