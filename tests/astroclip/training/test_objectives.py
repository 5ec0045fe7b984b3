"""What each stage minimises: weights of pixels, and spectra that change in training alone."""

import pytest
import torch

from polycli.astroclip.data.augmentations import augmented_spectrum
from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.data.rgb import as_seen
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.masking import chunk_mask
from polycli.astroclip.recipe.model import (
    AugmentationSection,
    HeadSection,
    ImageSection,
    ModelSection,
    PropertySection,
    SpectrumSection,
)
from polycli.astroclip.recipe.training import AlignSection, MaskingSection
from polycli.astroclip.training.contrastive import info_nce
from polycli.astroclip.training.objectives import Alignment, MaskedModelling, PropertyFit, input_view, spectrum_view

SEEING = SpectrumSection(embed_dim=8, depth=1, num_heads=2, section_length=16, section_step=8, inputs=("ivar",))
IMAGE = ImageSection(size=24, embed_dim=8, depth=1, num_heads=2)
CHANGED = AugmentationSection(
    flip=0, rotation="none", crop="centre", blur=(0,), noise=(0,), spectrum_noise=1.0, spectrum_scale=0.3
)
TURNED = CHANGED.model_copy(update={"flip": 0.5, "noise": (1.0,), "spectrum_gaps": 0.3})
STILL = CHANGED.model_copy(update={"spectrum_noise": 0.0, "spectrum_scale": 0.0})


@pytest.fixture
def batch():
    """Three objects with all that a stage looks at."""
    generator = torch.Generator().manual_seed(0)
    ivar = 3 * torch.rand(3, 200, generator=generator)
    ivar[:, ::5] = 0
    return {
        "image": 0.1 * torch.randn(3, 3, 24, 24, generator=generator),
        "flux": torch.randn(3, 200, generator=generator) + 3,
        "ivar": ivar,
        "keys": keys_of(0, torch.arange(3)),
        "numbers": torch.ones(3, 1),
        "classes": torch.zeros(3, 0).long(),
    }


def network(**sections):
    torch.manual_seed(0)
    return AstroClip(ModelSection(spectrum=SEEING, **sections))


@pytest.mark.parametrize("kind", ["rgb", "stein", "flux"])
def test_training_and_validation_show_the_network_what_its_section_names(batch, kind):
    model = network(image=IMAGE.model_copy(update={"input": kind}))
    expected = as_seen(batch["image"], kind)

    for augmentation in (STILL, None):
        found = input_view(model, batch["image"], batch["keys"], augmentation, bands=("g", "r", "z"))
        assert torch.equal(found, expected)


def test_each_hidden_pixel_counts_by_the_share_of_its_variance_that_is_not_noise(batch):
    model, section = network(), MaskingSection(chunks=2, chunk_length=5, weight="ivar")

    loss, _ = MaskedModelling(model, section)(batch)

    backbone = model.spectrum_encoder.backbone
    tokens = backbone.tokens(batch["flux"])
    hidden = chunk_mask(batch["keys"], tokens.shape[1], chunks=2, chunk_length=5)
    context = backbone.context(batch["flux"], batch["ivar"], None)
    guess = backbone.reconstruct(backbone.encode(tokens * ~hidden[:, :, None], context)).detach()
    total = weights = 0.0
    for row, (flux, ivar) in enumerate(zip(batch["flux"], batch["ivar"], strict=True)):
        signal = flux.var() * ivar
        for token in range(1, tokens.shape[1]):
            if hidden[row, token]:
                share = (signal / (1 + signal))[8 * (token - 1) :][:16]
                error = guess[row, token, 2:] - tokens[row, token, 2:]
                total, weights = total + float((share * error**2).sum()), weights + float(share.sum())
    assert float(loss.detach()) == pytest.approx(total / weights, rel=1e-5)


def test_spectra_are_aligned_as_another_observation_has_them_and_validated_as_they_are(batch):
    heads = HeadSection(embed_dim=8, num_heads=2, dropout=0)
    model = network(image=IMAGE, heads=heads)
    changed, still = (
        Alignment(model, AlignSection(), augmentation, bands="grz", chunk_size=3) for augmentation in (CHANGED, STILL)
    )
    flux, ivar, _ = augmented_spectrum(batch["flux"], batch["ivar"], None, batch["keys"], CHANGED)

    loss = changed.train()(batch)[0]

    torch.testing.assert_close(loss, still.train()({**batch, "flux": flux, "ivar": ivar})[0])
    assert not torch.allclose(loss, still(batch)[0])
    seen = [objective.eval()(batch)[1]["other"] for objective in (changed, still)]
    assert torch.equal(*seen)


def test_views_of_one_modality_are_compared_by_their_weights(batch):
    heads = HeadSection(embed_dim=8, num_heads=2, dropout=0)
    model = network(image=IMAGE, heads=heads)

    def loss(chunk_size=3, **weights):
        objective = Alignment(model, AlignSection(**weights), TURNED, bands="grz", chunk_size=chunk_size).train()
        return objective(batch)

    alone, nothing = loss()
    both, metrics = loss(within_image=0.5, within_spectrum=2.0)
    chunked = loss(chunk_size=2, within_image=0.5, within_spectrum=2.0)[0]

    assert nothing == {}
    torch.testing.assert_close(metrics["across"], alone.detach())
    torch.testing.assert_close(both, alone + 0.5 * metrics["within_image"] + 2 * metrics["within_spectrum"])
    torch.testing.assert_close(chunked, both)
    with torch.no_grad():
        views = [spectrum_view(batch, TURNED, view=view) for view in (0, 1)]
        expected = info_nce(*(model.embed_spectrum(*view) for view in views), AlignSection().scale).mean()
        views = [input_view(model, batch["image"], batch["keys"], TURNED, bands="grz", view=view) for view in (0, 1)]
        turned = info_nce(*(model.embed_image(view) for view in views), AlignSection().scale).mean()
    torch.testing.assert_close(metrics["within_spectrum"], expected)
    torch.testing.assert_close(metrics["within_image"], turned)
    assert not torch.equal(*views)


def test_finetuned_encoders_see_other_observations_in_training_alone(batch):
    properties = PropertySection(modalities=("spectrum",), regression=("a",), hidden=(), dropout=0, source="backbone")
    model = network(properties=properties)
    changed, still = (PropertyFit(model, augmentation, bands="grz") for augmentation in (CHANGED, STILL))
    spectra = {name: values for name, values in batch.items() if name != "image"}

    assert not torch.allclose(changed.train()(spectra)[0], still.train()(spectra)[0])
    assert torch.equal(changed.eval()(spectra)[0], still.eval()(spectra)[0])
