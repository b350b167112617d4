"""save and load: everything comes back, nothing in a file is run, a damaged file is refused in words."""

import json
import pickle

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from sklearn.exceptions import NotFittedError
from sklearn.neural_network import BernoulliRBM as PeerRBM

import harmonium
from harmonium import RBM, BernoulliRBM, load, save


def data(dtype=np.float32):
    return (np.random.default_rng(0).random((30, 6)) < 0.4).astype(dtype)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "rbm.safetensors"
    save(RBM(4, n_iter=2, random_state=0).fit(data()), path)
    return path


def rewrite(path, *, metadata=None, header=None, tensors=None):
    """Change a saved file as an error, a later version or an attacker would."""
    with safetensors.safe_open(path, framework="numpy") as file:
        old = file.metadata()
        arrays = {key: file.get_tensor(key) for key in file.keys()}
    changed = json.loads(old["header"]) | (header or {})
    old["header"] = json.dumps(changed)
    safetensors.numpy.save_file(arrays | (tensors or {}), path, old | (metadata or {}))


@pytest.mark.parametrize("cls", [RBM, BernoulliRBM])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, bool])
def test_everything_comes_back(cls, dtype, tmp_path):
    model = cls(4, n_iter=3, learning_rate=0.02, random_state=7).fit(data(dtype))
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert type(again) is cls
    assert again.get_params() == model.get_params()
    assert vars(again).keys() == vars(model).keys()
    for name, value in vars(model).items():
        other = getattr(again, name)
        if isinstance(value, np.ndarray):
            assert other.dtype == value.dtype, name
            assert other.flags.f_contiguous == value.flags.f_contiguous, name
            np.testing.assert_array_equal(other, value)
        else:
            assert other == value, name
            assert type(other) is type(value), name
    np.testing.assert_array_equal(again.transform(data()), model.transform(data()))
    np.testing.assert_array_equal(
        again.sample(3, n_steps=5, random_state=0), model.sample(3, n_steps=5, random_state=0)
    )


@pytest.mark.parametrize("options", [{}, {"momentum": 0.5}, {"averaging": None}])
def test_training_goes_on_as_if_never_saved(options, tmp_path):
    model = RBM(4, n_iter=2, random_state=0, **options).fit(data())
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    for estimator in (model, again):
        estimator.partial_fit(data())
    np.testing.assert_array_equal(again.components_, model.components_)


