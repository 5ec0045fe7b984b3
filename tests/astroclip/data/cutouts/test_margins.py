"""Cutouts are cropped about their middle, and margins without numbers are filled; holes within are not."""

import numpy as np
import pytest

from polycli.astroclip.data.cutouts.margins import cropped, filled
from polycli.astroclip.data.store import open_objects
from polycli.errors import SourceError


def images(count=5, size=12):
    return np.random.default_rng(0).normal(2, 1, (count, 3, size, size)).astype(np.float32)


@pytest.mark.parametrize(("length", "crop", "first"), [(12, 8, 2), (152, 144, 4), (13, 9, 2), (12, 9, 2), (12, 12, 0)])
def test_the_middle_is_kept(length, crop, first):
    image = np.arange(length * length, dtype=np.float32).reshape(1, 1, length, length)
    np.testing.assert_array_equal(cropped(image, (crop, crop)), image[..., first : first + crop, first : first + crop])


def test_a_margin_at_any_angle_is_filled_and_a_hole_is_not():
    cutouts = images()
    diagonal = np.add.outer(np.arange(12), np.arange(12)) < 6
    cutouts[0, 1, diagonal] = np.nan
    cutouts[0, 1, 8, 8] = np.nan
    cutouts[1, 2, :, :2] = np.inf
    cutouts[2, 0, :, :8] = np.nan
    before = cutouts.copy()
    found = filled(cutouts, 0.5, 0.5)

    expected = before.copy()
    expected[0, 1, diagonal] = 0.5
    expected[1, 2, :, :2] = 0.5
    np.testing.assert_array_equal(found, expected)  # NaN stays in the hole, and in the band that is mostly lost
    np.testing.assert_array_equal(cutouts, before)


def arrays(path, pixels):
    np.savez(path, image=pixels, object_id=np.arange(len(pixels)))
    return path


def test_a_store_is_cropped_and_filled_on_request_and_rejects_without(tmp_path, prepare):
    pixels = images()
    pixels[1, :, :, :2] = np.nan
    file = arrays(tmp_path / "a.npz", pixels)
    prepare("arrays", tmp_path / "plain.zarr", inputs=[file])
    prepare("arrays", tmp_path / "crop.zarr", "images.crop=8", inputs=[file])
    prepare("arrays", tmp_path / "fill.zarr", "images.fill=0", inputs=[file])

    plain, crop, fill = (open_objects(tmp_path / f"{name}.zarr") for name in ("plain", "crop", "fill"))
    assert [entry.id for entry in plain.manifest.rejected] == ["1"]
    assert (len(crop), crop.about.image.size) == (5, (8, 8))
    np.testing.assert_array_equal(crop.read_images(np.arange(5)), pixels[:, :, 2:10, 2:10])
    np.testing.assert_array_equal(fill.read_images(np.arange(5)), np.nan_to_num(pixels))
    assert fill.manifest.options["images"] == {"crop": None, "fill": 0.0}


def test_a_crop_that_is_larger_than_the_cutouts_is_refused(tmp_path, prepare):
    file = arrays(tmp_path / "a.npz", images())
    with pytest.raises(SourceError, match=r"cutouts are 12 x 12 pixels, and images\.crop is 13"):
        prepare("arrays", tmp_path / "s.zarr", "images.crop=13", inputs=[file])


def test_cropped_and_rescaled_images_keep_the_flux_of_the_crop(tmp_path, prepare):
    pixels = images()
    file = arrays(tmp_path / "a.npz", pixels)
    prepare("arrays", tmp_path / "s.zarr", "images.crop=8", "resample.pixel_scale_arcsec=0.524", inputs=[file])

    found = open_objects(tmp_path / "s.zarr").read_images(np.arange(5))
    whole = pixels[:, :, 2:10, 2:10].reshape(5, 3, 4, 2, 4, 2).sum(axis=(3, 5))
    np.testing.assert_allclose(found, whole, rtol=1e-5)
