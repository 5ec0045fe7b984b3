"""What a training reads of each object."""

from types import SimpleNamespace

import pytest

from polycli.astroclip.data.store import open_objects
from polycli.astroclip.recipe.model import (
    AugmentationSection,
    HeadSection,
    ImageSection,
    ModelSection,
    PropertySection,
    SpectrumSection,
    TemplateSection,
)
from polycli.astroclip.recipe.training import FinetuneRecipe, MaskingSection, PretrainRecipe
from polycli.astroclip.training.batches import descriptions
from polycli.astroclip.training.stages import check_templates, needs_of
from polycli.errors import RecipeError, StoreError
from polycli.sections import TrainSection

TRAIN = TrainSection(steps=1, global_batch_size=1, micro_batch_size=1)
IMAGE, SPECTRUM = ImageSection(), SpectrumSection()
SEEING = SpectrumSection(inputs=("ivar", "mask"))
FITTING = SpectrumSection(inputs=("ivar",), templates=TemplateSection())
NOISIER = AugmentationSection(spectrum_noise=1.0)
SCALED = AugmentationSection(spectrum_scale=0.3)


def pretraining(stage, augmentation, **sections):
    return PretrainRecipe(
        family="astroclip",
        verb="pretrain",
        stage=stage,
        model=ModelSection(**sections),
        augmentation=augmentation,
        train=TRAIN,
    )


def finetuning(freeze, augmentation, modality="spectrum"):
    properties = PropertySection(modalities=(modality,), regression=("redshift",))
    encoder = {"image": IMAGE} if modality == "image" else {"spectrum": SPECTRUM}
    model = ModelSection(properties=properties, **encoder)
    return FinetuneRecipe(
        family="astroclip",
        verb="finetune",
        checkpoint="trained" if freeze else None,
        model=model,
        freeze=freeze,
        augmentation=augmentation,
        train=TRAIN,
    )


BOTH = {"image": IMAGE, "spectrum": SPECTRUM, "heads": HeadSection()}


@pytest.mark.parametrize(
    ("recipe", "ivar"),
    [
        (pretraining("align", AugmentationSection(), **BOTH), False),
        (pretraining("align", SCALED, **BOTH), False),
        (pretraining("align", NOISIER, **BOTH), True),
        (pretraining("align", AugmentationSection(), **BOTH | {"spectrum": SEEING}), True),
        (pretraining("spectrum", NOISIER, spectrum=SPECTRUM), False),
        (pretraining("spectrum", AugmentationSection(), spectrum=SEEING), True),
        (pretraining("image", NOISIER, image=IMAGE), False),
        (finetuning(freeze=False, augmentation=NOISIER), True),
        (finetuning(freeze=False, augmentation=SCALED), False),
        (finetuning(freeze=True, augmentation=NOISIER), False),
        (finetuning(freeze=False, augmentation=NOISIER, modality="image"), False),
    ],
)
def test_inverse_variances_are_read_where_the_encoder_sees_them_or_noise_is_added(recipe, ivar):
    assert needs_of(recipe).ivar == ivar


def test_spectra_of_unknown_noise_are_refused_where_it_matters_and_nowhere_else(mock_store):
    spectrum = open_objects(mock_store).about.spectrum.model_copy(update={"ivar": "unknown"})
    store = SimpleNamespace(path="published.zarr", about=SimpleNamespace(image=None, spectrum=spectrum))
    weighing = pretraining("spectrum", AugmentationSection(), spectrum=SEEING)
    weighing = weighing.model_copy(update={"masking": MaskingSection(weight="ivar")})
    fitting = pretraining("spectrum", AugmentationSection(), spectrum=FITTING)

    for recipe in (finetuning(freeze=False, augmentation=NOISIER), weighing, fitting):
        with pytest.raises(StoreError, match=r"published\.zarr: how noisy its spectra are is unknown"):
            descriptions([store], needs_of(recipe))
    for recipe in (
        finetuning(freeze=True, augmentation=NOISIER),
        finetuning(freeze=False, augmentation=SCALED),
        pretraining("spectrum", NOISIER, spectrum=SEEING),
    ):
        assert descriptions([store], needs_of(recipe)) == (None, spectrum)


def test_what_there_is_an_encoder_for_is_read():
    recipe = pretraining("align", AugmentationSection(), **BOTH | {"spectrum": SEEING})
    needs = needs_of(recipe)

    assert (needs.image, needs.spectrum, needs.mask) == (True, True, True)
    alone = needs_of(finetuning(freeze=False, augmentation=NOISIER, modality="image"))
    assert (alone.image, alone.spectrum, alone.mask) == (True, False, False)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"first": 3800.0}, r"templates\.first is 3600 A, the spectra have 3800 A"),
        ({"step": 1.0}, r"templates\.step is 0\.8 A, the spectra have 1 A"),
        ({"step": None}, "do not rise in even steps"),
    ],
)
def test_templates_for_other_wavelengths_are_refused(mock_store, changes, words):
    grid = open_objects(mock_store).about.spectrum
    model = ModelSection(spectrum=SpectrumSection(inputs=("ivar",), templates=TemplateSection()))
    check_templates(model, SimpleNamespace(spectrum=grid))
    with pytest.raises(RecipeError, match=words):
        check_templates(model, SimpleNamespace(spectrum=grid.model_copy(update=changes)))
