"""What is kept out, and why."""

import numpy as np
import pytest

from polycli.astroclip.data.description import QUALITY_BITS
from polycli.astroclip.data.judging.quality import judge
from polycli.astroclip.data.source import Payload
from polycli.astroclip.recipe.preparing import QualitySection

LIMITS = QualitySection()


def _spectra(count: int = 1, pixels: int = 10) -> Payload:
    shape = (count, pixels)
    return Payload(
        spectrum=np.full(shape, 2, np.float32), ivar=np.ones(shape, np.float32), mask=np.zeros(shape, np.bool_)
    )


def _images(count: int = 1) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((count, 3, 4, 4)).astype(np.float32)


def test_good_objects_have_no_reason_and_no_flag():
    payload = _spectra(2)
    verdict = judge(Payload(_images(2), payload.spectrum, payload.ivar, payload.mask), ("g", "r", "z"), LIMITS)

    assert verdict.reasons == [None, None]
    assert verdict.flags.tolist() == [0, 0]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda p: p.ivar.fill(0), "no valid pixel"),
        (lambda p: p.mask.fill(True), "no valid pixel"),
        (lambda p: p.spectrum.__setitem__((0, 3), np.nan), "non-finite value: 1 pixels of the spectrum"),
        (lambda p: p.ivar.__setitem__((0, slice(2)), np.inf), "non-finite value: 2 pixels"),
        (lambda p: p.ivar.__setitem__((0, 1), -1), "negative inverse variance"),
        (lambda p: p.spectrum.fill(0), "no signal"),
        (lambda p: p.mask.__setitem__((0, slice(6)), True), "masked: 60% of the pixels, 50% is the limit"),
    ],
)
def test_a_bad_spectrum_is_kept_out_with_its_reason(change, reason):
    payload = _spectra()
    change(payload)

    assert judge(payload, (), LIMITS).reasons[0].startswith(reason)


def test_what_is_masked_may_be_anything_and_is_stored_finite():
    payload = _spectra()
    payload.spectrum[0, :2] = np.nan, np.inf
    payload.mask[0, :2] = True
    verdict = judge(payload, (), LIMITS)

    assert verdict.reasons == [None]
    assert verdict.payload.spectrum[0, :2].tolist() == [0, 0]
    assert verdict.payload.ivar[0, :2].tolist() == [0, 0]
    assert verdict.flags[0] == QUALITY_BITS["spectrum_partly_masked"]


def test_a_pixel_without_variance_counts_as_masked():
    payload = _spectra()
    payload.ivar[0, 4] = 0

    assert judge(payload, (), LIMITS).payload.mask[0].tolist() == [False] * 4 + [True] + [False] * 5


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda image: image.__setitem__((0, 1), np.nan), "missing band: r has no finite pixel"),
        (lambda image: image.__setitem__((0, 2), 0), "missing band: 100% of the pixels in z are exactly 0"),
        (lambda image: image.__setitem__((0, 0, 1, 1), np.inf), "non-finite value: 1 pixels of the image in g"),
        (
            lambda image: image.__setitem__((0, 0, 1, 0), np.nan),
            "non-finite value: 1 pixels of the image in g, up to its border: images.fill=0 fills such margins",
        ),
        # A band of which most is missing is not filled either.
        (
            lambda image: image.__setitem__((0, 0, slice(1, None)), np.nan),
            "non-finite value: 12 pixels of the image in g",
        ),
    ],
)
def test_a_bad_image_is_kept_out_with_its_reason(change, reason):
    images = _images()
    change(images)

    assert judge(Payload(image=images), ("g", "r", "z"), LIMITS).reasons == [reason]
