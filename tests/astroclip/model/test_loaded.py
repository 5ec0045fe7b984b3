"""A checkpoint as other verbs meet it: what its data were, and that other data are refused."""

import pytest

from polycli.astroclip.data.description import SurveyDescription
from polycli.astroclip.model.loaded import PUBLISHED_IMAGES, PUBLISHED_SPECTRA, load_checkpoint
from polycli.astroclip.recipe.model import SpectrumSection
from polycli.errors import CheckpointError, StoreError


def survey(**changes):
    parts = {"image": PUBLISHED_IMAGES, "spectrum": PUBLISHED_SPECTRA, **changes}
    return SurveyDescription(object_id="int64", id_name="TARGETID", properties=(), **parts)


@pytest.fixture
def published(shared):
    """The published pair, whose file says nothing of its data."""
    return load_checkpoint(shared / "parity" / "astroclip.ckpt", quiet=True, vit_heads=4, n_head=4, spectrum_heads=4)


def test_a_published_file_is_taken_for_what_it_was_trained_on(published):
    assert (published.image, published.spectrum) == (PUBLISHED_IMAGES, PUBLISHED_SPECTRA)
    assert published.stage is None
    assert published.trained_on == {}
    assert len(published.model_hash) == 64
    published.check(survey(), "survey.zarr")


def test_bands_are_found_by_name_whatever_their_order_and_what_lies_between(published):
    published.check(survey(image=PUBLISHED_IMAGES.model_copy(update={"bands": ("z", "i", "r", "g")})), "survey.zarr")


def test_a_file_of_one_modality_looks_at_that_one_alone(shared):
    loaded = load_checkpoint(shared / "parity" / "specformer.ckpt", quiet=True)

    assert loaded.image is None
    loaded.check(survey(image=PUBLISHED_IMAGES.model_copy(update={"bands": ("i",)})), "survey.zarr")


def test_sizes_and_unmeasured_variances_do_not_matter(published):
    large = PUBLISHED_IMAGES.model_copy(update={"size": (256, 256)})
    spectra = PUBLISHED_SPECTRA.model_copy(update={"ivar": "unknown"})

    published.check(survey(image=large, spectrum=spectra), "survey.zarr")


@pytest.mark.parametrize("stem", ["linear", "convolution"])
def test_unmeasured_variances_are_refused_by_an_encoder_that_sees_them(make_model, stem):
    section = SpectrumSection(
        embed_dim=12, depth=1, num_heads=2, section_length=24, section_step=12, stem=stem, inputs=("ivar",)
    )
    loaded = load_checkpoint(make_model("seeing", image=None, heads=None, spectrum=section), quiet=True)
    unknown = PUBLISHED_SPECTRA.model_copy(update={"ivar": "unknown"})

    loaded.check(survey(), "survey.zarr")
    with pytest.raises(StoreError, match=r"survey\.zarr: spectra with ivar unknown, measured was expected"):
        loaded.check(survey(spectrum=unknown), "survey.zarr")


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("image", {"bands": ("g", "r", "i")}, "images without band z, of g, r, z that are needed; they have g, r, i"),
        ("image", {"pixel_scale_arcsec": 0.5}, "pixel scale arcsec 0.5, 0.262 was expected"),
        ("spectrum", {"pixels": 4000}, "spectra with pixels 4000, 7781 was expected"),
        ("spectrum", {"frame": "rest"}, "spectra with frame rest, observed was expected"),
    ],
)
def test_other_bands_scales_and_wavelengths_are_refused_in_a_sentence(published, part, changes, message):
    other = {"image": PUBLISHED_IMAGES, "spectrum": PUBLISHED_SPECTRA}[part].model_copy(update=changes)

    with pytest.raises(StoreError, match=message) as refusal:
        published.check(survey(**{part: other}), "survey.zarr")
    assert refusal.value.message.startswith("survey.zarr: ")
    assert "prepare" in str(refusal.value)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        load_checkpoint(tmp_path / "nothing")