def test_feature_names_and_output_setting_come_back(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(data(), columns=list("abcdef"))
    model = RBM(4, n_iter=1, random_state=0).set_output(transform="pandas").fit(frame)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.feature_names_in_.dtype == object
    pandas.testing.assert_frame_equal(again.transform(frame), model.transform(frame))


def test_infinite_history_and_numpy_parameters_survive(tmp_path):
    model = RBM(np.int64(4), n_iter=2, learning_rate=np.float32(0.5), random_state=0).fit(data())
    model.history_["weight_rms"][0] = -np.inf
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    assert again.history_ == model.history_
    assert again.get_params() == model.get_params()


def of_blocks(visible):
    return {"visible": visible, "n_categories": [3, 2]}


@pytest.mark.parametrize(
    "parameters",
    [
        {"visible": "categorical", "n_categories": np.array([3, 2, 3])},
        {"visible": "categorical", "n_categories": np.array([3, 2, 3], np.uint8)},
        {"visible": "categorical", "n_categories": range(2, 5)},
        of_blocks((("categorical", 2), ("gaussian", 1))),
        of_blocks([["categorical", np.int64(2)], ["gaussian", 1]]),
        of_blocks(np.array([("categorical", 2), ("gaussian", 1)])),
        of_blocks(np.array([("categorical", 2), ("gaussian", 1)], dtype=object)),
    ],
    ids=str,
)
def test_parameters_that_are_arrays_come_back(parameters, tmp_path):
    X = np.random.default_rng(0).integers(0, 2, (30, 3))
    model = RBM(4, n_iter=1, random_state=0, **parameters).fit(X)
    save(model, tmp_path / "model")
    again = load(tmp_path / "model")
    for name, value in parameters.items():
        other = getattr(again, name)
        assert type(other) is (list if isinstance(value, range) else type(value)), name
        assert getattr(other, "dtype", None) == getattr(value, "dtype", None), name
        np.testing.assert_array_equal(other, value)
    for estimator in (model, again):
        estimator.partial_fit(X)
    np.testing.assert_array_equal(again.free_energy(X), model.free_energy(X))


def test_parameters_from_pandas_come_back_as_arrays(tmp_path):
    pandas = pytest.importorskip("pandas")
    model = RBM(4, visible="categorical", n_categories=pandas.Series([3, 2, 3]), n_iter=1).fit(data()[:, :3])
    save(model, tmp_path / "model")
    np.testing.assert_array_equal(load(tmp_path / "model").n_categories, [3, 2, 3])


def test_any_safetensors_reader_finds_the_weights(saved):
    model = load(saved)
    tensors = safetensors.numpy.load_file(saved)
    np.testing.assert_array_equal(tensors["components_"], model.components_)
    np.testing.assert_array_equal(tensors["intercept_visible_"], model.intercept_visible_)
    with safetensors.safe_open(saved, framework="numpy") as file:
        header = json.loads(file.metadata()["header"], parse_constant=pytest.fail)
    assert header["class"] == "RBM"
    assert header["harmonium_version"] == harmonium.__version__


def test_a_generator_is_not_stored(tmp_path):
    model = RBM(4, n_iter=1, random_state=np.random.RandomState(0)).fit(data())
    with pytest.warns(UserWarning, match="random_state is a RandomState"):
        save(model, tmp_path / "model")
    assert load(tmp_path / "model").random_state is None


@pytest.mark.parametrize(
    ("estimator", "error", "message"),
    [
        (PeerRBM(4).fit(data()), TypeError, "sklearn.*BernoulliRBM is none of harmonium's"),
        (RBM(4), NotFittedError, "not fitted"),
    ],
)
def test_what_cannot_be_saved(estimator, error, message, tmp_path):
    with pytest.raises(error, match=message):
        save(estimator, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_attribute_without_plain_form_is_refused(tmp_path):
    model = RBM(4, n_iter=1, random_state=0).fit(data())
    model.extra_ = {"function": len}
    with pytest.raises(TypeError, match=r"RBM\.extra_ is a builtin_function"):
        save(model, tmp_path / "model")


def test_a_failed_write_leaves_the_old_file(saved, monkeypatch):
    before = saved.read_bytes()

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        save(RBM(2, n_iter=1).fit(data()), saved)
    assert saved.read_bytes() == before
    assert list(saved.parent.iterdir()) == [saved]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metadata": {"format": "pt"}}, "not one written by harmonium"),
        ({"metadata": {"format_version": "2"}}, "format version 2.*reads up to 1: upgrade"),
        ({"metadata": {"format_version": "x"}}, "damaged header"),
        ({"metadata": {"header": "{"}}, "damaged header"),
        ({"metadata": {"header": "[]"}}, "damaged header"),
        ({"metadata": {"header": "{}"}}, "damaged header.*class"),
        ({"header": {"class": "os.system"}}, "holds a 'os.system'"),
        ({"header": {"class": ["RBM"]}}, "damaged header"),
        ({"header": {"parameters": {"power": 3}}}, "parameters that do not fit.*power"),
        ({"header": {"parameters": {"visible": {"$array": {"dtype": "V8", "values": []}}}}}, "array of 'V8' is none"),
        ({"header": {"attributes": {"transform": 1}}}, "attribute 'transform'"),
        ({"header": {"attributes": {"__class__": 1}}}, "attribute '__class__'"),
        ({"tensors": {"fit": np.zeros(1)}}, "attribute 'fit'"),
    ],
)
def test_a_changed_file_is_refused_in_words(saved, change, message):
    rewrite(saved, **change)
    with pytest.raises(ValueError, match=message):
        load(saved)


def test_other_files_are_refused_in_words(tmp_path):
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path / "missing")
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        save(RBM(2, n_iter=1).fit(data()), tmp_path / "missing" / "model")
    path = tmp_path / "pickle"
    for content in (pickle.dumps(RBM()), b"", b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="not a safetensors file"):
            load(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load(tmp_path)
