"""The figures of the linear factor models, beside scikit-learn's FactorAnalysis where it has them.

1. Average log-likelihoods of PPCA and factor analysis on iris, wine and digits, beside the reference values;
   ability.cov: uniquenesses and chi-square as R prints them.
2. Time of a fit of factor analysis, 10,000 x 200, 20 factors, both at the default tolerance, against scikit-learn's
   (lapack and randomized) in turns; final likelihoods compared first. Data: rows of such a model.
3. Streaming: fits to 1,000,000 x 200 float32 on disk, in a process of their own. Private memory (what is not the mapped
   file) is watched all the while; and the time of an iteration for 10 times fewer rows.
4. Missing values: 30 % of the entries of three real sets removed at random; log-likelihood of the removed entries given
   the rest, by EM against PPCA after mean imputation.
5. EM never decreases: 100 random problems, with and without missing values.
6. Wide and large data: fits of PPCA and factor analysis, beside scikit-learn's defaults (randomised), and how far their
   log-likelihood is below that of all eigenvectors.
7. CSR rows: word counts of 20 newsgroups (--data), PPCA from them and from the same rows dense.

    python bench/bench_factor.py [--data DIR]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import PCA
from sklearn.decomposition import FactorAnalysis as ScikitFactorAnalysis

import measure
from harmonium import PPCA, FactorAnalysis

sys.path.insert(0, str(measure.HERE.parent / "tests"))
import factor_reference

PPCA_REFERENCE = {
    ("iris", 1): -3.137796, ("iris", 2): -2.699752,
    ("digits", 2): -170.703410, ("digits", 10): -154.551384, ("digits", 20): -145.769315,
}  # fmt: skip
FA_REFERENCE = {
    ("iris", 1): -2.815853, ("wine", 2): -15.433658, ("wine", 5): -14.779010, ("wine", 10): -14.613473,
    ("digits", 2): -132.708442, ("digits", 10): -123.155800, ("digits", 20): -118.539109,
}  # fmt: skip
ROWS, COLUMNS, FACTORS = 10_000, 200, 20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    measure.add_data_option(parser)
    parser.add_argument(
        "--parts",
        nargs="+",
        metavar="NAME",
        help="of: log-likelihoods ability fit streaming missing monotone wide sparse",
    )
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=measure.n_cores())
    parser.add_argument("--stream-rows", type=int, default=1_000_000)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--stream-from", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stream_from:
        stream(arguments.stream_from, arguments.stream_rows)
        return
    warnings.filterwarnings("ignore", ".*Heywood")
    measure.introduce("linear factor models")
    with measure.threads(arguments.threads):
        parts = {
            "log-likelihoods": log_likelihoods,
            "ability": ability,
            "fit": lambda: speed(arguments),
            "streaming": lambda: streaming(arguments),
            "missing": lambda: missing(arguments.data),
            "monotone": monotone,
            "wide": lambda: wide(arguments.rounds),
            "sparse": lambda: sparse(arguments.data, arguments.rounds),
        }
        results: dict[str, Any] = {"threads": arguments.threads}
        for name in arguments.parts or parts:
            results[name] = parts[name]()
    measure.write("factor", results, arguments.output)


# -- likelihoods -------------------------------------------------------------------------------------------------


def real(name: str) -> np.ndarray:
    X = {"iris": load_iris, "wine": load_wine, "digits": load_digits, "breast cancer": load_breast_cancer}[name]().data
    X = X[:, X.std(axis=0) > 0]
    return (X - X.mean(axis=0)) / X.std(axis=0) if name in ("wine", "breast cancer") else X


def log_likelihoods() -> list[dict[str, Any]]:
    print(f"\n{'average log-likelihood':34}{'reference':>14}{'here':>14}{'difference':>12}{'iterations':>12}")
    found = []
    for model, options, reference in (
        ("PPCA", {}, PPCA_REFERENCE), ("FactorAnalysis", {"tol": 1e-6}, FA_REFERENCE),
    ):  # fmt: skip
        for (name, k), value in reference.items():
            X = real(name)
            fit = {"PPCA": PPCA, "FactorAnalysis": FactorAnalysis}[model](k, **options).fit(X)
            score = fit.score(X)
            print(f"{model:16}{name:12}k={k:<4}{value:14.6f}{score:14.6f}{score - value:12.1e}{fit.n_iter_:12}")
            found.append({"model": model, "data": name, "k": k, "reference": value, "here": score, "n": fit.n_iter_})
    return found


def ability() -> dict[str, Any]:
    S, n = factor_reference.ability_covariance(), factor_reference.ABILITY_ROWS
    found: dict[str, Any] = {}
    print()
    for k, chi_square in ((1, 75.18), (2, 6.11)):
        fa = FactorAnalysis(k, tol=1e-8).fit_covariance(S, n)
        test = fa.goodness_of_fit()
        uniqueness = (fa.noise_variance_ / np.diag(S)).round(3).tolist()
        print(
            f"ability.cov, {k} factors: uniquenesses {uniqueness}, chi-square {test.chi_square:.2f} (R: {chi_square})"
        )
        found[str(k)] = {"uniquenesses": uniqueness, "chi_square": test.chi_square, "p": test.p_value}
    return found


# -- time --------------------------------------------------------------------------------------------------------


def speed(arguments: argparse.Namespace) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    W = rng.standard_normal((FACTORS, COLUMNS))
    noise = np.sqrt(rng.gamma(2.0, 1.0, COLUMNS))
    X = rng.standard_normal((ROWS, FACTORS)) @ W + rng.standard_normal((ROWS, COLUMNS)) * noise
    fits: dict[str, Any] = {
        "harmonium": lambda: FactorAnalysis(FACTORS).fit(X),
        "scikit-learn, lapack": lambda: ScikitFactorAnalysis(FACTORS, svd_method="lapack").fit(X),
        "scikit-learn, randomized": lambda: ScikitFactorAnalysis(FACTORS).fit(X),
    }
    ends = {who: fit() for who, fit in fits.items()}
    # Ends that miss each other by less than the tolerance, a hundredth of a nat in all, are the same.
    lower = ends["harmonium"].loglike_[-1] < ends["scikit-learn, lapack"].loglike_[-1] - 1e-2
    assert not lower, "a lower likelihood: times mean nothing"
    taken = measure.alternate(fits, arguments.rounds)
    print(f"\nfactor analysis, {ROWS} x {COLUMNS}, {FACTORS} factors, tol 0.01, {arguments.threads} threads")
    found: dict[str, Any] = {"seconds": taken, "n_iter": {}, "log-likelihood": {}, "ratio": {}}
    for who, end in ends.items():
        seconds = measure.spread(taken[who])
        ratio = measure.ratios(taken[who], taken["harmonium"])
        print(
            f"{who:26}{1e3 * seconds['median']:9.1f} ms, {end.n_iter_:4} iterations, "
            f"log-likelihood {end.loglike_[-1]:.4f}{'' if who == 'harmonium' else '   ' + measure.times(ratio)}"
        )
        found["n_iter"][who] = end.n_iter_
        found["log-likelihood"][who] = end.loglike_[-1]
        found["ratio"][who] = ratio
    return found


# -- streaming ---------------------------------------------------------------------------------------------------


def streaming(arguments: argparse.Namespace) -> dict[str, Any]:
    n = arguments.stream_rows
    print(f"\nstreaming: {n} x {COLUMNS} float32 from a memory map")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.float32")
        rng = np.random.default_rng(0)
        W = rng.standard_normal((FACTORS, COLUMNS)).astype(np.float32)
        with open(path, "wb") as file:
            for first in range(0, n, 10_000):
                rows = min(10_000, n - first)
                h = rng.standard_normal((rows, FACTORS), np.float32)
                file.write((h @ W + 1.5 * rng.standard_normal((rows, COLUMNS), np.float32)).tobytes())
        command = [sys.executable, __file__, "--stream-from", str(path), "--stream-rows", str(n)]
        printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(printed.splitlines()[-1])
    for name, entry in found["fits"].items():
        print(
            f"{name:30}{entry['seconds']:7.2f} s, of private memory at most {entry['peak MB']:.0f} MB, "
            f"of which {found['before MB']:.0f} MB before any data; {entry['n_iter']} iterations"
        )
    for rows, taken in found["iteration"].items():
        print(f"PPCA by EM, {rows} rows: {1e3 * taken['median']:.2f} ms an iteration")
    return found


def private_megabytes() -> float:
    """Resident memory that is no page of a mapped file."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) / 1024
    return float("nan")


