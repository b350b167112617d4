"""Every script in examples/ runs, on small made-up data of the format of the real ones, and leaves a picture."""

import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")
EXAMPLES = sorted((Path(__file__).parent.parent / "examples").glob("*.py"))


def digits(generator, n):
    """Images of 28 x 28 with one bar, its direction the class."""
    labels = np.arange(n, dtype=np.uint8) % 2
    images = np.zeros((n, 28, 28), np.uint8)
    for image, label, place in zip(images, labels, generator.integers(8, 18, n), strict=True):
        (image if label else image.T)[place : place + 3, 5:23] = generator.integers(120, 256, (3, 18))
    return images, labels


def bags(generator, n, n_words):
    """CSR arrays of bags of words, of two topics that have half of the words each."""
    labels = np.arange(n, dtype=np.uint8) % 2
    favours = np.where((np.arange(n_words) < n_words // 2)[None, :] == labels[:, None], 0.9, 0.1)
    counts = generator.poisson(4.0 * favours)
    counts[3] = 0  # an empty post
    row, column = np.nonzero(counts)
    indptr = np.searchsorted(row, np.arange(n + 1)).astype(np.int32)
    return {
        "data": counts[row, column].astype(np.uint16),
        "indices": column.astype(np.int32),
        "indptr": indptr,
        "shape": np.array([n, n_words], np.int32),
        "labels": labels,
    }


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    generator = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 150), ("test", 40)):
        arrays[f"x_{part}"], arrays[f"y_{part}"] = digits(generator, n)
    np.savez(folder / "mnist.npz", **arrays)
    whitened = generator.normal(size=(2, 64, 64)).astype(np.float32)
    raw = generator.integers(0, 256, (2, 64, 64))
    np.savez(folder / "natural_images.npz", whitened=whitened, raw=raw.astype(np.uint8))
    codes = generator.integers(0, 21, (80, 6), np.uint8)
    codes[:, 5] = codes[:, 0]
    alphabet = np.array("ACDEFGHIKLMNPQRSTVWY-")
    np.savez(folder / "protein_msa.npz", ww=np.concatenate([codes, codes[:10]]), alphabet=alphabet)
    arrays = {f"{part}_{key}": value for part in ("train", "test") for key, value in bags(generator, 60, 100).items()}
    faces = generator.integers(0, 4, (40, 10, 1, 1)) * 20 + generator.integers(0, 60, (40, 1, 64, 64)) + 60
    faces = (faces + generator.integers(0, 40, (40, 10, 64, 64))).reshape(400, 64, 64).astype(np.uint8)
    np.savez(folder / "olivetti_faces.npz", images=faces, targets=np.repeat(np.arange(40, dtype=np.uint8), 10))
    words = np.array([f"word{k}" for k in range(100)])
    np.savez(folder / "newsgroups20_2000.npz", vocabulary=words, label_names=np.array(["rec.one", "sci.two"]), **arrays)
    return folder


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_there_are_examples():
    assert EXAMPLES


@pytest.mark.parametrize("script", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_draws_its_picture(script, data, tmp_path, monkeypatch, capsys):
    picture = tmp_path / "picture.png"
    options = ["--data", str(data), "--output", str(picture), "--seed", "1", "--quick"]
    monkeypatch.setattr(sys, "argv", [str(script), *options])
    runpy.run_path(str(script), run_name="__main__")
    said = capsys.readouterr().out.replace(str(picture), "picture.png")
    assert "picture: picture.png" in said
    assert re.search(r"\d\.\d", said), f"no figure was printed: {said}"
    assert not re.search(r"\b(nan|inf)\b", said, re.IGNORECASE), said
    assert plt.imread(picture)[..., :3].var() > 1e-3, "the picture is blank"
