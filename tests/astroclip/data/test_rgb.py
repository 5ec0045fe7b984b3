"""Nanomaggies to model input, against the published formula and its reference values."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from polycli.astroclip.data.rgb import as_seen, centre_crop, model_input, to_rgb
from polycli.errors import UserError


def published(image: np.ndarray) -> np.ndarray:
    """One (3, H, W) image in g, r, z to (H, W, 3), pixel by pixel in float64, as Lupton et al. 2004 write it."""
    scaled = {band: image[place].astype(float) * factor + 0.03 for place, (band, factor) in enumerate(
        [("g", 6.0), ("r", 3.4), ("z", 2.2)]
    )}  # fmt: skip
    intensity = sum(np.maximum(plane, 0) for plane in scaled.values()) / 3
    stretched = np.arcsinh(20 * intensity) / np.sqrt(20)
    safe = np.where(intensity == 0, 1e-6, intensity)
    return np.stack([np.clip(scaled[band] * stretched / safe, 0, 1) for band in "zrg"], axis=-1)


def relative_error(found, expected):
    return float((found - expected).norm() / expected.norm())


def test_colours_and_input_are_those_of_the_original(shared):
    reference = load_file(shared / "parity" / "astroclip_torgb.safetensors")
    flux = reference["input.flux_nanomaggies_chw"]

    assert relative_error(to_rgb(flux), reference["output.rgb_hwc"].permute(0, 3, 1, 2)) < 1e-6
    # The original turns its stored images, which lie as (x, y), back to (y, x); these here lie as (y, x) already.
    assert relative_error(model_input(flux, 144), reference["output.model_input"].transpose(2, 3)) < 1e-6


@given(st.integers(0, 2**32 - 1), st.floats(-3, 2))
def test_any_flux_follows_the_formula(seed, exponent):
    flux = (np.random.default_rng(seed).standard_normal((3, 5, 4)) * 10**exponent).astype(np.float32)

    found = to_rgb(torch.from_numpy(flux)).permute(1, 2, 0).numpy()

    np.testing.assert_allclose(found, published(flux), atol=3e-6)


def published_by_stein(image: np.ndarray) -> np.ndarray:
    """As `published`, in the order of operations of Stein et al.'s ToRGB: scales + m * fI / I comes first."""
    planes = image[[2, 1, 0]].astype(float)
    scales = np.array([2.2, 3.4, 6.0])[:, None, None]
    intensity = np.maximum(planes * scales + 0.03, 0).sum(axis=0) / 3
    stretched = np.arcsinh(20 * intensity) / np.sqrt(20)
    safe = np.where(intensity == 0, 1e-6, intensity)
    return np.clip(planes * (scales + 0.03 * stretched / safe), 0, 1)


@given(st.integers(0, 2**32 - 1), st.floats(-3, 2))
def test_any_flux_follows_the_order_of_operations_that_stein_trained_with(seed, exponent):
    flux = (np.random.default_rng(seed).standard_normal((3, 5, 4)) * 10**exponent).astype(np.float32)

    found = as_seen(torch.from_numpy(flux), "stein").numpy()

    np.testing.assert_allclose(found, published_by_stein(flux), atol=3e-6)


def test_a_bright_pixel_keeps_its_colour_as_published_and_saturates_with_stein():
    flux = torch.tensor([0.20, 0.36, 0.55])[None, :, None, None]

    colours, saturated = (as_seen(flux, kind).flatten() for kind in ("rgb", "stein"))

    scaled = torch.tensor([0.55 * 2.2, 0.36 * 3.4, 0.20 * 6.0]) + 0.03
    torch.testing.assert_close(colours / colours[0], scaled / scaled[0])
    assert torch.equal(saturated, torch.ones(3))


def test_an_encoder_of_fluxes_sees_nanomaggies_in_g_r_z_however_they_lie():
    flux = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    assert torch.equal(model_input(flux, 8, kind="flux"), flux)
    assert torch.equal(model_input(flux[:, [2, 0, 1]], 4, ("z", "g", "r"), "flux"), flux[:, :, 2:6, 2:6])
    assert torch.equal(as_seen(flux, "stein"), as_seen(flux[:, [2, 0, 1]], "stein", ("z", "g", "r")))


def test_a_pixel_without_light_is_black_not_nan():
    assert torch.equal(to_rgb(torch.full((1, 3, 2, 2), -1.0)), torch.zeros(1, 3, 2, 2))


def test_the_order_of_the_bands_is_a_matter_of_names():
    flux = torch.rand(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))

    assert torch.equal(to_rgb(flux), to_rgb(flux[:, [2, 0, 1]], bands=("z", "g", "r")))


def test_a_crop_from_152_leaves_four_pixels_on_each_side():
    columns = torch.arange(152.0).expand(1, 3, 152, 152)

    cropped = centre_crop(columns, 144)

    assert cropped[0, 0, 0, 0] == 4
    assert cropped[0, 0, 0, -1] == 147


def test_images_with_the_bands_last_are_refused_with_the_line_that_mends_them():
    with pytest.raises(UserError, match=r"\(2, 152, 152, 3\), \(\.\.\., 3, height, width\).*last axis") as refusal:
        to_rgb(torch.zeros(2, 152, 152, 3))
    assert "moveaxis" in str(refusal.value)


@pytest.mark.parametrize("bands", [("g", "r"), ("g", "r", "r"), ("g", "r", "i")])
def test_bands_that_make_no_colours_are_refused(bands):
    with pytest.raises(UserError, match="needs each of g, r, z once"):
        to_rgb(torch.zeros(1, len(bands), 4, 4), bands=bands)


def test_bands_are_found_by_name_in_any_order_and_others_are_not_seen():
    flux = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (6, 4, 5, 5)).astype(np.float32))
    g, r, i, z = flux.unbind(dim=1)
    three = torch.stack([g, r, z], dim=1)

    for kind in ("rgb", "stein", "flux", "asinh"):
        expected = as_seen(three, kind)
        assert torch.equal(as_seen(flux, kind, ("g", "r", "i", "z")), expected)
        assert torch.equal(as_seen(torch.stack([z, i, g, r], dim=1), kind, ("z", "i", "g", "r")), expected)


def test_any_number_of_bands_is_stretched_by_itself_in_the_order_asked_for():
    flux = np.random.default_rng(0).normal(0, 1, (2, 5, 4, 4)).astype(np.float32)
    bands = ("u", "g", "r", "i", "z")
    found = as_seen(torch.from_numpy(flux), "asinh", bands, planes=("i", "u", "z"))

    np.testing.assert_allclose(found, np.arcsinh(20 * flux[:, [3, 0, 4]]) / np.sqrt(20), rtol=1e-5, atol=1e-7)
    with pytest.raises(UserError, match="the bands are u, g, r, i, z; the image encoder needs each of g, y once"):
        as_seen(torch.from_numpy(flux), "flux", bands, planes=("g", "y"))


def test_a_cutout_smaller_than_the_input_is_refused():
    with pytest.raises(UserError, match="cutouts are 96 x 96 pixels, the model's input is 144 x 144"):
        centre_crop(torch.zeros(1, 3, 96, 96), 144)
