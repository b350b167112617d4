"""Displays: the numbers they hold, the places they draw in, and what they refuse."""

import sys

import numpy as np
import pytest

from harmonium import PPCA, RBM, Autoencoder
from harmonium.plot import CodesDisplay, FiltersDisplay, LearningCurveDisplay, ReconstructionDisplay, SamplesDisplay

plt = pytest.importorskip("matplotlib.pyplot")
plt.switch_backend("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture(scope="module")
def rbm():
    X = np.random.default_rng(0).random((40, 12)) < 0.3
    return RBM(5, n_iter=3, random_state=0).fit(X)


def unmasked(display, n_images):
    """Take the picture without its separators, at one pixel a pixel: (n_images, rows, columns)."""
    sheet = display.im_.get_array()
    zoomed = [row.compressed() for row in sheet if row.count()]
    across = len(zoomed[0])
    images = getattr(display, "filters", getattr(display, "images", None))
    _, rows, columns = images.shape
    zoom = len(zoomed) // (rows * n_images)
    assert across == columns * zoom  # one column of images
    return np.reshape(zoomed, (n_images, rows, zoom, columns, zoom))[:, :, 0, :, 0]


def test_filters_are_the_strongest_units_in_order(rbm):
    display = FiltersDisplay.from_estimator(rbm, n_filters=3, image_shape=(3, 4))
    norms = np.linalg.norm(rbm.components_, axis=1)
    assert display.units.tolist() == np.argsort(-norms)[:3].tolist()
    np.testing.assert_array_equal(display.filters, rbm.components_[display.units].reshape(3, 3, 4))
    assert display.figure_ is display.ax_.figure


def test_chosen_units(rbm):
    display = FiltersDisplay.from_estimator(rbm, units=[4, 1], image_shape=(3, 4))
    np.testing.assert_array_equal(display.filters, rbm.components_[[4, 1]].reshape(2, 3, 4))


def test_the_picture_shows_every_value_at_its_place():
    images = np.random.default_rng(0).random((3, 4, 2))
    display = SamplesDisplay(images).plot(n_columns=1)
    np.testing.assert_array_equal(unmasked(display, 3), images)


def test_filter_colours_are_symmetric_about_zero():
    filters = np.array([[[1.0, -4.0]], [[0.5, 0.25]], [[0.0, 0.0]]])
    common = FiltersDisplay(filters).plot(n_columns=1)
    low, high = common.im_.get_clim()
    assert low == -high
    assert 1 < high <= 4
    each = FiltersDisplay(filters).plot(n_columns=1, scale="each")
    assert each.im_.get_clim() == (-1, 1)
    np.testing.assert_array_equal(unmasked(each, 3)[:, 0], [[0.25, -1], [1, 0.5], [0, 0]])
    assert FiltersDisplay(np.zeros((2, 3, 3))).plot().im_.get_clim() == (-1, 1)


def test_samples_are_conditional_means_or_binary(rbm):
    options = {"n_samples": 7, "n_steps": 3, "random_state": 0, "image_shape": (3, 4)}
    rows = rbm.sample(7, n_steps=3, random_state=0)
    binary = SamplesDisplay.from_estimator(rbm, mean=False, **options)
    np.testing.assert_array_equal(binary.images.reshape(7, 12), rows)
    means = SamplesDisplay.from_estimator(rbm, **options)
    expected = rbm.inverse_transform(rbm.transform(rows))
    np.testing.assert_array_equal(means.images.reshape(7, 12), expected)


def test_clamped_pixels_keep_their_value(rbm):
    mask = np.arange(12) < 4
    values = np.random.default_rng(1).random((5, 12)) < 0.5
    display = SamplesDisplay.from_estimator(
        rbm, n_samples=5, n_steps=2, clamp=(mask, values), random_state=0, image_shape=(4, 3)
    )
    np.testing.assert_array_equal(display.images.reshape(5, 12)[:, mask], values[:, mask])


def test_factor_models_are_drawn_too():
    X = np.random.default_rng(0).random((40, 12))
    ppca = PPCA(2, method="em", random_state=0).fit(X)
    rows = ppca.sample(7, random_state=1)
    options = {"n_samples": 7, "random_state": 1, "image_shape": (3, 4)}
    drawn = SamplesDisplay.from_estimator(ppca, mean=False, **options)
    np.testing.assert_array_equal(drawn.images.reshape(7, 12), rows)
    assert FiltersDisplay.from_estimator(ppca, image_shape=(3, 4)).filters.shape == (2, 3, 4)
    assert len(LearningCurveDisplay.from_estimator(ppca).history["log_likelihood"]) == ppca.n_iter_


def test_learning_curve_draws_every_quantity(rbm):
    display = LearningCurveDisplay.from_estimator(rbm, name="fit")
    assert len(display.axes_) == len(rbm.history_)
    for line, values in zip(display.lines_, rbm.history_.values(), strict=True):
        assert line.get_xdata().tolist() == [1, 2, 3]
        np.testing.assert_array_equal(line.get_ydata(), values)
    again = LearningCurveDisplay(rbm.history_, name="other").plot(display.axes_)
    assert all(len(ax.lines) == 2 for ax in again.axes_)


def test_learning_curve_in_given_axes(rbm):
    left, right = plt.figure().subplots(1, 2)
    one = LearningCurveDisplay.from_estimator(rbm, ax=left, quantities="weight_rms")
    assert one.axes_.tolist() == [left]
    divided = LearningCurveDisplay.from_estimator(rbm, ax=right)
    assert len(divided.axes_) == 3
    assert divided.figure_ is right.figure


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda rbm: FiltersDisplay.from_estimator(rbm), "12 features are no square"),
        (lambda rbm: SamplesDisplay.from_estimator(rbm, image_shape=(3, 5)), r"\(3, 5\) does not hold 12"),
        (lambda rbm: SamplesDisplay(np.zeros((3, 4))), r"got \(3, 4\)"),
        (lambda rbm: SamplesDisplay(np.zeros((1, 3, 4))).plot(n_columns=0), "n_columns=0"),
        (lambda rbm: FiltersDisplay(np.zeros((1, 3, 4))).plot(scale="row"), "scale='row'"),
        (lambda rbm: LearningCurveDisplay.from_estimator(rbm, quantities="loss"), "no quantity 'loss'"),
        (lambda rbm: LearningCurveDisplay({}), "empty"),
        (lambda rbm: FiltersDisplay.from_estimator(RBM()), "not fitted"),
    ],
)
def test_refusals_say_why(rbm, draw, message):
    with pytest.raises(ValueError, match=message):
        draw(rbm)


