"""What a training reads of each object."""

import pytest

from polycli.astroclip.sections import (
    AugmentationSection,
    HeadSection,
    ImageSection,
    ModelSection,
    PropertySection,
    SpectrumSection,
)
from polycli.astroclip.tasks import needs_of
from polycli.astroclip.training_recipe import FinetuneRecipe, PretrainRecipe
from polycli.sections import TrainSection

TRAIN = TrainSection(steps=1, global_batch_size=1, micro_batch_size=1)
IMAGE, SPECTRUM = ImageSection(), SpectrumSection()
SEEING = SpectrumSection(inputs=("ivar", "mask"))
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
        family="astroclip", verb="finetune", model=model, freeze=freeze, augmentation=augmentation, train=TRAIN
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


def test_what_there_is_an_encoder_for_is_read():
    recipe = pretraining("align", AugmentationSection(), **BOTH | {"spectrum": SEEING})
    needs = needs_of(recipe)

    assert (needs.image, needs.spectrum, needs.mask) == (True, True, True)
    alone = needs_of(finetuning(freeze=False, augmentation=NOISIER, modality="image"))
    assert (alone.image, alone.spectrum, alone.mask) == (True, False, False)
