"""The command ``harmonium``: demo, fit, sample, score, info."""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
from collections.abc import Sequence
from typing import Any, NoReturn

import numpy as np

from . import RBM, BernoulliRBM, __version__, load, save, show_versions
from ._drawing import pyplot, resolve_shape
from .persistence import from_json, read_file

__all__ = ["main"]

_MODELS = {"RBM": RBM, "BernoulliRBM": BernoulliRBM}


def _annealing(text: str) -> float | str:
    return text if text in ("linear", "exponential") else float(text)


# Hyper-parameters of `fit`, given to the estimator only if typed, so that its own defaults hold.
_HYPERPARAMETERS: dict[str, tuple[Any, str]] = {
    "n_components": (int, "hidden units"),
    "n_iter": (int, "epochs"),
    "learning_rate": (float, "step size"),
    "annealing": (_annealing, "linear, exponential, or the distance after which the step size has halved"),
    "averaging": (float, "the model is a mean over steps, step t weighing t to this power"),
    "batch_size": (int, "rows in a batch"),
    "method": (str, "gradient: cd or pcd"),
    "n_gibbs_steps": (int, "Gibbs steps for a gradient"),
    "n_chains": (int, "Markov chains"),
    "momentum": (float, "momentum"),
    "weight_decay": (float, "L2 penalty on the weights"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, default=None
        The arguments; those of the process if not given.

    Returns
    -------
    status : int
        0, or 2 after a user's error, which is told in one line on stderr.

    Examples
    --------
    >>> from harmonium.cli import main
    >>> main(["score", "no-such.safetensors", "digits.npy"])
    2
    """
    try:
        arguments = _parser().parse_args(argv)
        arguments.run(arguments)
    except SystemExit as stop:  # argparse: --help, --version or a wrong option
        return int(stop.code or 0)
    except KeyboardInterrupt:
        return _fail("interrupted", status=130)
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else error)
    except (ValueError, ImportError) as error:
        return _fail(error)
    return 0


def _fail(problem: object, status: int = 2) -> int:
    print("harmonium: error:", " ".join(str(problem).split()), file=sys.stderr)
    return status


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(_fail(f"{message} (see {self.prog} --help)"))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="harmonium", description="Restricted Boltzmann machines: fit, sample, score.")
    parser.add_argument("--version", action="version", version=f"harmonium {__version__}")
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, run: Any, summary: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        sub.set_defaults(run=run)
        return sub

    demo = command("demo", _demo, "train on scikit-learn's digits, print likelihoods, draw a picture")
    demo.add_argument("-o", "--output", default="harmonium-demo.png", help="picture (default: %(default)s)")
    demo.add_argument("--seed", type=int, default=0, help="default: %(default)s")

    fit = command("fit", _fit, "train a model on a file of binary data")
    _add_data(fit)
    fit.add_argument("-o", "--output", required=True, help="model file to write, by custom *.safetensors")
    fit.add_argument("--model", choices=sorted(_MODELS), default="RBM", help="default: %(default)s")
    for name, (kind, meaning) in _HYPERPARAMETERS.items():
        option = "--" + name.replace("_", "-")
        fit.add_argument(option, type=kind, metavar="X", default=argparse.SUPPRESS, help=meaning)
    fit.add_argument("--seed", type=int, help="makes the fit repeatable")
    fit.add_argument("--plot", metavar="PNG", help="draw data, samples, filters and learning curve")
    _add_image_shape(fit)
    fit.add_argument("-q", "--quiet", action="store_true", help="no progress bar")

    sample = command("sample", _sample, "draw samples from a model")
    sample.add_argument("model_file", help="file written by fit")
    sample.add_argument("-n", "--n-samples", type=int, default=64, help="default: %(default)s")
    sample.add_argument("--n-steps", type=int, default=1000, help="Gibbs steps (default: %(default)s)")
    sample.add_argument("--seed", type=int, help="makes the samples repeatable")
    sample.add_argument("-o", "--output", metavar="NPY", help="write the samples, an array of 0 and 1")
    sample.add_argument("--plot", metavar="PNG", help="draw the samples (their conditional means)")
    _add_image_shape(sample)

    score = command("score", _score, "mean log-likelihood of data under a model")
    score.add_argument("model_file", help="file written by fit")
    _add_data(score)
    score.add_argument(
        "--method", choices=["auto", "exact", "ais", "reverse_ais", "bracket"], default="auto", help="how to get log Z"
    )
    score.add_argument("--n-runs", type=int, default=100, help="AIS runs (default: %(default)s)")
    score.add_argument("--seed", type=int, default=0, help="seed of AIS (default: %(default)s)")

    info = command("info", _info, "versions and hardware, or what a model file holds")
    info.add_argument("model_file", nargs="?", help="file written by fit")
    return parser


def _add_data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("data", help=".npy, .npz or .csv; one row a sample (images may be three-dimensional)")
    parser.add_argument("--key", help="which array of an .npz file")
    parser.add_argument("--threshold", type=float, metavar="T", help="make the data binary: 1 where above T")


def _add_image_shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--image-shape", type=_shape, metavar="RxC", help="rows x columns of an image, where it is no square"
    )


def _shape(text: str) -> tuple[int, int]:
    try:
        rows, columns = map(int, text.lower().split("x"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected rows x columns, such as 28x28, got {text!r}") from None
    return rows, columns


def _load_array(path: str, key: str | None) -> np.ndarray:
    """Read the array as it stands in the file."""
    ending = os.path.splitext(path)[1].lower()
    if ending not in (".npy", ".npz", ".csv"):
        raise ValueError(f"{path}: expected a .npy, .npz or .csv file")
    if key is not None and ending != ".npz":
        raise ValueError(f"{path}: --key is for .npz files")
    if ending == ".csv":
        return _load_csv(path)
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            if key is None and len(content.files) == 1:
                key = content.files[0]
            if key not in content.files:
                problem = "several arrays, choose one" if key is None else f"no array {key!r}, choose one"
                raise LookupError(f"{path}: {problem} with --key: {', '.join(content.files)}")
            return content[key]
    except LookupError as error:
        raise ValueError(error.args[0]) from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not a NumPy file of plain numbers") from error


def _load_csv(path: str) -> np.ndarray:
    with open(path, encoding="utf-8") as file:
        first = file.readline().split(",")
    try:
        header = 0 if [float(cell) for cell in first] else 1
    except ValueError:
        header = 1  # column names
    try:
        return np.loadtxt(path, dtype=np.float32, delimiter=",", skiprows=header, ndmin=2)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def _load_data(arguments: argparse.Namespace) -> tuple[np.ndarray, tuple[int, int] | None]:
    """Read rows of data, and the image shape where the array has one."""
    X = _load_array(arguments.data, arguments.key)
    image_shape = None
    if X.ndim == 3:
        image_shape = X.shape[1:]
        X = X.reshape(len(X), -1)
    if X.ndim != 2 or X.dtype.kind not in "biuf" or 0 in X.shape:
        raise ValueError(f"{arguments.data}: expected rows of numbers, got {X.dtype} of shape {X.shape}")
    if arguments.threshold is not None:
        return X > arguments.threshold, image_shape
    if X.dtype.kind != "b" and not (X.min() >= 0 and X.max() <= 1):
        raise ValueError(
            f"{arguments.data}: values from {X.min():g} to {X.max():g}, expected 0 to 1: "
            "scale them, or make them binary with --threshold"
        )
    return X, image_shape


def _check_folder(*paths: str | None) -> None:
    """Find out before the long computation that its result cannot be written."""
    for path in paths:
        folder = os.path.dirname(path or "") or "."
        if not os.path.isdir(folder):
            raise ValueError(f"{path}: there is no folder {folder!r}")


def _demo(arguments: argparse.Namespace) -> None:
    from .demo import run_demo

    _check_folder(arguments.output)
    run_demo(arguments.output, seed=arguments.seed)


def _fit(arguments: argparse.Namespace) -> None:
    _check_folder(arguments.output, arguments.plot)
    X, image_shape = _load_data(arguments)
    image_shape = arguments.image_shape or image_shape
    if arguments.plot:
        pyplot()
        image_shape = resolve_shape("--image-shape", X.shape[1], image_shape)
    chosen = {name: value for name, value in vars(arguments).items() if name in _HYPERPARAMETERS}
    model = _MODELS[arguments.model](**chosen, random_state=arguments.seed, verbose=int(not arguments.quiet))
    model.fit(X)
    save(model, arguments.output)
    if arguments.plot:
        from .demo import save_picture

        save_picture(model, X, arguments.plot, image_shape=image_shape, random_state=arguments.seed)
    quantities = ", ".join(f"{name} {values[-1]:.4g}" for name, values in model.history_.items() if values)
    print(f"{arguments.output}: {model.n_iter_} epochs on {X.shape[0]} x {X.shape[1]}; {quantities}")


def _load_machine(path: str) -> Any:
    model = load(path)
    if not isinstance(model, tuple(_MODELS.values())):
        known = " and ".join(sorted(_MODELS))
        raise ValueError(f"{path}: holds a {type(model).__name__}, the commands are for {known}")
    return model


def _sample(arguments: argparse.Namespace) -> None:
    if not (arguments.output or arguments.plot):
        raise ValueError("sample: nothing to write, give -o NPY or --plot PNG")
    _check_folder(arguments.output, arguments.plot)
    model = _load_machine(arguments.model_file)
    if arguments.plot:
        pyplot()
        shape = resolve_shape("--image-shape", model.n_features_in_, arguments.image_shape)
    samples = model.sample(arguments.n_samples, n_steps=arguments.n_steps, random_state=arguments.seed)
    if arguments.output:
        with open(arguments.output, "wb") as file:  # by name, np.save would append .npy
            np.save(file, samples.astype(np.uint8))
    if arguments.plot:
        from .plot import SamplesDisplay

        means = model.inverse_transform(model.transform(samples))
        SamplesDisplay(means.reshape(-1, *shape)).plot().figure_.savefig(arguments.plot, dpi=150)


def _score(arguments: argparse.Namespace) -> None:
    model = _load_machine(arguments.model_file)
    X, _ = _load_data(arguments)
    pseudo = float(np.mean(model.score_samples(X)))  # first: it is quick, and checks X
    log_z = model.log_partition(method=arguments.method, n_runs=arguments.n_runs, random_state=arguments.seed)
    mean = float(np.mean(model.log_likelihood(X, log_partition=log_z)))
    how, error_bar = log_z.method, ""
    if log_z.std_error > 0:
        error_bar = f" +- {log_z.std_error:.2g}"
        how += (
            f", standard error {log_z.std_error:.2g}, bracket {log_z.lower:.4f} to {log_z.upper:.4f}, "
            f"effective sample size {log_z.effective_sample_size:.1f}"
        )
    print(f"data                        {X.shape[0]} x {X.shape[1]}")
    print(f"log Z                       {log_z.value:.4f} ({how})")
    print(f"mean log-likelihood         {mean:.4f}{error_bar} nats")
    print(f"mean pseudo-log-likelihood  {pseudo:.4f} nats")


def _info(arguments: argparse.Namespace) -> None:
    if arguments.model_file is None:
        show_versions()
        return
    header, tensors = read_file(arguments.model_file)
    print(f"{header['class']}, written by harmonium {header['harmonium_version']}")
    print("parameters")
    for name, value in header["parameters"].items():
        print(f"  {name:22} {value}")
    print("arrays")
    for name, array in sorted(tensors.items()):
        print(f"  {name:22} {array.dtype} {' x '.join(map(str, array.shape))}")
    print("learned")
    for name, value in header["attributes"].items():
        if name == "history_":
            for quantity, values in value.items():
                last = from_json(values[-1]) if values else float("nan")
                print(f"  {quantity:22} {last:.6g} after {len(values)} epochs")
        elif isinstance(value, int | float | str):
            print(f"  {name:22} {value}")