def stream(path: Path, n: int) -> None:
    """In a process of its own: fits to the file, and what they took, as JSON."""
    X = np.memmap(path, np.float32, "r", shape=(n, COLUMNS))
    found: dict[str, Any] = {"before MB": private_megabytes(), "fits": {}, "iteration": {}}

    def watched(call: Any) -> dict[str, Any]:
        peak, done = [private_megabytes()], threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                peak[0] = max(peak[0], private_megabytes())

        watcher = threading.Thread(target=watch)
        watcher.start()
        start = time.perf_counter()
        model = call()
        seconds = time.perf_counter() - start
        done.set()
        watcher.join()
        return {"seconds": seconds, "peak MB": peak[0], "n_iter": model.n_iter_}

    def in_batches() -> FactorAnalysis:
        fa = FactorAnalysis(FACTORS)
        for first in range(0, n, 100_000):
            fa.partial_fit(X[first : first + 100_000])
        return fa

    found["fits"]["FactorAnalysis.fit"] = watched(lambda: FactorAnalysis(FACTORS).fit(X))
    found["fits"]["FactorAnalysis.partial_fit"] = watched(in_batches)
    found["fits"]["PPCA.fit"] = watched(lambda: PPCA(FACTORS).fit(X))
    model = FactorAnalysis(FACTORS).fit(X)
    found["fits"]["FactorAnalysis.score"] = watched(lambda: (model.score(X), model)[1])
    warnings.filterwarnings("ignore", ".*not converged")
    for rows in (n // 10, n):
        clock = Clock()
        # From the covariance: EM of PPCA, whose every iteration is alike.
        model = PPCA(FACTORS, method="em", tol=0, max_iter=40, random_state=0)
        model.set_callbacks(clock)
        model.fit(X[:rows])
        found["iteration"][str(rows)] = measure.spread(np.diff(clock.times).tolist())
    print(json.dumps(found))


class Clock:
    """A callback that notes when iterations end."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def setup(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None: ...

    def on_fit_task_end(self, estimator: Any, context: Any) -> None:
        if context.task_name == "epoch":
            self.times.append(time.perf_counter())

    def teardown(self, estimator: Any, context: Any) -> None: ...


# -- missing values ----------------------------------------------------------------------------------------------


def missing(folder: Path | None) -> list[dict[str, Any]]:
    digits = real("digits")
    # Of pixels that are hardly ever on nothing may be left but zeros: then anything else is all but impossible.
    digits = digits[:, (digits > 0).mean(axis=0) > 0.05]
    sets = {
        "digits": (digits, 5),
        "digits, more factors": (digits, 20),
        "wine": (real("wine"), 3),
        "breast cancer": (real("breast cancer"), 8),
    }
    if folder is not None:
        with np.load(Path(folder) / "olivetti_faces.npz", allow_pickle=False) as file:
            faces = file["images"].astype(np.float64) / 255
        sets["Olivetti faces, 16 x 16"] = faces.reshape(400, 16, 4, 16, 4).mean(axis=(2, 4)).reshape(400, -1), 20
    print("\n30 % of entries removed: their mean log-likelihood given the rest, and squared error of filling in")
    head = ("mean imputation + PPCA", "PPCA, EM", "FactorAnalysis, EM")
    print(f"{'':28}" + "".join(f"{name:>32}" for name in head))
    found = []
    for name, (X, k) in sets.items():
        rng = np.random.default_rng(0)
        holes = np.where(rng.random(X.shape) < 0.3, np.nan, X)
        gone = np.isnan(holes)
        filled = np.where(gone, np.nanmean(holes, axis=0), holes)
        entry: dict[str, Any] = {"data": name, "shape": X.shape, "k": k}
        for label, model, data in (
            (head[0], PPCA(k), filled),
            (head[1], PPCA(k, tol=0.1), holes),
            (head[2], FactorAnalysis(k, tol=0.1), holes),
        ):
            start = time.perf_counter()
            model.fit(data)
            seconds = time.perf_counter() - start
            likelihood = (model.score_samples(X) - model.score_samples(holes)).sum() / gone.sum()
            error = float(np.square(model.impute(holes) - X)[gone].mean())
            entry[label] = {"log-likelihood": likelihood, "error": error, "seconds": seconds, "n_iter": model.n_iter_}
        print(
            f"{name + ', k=' + str(k):28}"
            + "".join(
                f"{part['log-likelihood']:12.4f}, {part['error']:7.4f}, {part['seconds']:5.1f} s"
                for part in (entry[label] for label in head)
            )
        )
        found.append(entry)
    return found


def monotone() -> dict[str, Any]:
    warnings.filterwarnings("ignore", ".*not converged")
    falls, iterations = 0, 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        p = int(rng.integers(3, 13))
        k = int(rng.integers(1, max(2, p // 2)))
        X = factor_reference.draw_rows(factor_reference.draw_model(p, k, seed), int(rng.integers(20, 80)), seed)
        holes = np.where(rng.random(X.shape) < 0.3, np.nan, X)
        holes[:2] = X[:2]
        for model in (
            PPCA(k, method="em", random_state=seed).fit(X), PPCA(k, max_iter=50).fit(holes), FactorAnalysis(k).fit(X),
            FactorAnalysis(k, max_iter=50).fit(holes),
        ):  # fmt: skip
            values = model.history_["log_likelihood"]
            falls += int((np.diff(values) < 0).sum())
            iterations += len(values)
    print(f"\n100 random problems, complete and with 30 % missing: {falls} falls in {iterations} iterations")
    return {"problems": 100, "falls": falls, "iterations": iterations}


# -- wide, large and sparse data ---------------------------------------------------------------------------------


def wide(rounds: int) -> list[dict[str, Any]]:
    print("\nwide and large data, 10 factors: time of a fit, log-likelihood of a row below that of all eigenvectors")
    found = []
    for n, p in ((300, 1000), (2000, 1500), (1000, 3000)):
        rng = np.random.default_rng(0)
        X = rng.standard_normal((n, 10)) @ rng.standard_normal((10, p))
        X += rng.standard_normal((n, p)) * np.sqrt(rng.gamma(2.0, 1.0, p))
        fits: dict[str, Any] = {
            "PPCA": lambda X=X: PPCA(10, random_state=0).fit(X),
            "PCA, scikit-learn": lambda X=X: PCA(10, random_state=0).fit(X),
            "FactorAnalysis": lambda X=X: FactorAnalysis(10).fit(X),
            "FactorAnalysis, scikit-learn": lambda X=X: ScikitFactorAnalysis(10).fit(X),
        }
        ends = {who: fit() for who, fit in fits.items()}
        below = {"PPCA": PPCA(10, svd_solver="full").fit(X).score(X) - ends["PPCA"].score(X)}
        assert below["PPCA"] < 1e-8 * p, "a lower likelihood: times mean nothing"
        theirs, ours = ends["FactorAnalysis, scikit-learn"].loglike_[-1], ends["FactorAnalysis"].loglike_[-1]
        assert ours > theirs - 1e-2, "a lower likelihood: times mean nothing"
        taken = measure.alternate(fits, rounds)
        for who in fits:
            seconds = measure.spread(taken[who])
            lost = f"{below[who]:12.1e}" if who in below else ""
            print(f"{n:6} x {p:<6}{who:30}{1e3 * seconds['median']:9.1f} ms{lost}")
        found.append({"shape": [n, p], "seconds": taken, "below": below})
    return found


def sparse(folder: Path | None, rounds: int) -> dict[str, Any]:
    if folder is None:
        print("\nsparse: needs --data")
        return {}
    with np.load(Path(folder) / "newsgroups20_2000.npz", allow_pickle=False) as file:
        parts = (np.log1p(file["train_data"].astype(np.float32)), file["train_indices"], file["train_indptr"])
        X = sp.csr_matrix(parts, shape=tuple(file["train_shape"]))
    dense = X.toarray()
    fits: dict[str, Any] = {"CSR": lambda: PPCA(10).fit(X), "dense": lambda: PPCA(10).fit(dense)}
    ends = {who: fit() for who, fit in fits.items()}
    assert abs(ends["CSR"].score(X) - ends["dense"].score(dense)) < 1e-8 * X.shape[1], "another model"
    taken = measure.alternate(fits, rounds)
    print(f"\nPPCA, 20 newsgroups, {X.shape[0]} x {X.shape[1]}, {X.nnz / np.prod(X.shape):.1%} of the entries stored")
    for who in fits:
        print(f"{who:26}{1e3 * measure.spread(taken[who])['median']:9.1f} ms")
    return {"shape": list(X.shape), "seconds": taken}


if __name__ == "__main__":
    main()
