"""The command line: each subcommand does its work, each user's error is one line and status 2."""

import subprocess
import sys

import numpy as np
import pytest

from harmonium import PPCA, load, save
from harmonium.cli import main
from harmonium.demo import run_demo

FIT = ["--n-components", "4", "--n-iter", "2", "--seed", "0", "--quiet"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    grey = np.random.default_rng(0).integers(0, 256, size=(40, 3, 4), dtype=np.uint8)
    np.save("grey.npy", grey)
    np.save("binary.npy", (grey > 127).reshape(40, 12))
    np.savez("several.npz", x_train=grey, x_test=grey[:10])
    rows = (grey > 127).reshape(40, 12).astype(int)
    np.savetxt("plain.csv", rows, fmt="%d", delimiter=",")
    np.savetxt("named.csv", rows, fmt="%d", delimiter=",", header=",".join("abcdefghijkl"), comments="")
    return tmp_path


@pytest.fixture
def model(folder):
    assert main(["fit", "binary.npy", "-o", "model.safetensors", *FIT]) == 0
    return "model.safetensors"


@pytest.mark.parametrize(
    "source",
    [
        ["binary.npy"],
        ["grey.npy", "--threshold", "127"],
        ["several.npz", "--key", "x_train", "--threshold", "127"],
        ["plain.csv"],
        ["named.csv"],
    ],
)
def test_every_input_gives_the_same_model(source, model):
    assert main(["fit", *source, "-o", "other.safetensors", *FIT]) == 0
    np.testing.assert_array_equal(load("other.safetensors").components_, load(model).components_)


def test_fit_takes_hyperparameters_and_the_model(folder):
    options = ["--model", "BernoulliRBM", "--learning-rate", "0.03", "--method", "cd"]
    assert main(["fit", "binary.npy", "-o", "m", *FIT, *options]) == 0
    model = load("m")
    assert type(model).__name__ == "BernoulliRBM"
    assert (model.n_components, model.learning_rate, model.method, model.random_state) == (4, 0.03, "cd", 0)


def test_sample_is_the_models_sample(model):
    assert main(["sample", model, "-n", "5", "--n-steps", "3", "--seed", "1", "-o", "out"]) == 0
    samples = np.load("out")
    assert samples.dtype == np.uint8
    np.testing.assert_array_equal(samples, load(model).sample(5, n_steps=3, random_state=1))


@pytest.mark.parametrize("method", ["exact", "ais", "reverse_ais", "bracket"])
def test_score_prints_the_likelihood(method, model, capsys):
    assert main(["score", model, "binary.npy", "--method", method]) == 0
    out = capsys.readouterr().out
    rbm, X = load(model), np.load("binary.npy")
    log_z = rbm.log_partition(method=method, random_state=0)
    assert f"{rbm.log_likelihood(X, log_partition=log_z).mean():.4f}" in out
    assert f"{rbm.score_samples(X).mean():.4f}" in out
    assert f"({method}" in out
    assert ("standard error" in out) == (method != "exact")


def test_info_describes_a_model(model, capsys):
    assert main(["info", model]) == 0
    out = capsys.readouterr().out
    for piece in ("RBM, written by harmonium", "n_components           4", "4 x 12", "after 2 epochs"):
        assert piece in out
    assert main(["info"]) == 0
    assert "harmonium" in capsys.readouterr().out


def test_pictures(model):
    pytest.importorskip("matplotlib")
    assert main(["fit", "grey.npy", "--threshold", "127", "-o", "m", "--plot", "fit.png", *FIT]) == 0
    options = ["-n", "4", "--n-steps", "2", "--image-shape", "3x4", "--plot", "sample.png"]
    assert main(["sample", model, *options]) == 0
    for name in ("fit.png", "sample.png"):
        with open(name, "rb") as file:
            assert file.read(4) == b"\x89PNG"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "missing.npy", "-o", "m"], "missing.npy: No such file"),
        (["fit", "grey.npy", "-o", "m"], "values from 0 to 255, expected 0 to 1"),
        (["fit", "several.npz", "-o", "m"], "several arrays, choose one with --key: x_train, x_test"),
        (["fit", "several.npz", "-o", "m", "--key", "y"], "no array 'y'"),
        (["fit", "broken.npy", "-o", "m"], "broken.npy: not a NumPy file"),
        (["fit", "broken.npz", "-o", "m"], "broken.npz: not a NumPy file"),
        (["fit", "empty.npy", "-o", "m"], "empty.npy: not a NumPy file"),
        (["fit", "broken.csv", "-o", "m"], "broken.csv: "),
        (["fit", "notes.txt", "-o", "m"], "expected a .npy, .npz or .csv"),
        (["fit", "binary.npy", "-o", "nowhere/m"], "no folder 'nowhere'"),
        (["fit", "binary.npy", "-o", "m", "--n-iter", "many"], "invalid int value: 'many'"),
        (["fit", "binary.npy", "-o", "m", "--batch-size", "0", "--quiet"], "batch_size"),
        (["fit", "binary.npy", "-o", "m", "--plot", "p.png"], "12 features are no square"),
        (["sample", "model.safetensors"], "nothing to write"),
        (["sample", "binary.npy", "-o", "s.npy"], "not a safetensors file"),
        (["score", "model.safetensors", "square.npy"], "16"),
        (["sample", "model.safetensors", "--image-shape", "3,4"], "such as 28x28, got '3,4'"),
        (["dream"], "invalid choice"),
        ([], "required"),
    ],
)
def test_errors_are_one_line(arguments, message, model, capsys):
    np.save("square.npy", np.zeros((5, 16)))
    for name in ("broken.npy", "broken.npz", "broken.csv"):
        with open(name, "w", encoding="utf-8") as file:
            file.write("1,2\n3\n")
    open("empty.npy", "w").close()
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("harmonium: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_demo_ranks_the_models_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    ours, peer, independent = run_demo(tmp_path / "demo.png", verbose=0)
    assert (tmp_path / "demo.png").stat().st_size > 10_000
    assert ours.held_out > peer.held_out > independent.held_out
    assert ours.train - ours.held_out < 3  # nats: it learned digits, not these digits


def test_demo_without_matplotlib_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setattr("harmonium.demo.N_EPOCHS", 1)
    run_demo(tmp_path / "demo.png")
    assert "pip install harmonium[plot]" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_python_m_harmonium():
    done = subprocess.run([sys.executable, "-m", "harmonium", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("harmonium ")


@pytest.mark.parametrize("command", [["sample", "ppca", "-o", "out"], ["score", "ppca", "binary.npy"]])
def test_other_models_are_told_of(folder, command, capsys):
    save(PPCA(1).fit(np.eye(4)), "ppca")
    assert main(command) == 2
    assert "ppca: holds a PPCA, the commands are for BernoulliRBM and RBM" in capsys.readouterr().err
    assert main(["info", "ppca"]) == 0