def test_without_matplotlib_the_message_says_how_to_get_it(rbm, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install harmonium\[plot\]"):
        FiltersDisplay.from_estimator(rbm, image_shape=(3, 4))


# -- autoencoders --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def encoder():
    X = np.random.default_rng(0).random((60, 12))
    return Autoencoder((5, 2), max_iter=3, random_state=0).fit(X), X


def test_reconstructions_stand_below_the_images(encoder):
    model, X = encoder
    display = ReconstructionDisplay.from_estimator(
        model, X[:7], others={"again": model}, image_shape=(3, 4), name="one"
    )
    assert list(display.reconstructions) == ["one", "again"]
    assert np.array_equal(display.reconstructions["one"], model.reconstruct(X[:7]).reshape(-1, 3, 4))
    assert [text.get_text() for text in display.ax_.texts] == ["data", "one", "again"]
    with pytest.raises(ValueError, match=r"'a' is \(2, 3, 4\), the images are \(3, 3, 4\)"):
        ReconstructionDisplay(np.zeros((3, 3, 4)), {"a": np.zeros((2, 3, 4))})


def test_codes_have_one_colour_a_class(encoder):
    model, X = encoder
    labels = np.arange(60) % 3
    display = CodesDisplay.from_estimator(model, X, labels)
    assert len(display.points_) == 3
    shown = np.concatenate([points.get_offsets() for points in display.points_])
    assert np.array_equal(np.sort(shown[:, 0]), np.sort(model.transform(X)[:, 0]))
    with pytest.raises(ValueError, match=r"codes are \(60, 12\), two columns are needed"):
        CodesDisplay(X)


def test_filters_and_curves_of_an_autoencoder(encoder):
    model, _ = encoder
    assert FiltersDisplay.from_estimator(model, image_shape=(3, 4)).filters.shape == (5, 3, 4)
    assert list(LearningCurveDisplay.from_estimator(model).history) == ["loss", "learning_rate"]
