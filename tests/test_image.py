"""Patches: those that scikit-learn extracts, cut as they are read, and images put together from them."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.feature_extraction.image import extract_patches_2d as peer_extract
from sklearn.feature_extraction.image import reconstruct_from_patches_2d as peer_reconstruct

import tolerance
from harmonium.image import Patches, extract_patches_2d, reconstruct_from_patches_2d

IMAGE = np.random.default_rng(0).standard_normal((13, 17))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8, bool, np.float16])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (13, 17), (13, 1)])
def test_all_patches_are_scikit_learn_s(dtype, size):
    image = (10 * np.abs(IMAGE)).astype(dtype)
    patches = extract_patches_2d(image, size)
    expected = peer_extract(image, size).reshape(-1, size[0] * size[1])
    wanted = np.float64 if dtype == np.float64 else np.float32
    assert patches.dtype == wanted and patches.shape == expected.shape and len(patches) == len(expected)
    tolerance.same_bits(np.asarray(patches), expected.astype(wanted))
    tolerance.same_bits(np.vstack(list(patches.batches(7))), expected.astype(wanted))


def test_rows_are_indexed_as_those_of_an_array():
    patches = extract_patches_2d([IMAGE, IMAGE[:7, :6], IMAGE[2:12]], (4, 3))
    whole = np.asarray(patches)
    rng = np.random.default_rng(0)
    for rows in (
        0, -1, np.int64(200), slice(3, 9), slice(None, None, -5), slice(400, 500), [5, -3, 5],
        rng.permutation(len(whole)), rng.random(len(whole)) < 0.3, np.array([], int),
    ):  # fmt: skip
        tolerance.same_bits(patches[rows], whole[rows])
    ends = 150 + np.array([-1, 0, 15, 16])  # where one image ends and the next begins
    tolerance.same_bits(patches[ends], whole[ends])
    for wrong in (len(whole), -len(whole) - 1, [0, len(whole)], (0, 1), 1.5, [[1]], [True]):
        with pytest.raises(IndexError):
            patches[wrong]
    assert repr(patches) == f"Patches({len(whole)} of 4 x 3, from 3 images)"
    tolerance.same_bits(np.asarray(patches, dtype=np.float32), whole.astype(np.float32))
    with pytest.raises(ValueError, match="is a copy"):
        patches.__array__(copy=False)


def test_patches_are_drawn_without_replacement():
    stack = np.stack([IMAGE, IMAGE + 100])
    all_of_one = {row.tobytes() for row in np.asarray(extract_patches_2d(IMAGE, (3, 3)))}
    for wanted, n in ((20, 20), (0.25, 41), (10**6, 165), (1, 1), (1e-9, 1)):
        patches = extract_patches_2d(stack, (3, 3), max_patches=wanted, random_state=0)
        assert patches.shape == (2 * n, 9)
        first, second = patches[:n], patches[n:]
        assert first.max() < 50 < second.min()
        drawn = {row.tobytes() for row in first}
        assert len(drawn) == n and drawn <= all_of_one
        again = extract_patches_2d(stack, (3, 3), max_patches=wanted, random_state=0)
        tolerance.same_bits(np.asarray(again), np.asarray(patches))
    other = extract_patches_2d(stack, (3, 3), max_patches=20, random_state=1)
    assert (np.asarray(other)[:20] != extract_patches_2d(stack, (3, 3), max_patches=20, random_state=0)[:20]).any()


def test_margins_and_means():
    inner = extract_patches_2d(IMAGE, (3, 4), margin=2)
    tolerance.same_bits(np.asarray(inner), np.asarray(extract_patches_2d(IMAGE[2:-2, 2:-2], (3, 4))))
    some = extract_patches_2d(IMAGE, (3, 4), margin=2, max_patches=10, random_state=0)
    assert {row.tobytes() for row in np.asarray(some)} <= {row.tobytes() for row in np.asarray(inner)}
    centred = np.asarray(extract_patches_2d(IMAGE, (3, 4), remove_mean=True))
    plain = np.asarray(extract_patches_2d(IMAGE, (3, 4)))
    tolerance.near_sum(centred, plain - plain.mean(axis=1, keepdims=True), np.full(plain.shape, 3.0), 16)
    tolerance.same_bits(plain, np.asarray(extract_patches_2d(IMAGE, (3, 4))))  # the image was not changed


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 12), (13, 17)])
def test_images_come_back(dtype, size):
    image = IMAGE.astype(dtype)
    patches = extract_patches_2d(image, size)
    for given in (patches, np.asarray(patches), patches.batches(11), [np.asarray(patches)]):
        again = reconstruct_from_patches_2d(given, image.shape, size)
        assert again.dtype == dtype
        tolerance.near_sum(again, image, np.abs(image), 2 * size[0] * size[1])
    noise = np.random.default_rng(1).standard_normal(patches.shape).astype(dtype)
    ours = reconstruct_from_patches_2d(noise, image.shape, size)
    peer = peer_reconstruct(noise.reshape(-1, *size).astype(np.float64), image.shape)
    tolerance.near_sum(ours, peer, np.full(image.shape, 4.0), 2 * size[0] * size[1])


def test_only_the_images_are_in_memory():
    """A million patches of 12 x 12 would be 1.15 GB; views of the image are what is kept."""
    image = np.random.default_rng(0).random((1012, 1012))
    patches = extract_patches_2d(image, (12, 12))
    assert len(patches) == 1001**2
    assert isinstance(patches, Patches) and all(np.shares_memory(windows, image) for windows in patches._windows)
    tolerance.same_bits(patches[-1], image[-12:, -12:].ravel())


@pytest.mark.parametrize(
    ("images", "size", "options", "error", "message"),
    [
        (IMAGE[:2], (3, 3), {}, ValueError, "image 0 is 2 x 17, patches of 3 x 3 with a margin of 0 do not fit"),
        (
            [IMAGE, IMAGE[:6]],
            (3, 3),
            {"margin": 2},
            ValueError,
            "image 1 is 6 x 17, patches of 3 x 3 with a margin of 2",
        ),
        (IMAGE[None, None], (3, 3), {}, ValueError, "an array of 4 dimensions"),
        ([IMAGE, IMAGE[None]], (3, 3), {}, ValueError, "image 1 has 3 dimensions"),
        ([], (3, 3), {}, ValueError, "no images"),
        (
            np.where(IMAGE == IMAGE[4, 5], np.nan, IMAGE),
            (3, 3),
            {},
            ValueError,
            "image 0 contains NaN in row 4, column 5",
        ),
        (IMAGE.astype(complex), (3, 3), {}, TypeError, "image 0 is of type complex128"),
        (IMAGE, 3, {}, TypeError, "patch_size=3"),
        (IMAGE, (3, 0), {}, ValueError, "patch_size=0, it must be at least 1"),
        (IMAGE, (3, 3.0), {}, TypeError, "an integer is needed"),
        (IMAGE, (3, 3), {"margin": -1}, ValueError, "margin=-1"),
        (IMAGE, (3, 3), {"max_patches": 0}, ValueError, "max_patches=0, it must be greater than 0"),
        (IMAGE, (3, 3), {"max_patches": 2.5}, ValueError, "max_patches=2.5, an integer or a share below 1"),
        (IMAGE, (3, 3), {"remove_mean": 1}, TypeError, "remove_mean=1"),
    ],
)
def test_bad_input_is_refused(images, size, options, error, message):
    with pytest.raises(error, match=message):
        extract_patches_2d(images, size, **options)


def test_patches_that_make_no_image_are_refused():
    for patches, message in (
        (np.ones((5, 9)), "5 patches, an image of 5 x 5 has 9"),
        (np.ones((10, 9)), r"\(10, 9\) after 0 patches"),
        ([np.ones((5, 9)), np.ones((4, 8))], r"\(4, 8\) after 5 patches"),
        ([], "0 patches"),
    ):
        with pytest.raises(ValueError, match=message):
            reconstruct_from_patches_2d(patches, (5, 5), (3, 3))
