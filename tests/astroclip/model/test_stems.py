"""Stems of convolutions: what a token sees, what it must not see, and how much that costs."""

import json

import numpy as np
import pyarrow.parquet as parquet
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file, save_file

from polycli.__main__ import run as command_line
from polycli.astroclip import load_model
from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.masking import chunk_mask, hide
from polycli.astroclip.model.specformer import SpecFormer
from polycli.astroclip.model.stems import patch_layers, prime_factors, signal_share
from polycli.astroclip.model.vision_transformer import VisionTransformer
from polycli.astroclip.recipe.model import ImageSection, ModelSection, SpectrumSection, TemplateSection
from polycli.astroclip.scoring.reconstruction import seen_pixels
from polycli.errors import CheckpointError

IMAGE = {"embed_dim": 16, "depth": 1, "num_heads": 2, "stem": "convolution"}
SPECTRUM = {"embed_dim": 16, "depth": 1, "num_heads": 2, "section_length": 24, "section_step": 12}
BOTH = ("ivar", "mask")
TEMPLATES = TemplateSection(count=4, highest_redshift=0.2, log_step=4e-3)


def specformer(**changes):
    torch.manual_seed(0)
    return SpecFormer(SpectrumSection(**SPECTRUM | {"stem": "convolution"} | changes)).eval()


def vit(size, patch_size):
    torch.manual_seed(0)
    return VisionTransformer(ImageSection(size=size, patch_size=patch_size, **IMAGE)).eval()


@pytest.fixture
def spectra():
    """Three of 400 pixels: flux, inverse variance (some of it zero) and mask."""
    generator = torch.Generator().manual_seed(0)
    ivar = torch.rand(3, 400, generator=generator)
    ivar[:, ::7] = 0
    return torch.randn(3, 400, generator=generator) + 3, ivar, torch.rand(3, 400, generator=generator) < 0.1


def test_each_piece_of_a_spectrum_is_embedded_by_itself(spectra):
    model = specformer(inputs=BOTH)
    tokens, context = model.tokens(spectra[0]), model.context(*spectra)
    changed = tokens.clone()
    changed[:, 5, 2:] += 1

    before, after = model.data_embed(tokens, context), model.data_embed(changed, context)

    moved = (before - after).abs().amax(dim=2) > 1e-5
    assert moved[:, 5].all()
    assert moved.sum() == 3


def test_the_first_token_is_embedded_from_mean_and_deviation(spectra):
    model = specformer()
    brighter = model.tokens(spectra[0] + 1)

    before, after = model.data_embed(model.tokens(spectra[0]), {}), model.data_embed(brighter, {})

    assert ((before - after)[:, 0].abs() > 1e-5).any(dim=1).all()
    torch.testing.assert_close(before[:, 1:], after[:, 1:], atol=1e-4, rtol=0)


def test_pixels_without_an_inverse_variance_change_nothing(spectra):
    model = specformer(inputs=("ivar",))
    tokens, context = model.tokens(spectra[0]), model.context(*spectra)
    unknown = torch.nn.functional.pad(context["ivar"] == 0, (2, 0))
    unknown[:, 0] = unknown[:, :, :2] = False
    changed = torch.where(unknown, 1e4, tokens)

    assert unknown.any()
    assert torch.equal(model.encode(changed, context), model.encode(tokens, context))
    assert not torch.equal(specformer().encode(changed), specformer().encode(tokens))


def test_a_pixel_counts_by_the_share_of_its_variance_that_is_not_noise():
    # Signal to noise of 0, 1, 3, very much, and more than has a square in float32: 0 of 1, 1 of 2, 9 of 10, all, all.
    ratio = torch.tensor([0.0, 1.0, 3.0, 1e6, 1e30])

    torch.testing.assert_close(signal_share(ratio.log1p()), torch.tensor([0.0, 0.5, 0.9, 1.0, 1.0]))


def test_a_hidden_stretch_tells_the_encoder_nothing_of_its_pixels(spectra):
    model, pixels = specformer(inputs=BOTH), 400
    flux, ivar, mask = spectra
    hidden = chunk_mask(keys_of(0, torch.arange(3)), model.tokens(flux).shape[1], chunks=3, chunk_length=6)
    hidden[:, 0] = False
    unseen = ~seen_pixels(~hidden, model.section, pixels)
    # Turned round within what no token shows, the flux has the mean and the deviation that it had.
    turned = flux.clone()
    for before, after, places in zip(flux, turned, unseen, strict=True):
        after[places] = before[places].flip(0)

    seen = [(hide(model.tokens(values), hidden), model.context(values, ivar, mask)) for values in (flux, turned)]

    assert ((flux != turned).sum(dim=1) > 100).all()
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(model.encode(*seen[0]), model.encode(*seen[1]))


def test_inputs_besides_the_flux_matter(spectra):
    model, (flux, ivar, mask) = specformer(inputs=BOTH), spectra

    before = model(flux, ivar, mask)

    assert not torch.allclose(model(flux, 4 * ivar, mask), before, atol=1e-3)
    assert not torch.allclose(model(flux, ivar, ~mask), before, atol=1e-3)


@pytest.mark.parametrize("patch_size", [12, 8, 7, 5])
def test_there_is_one_token_to_each_patch(patch_size):
    model = vit(4 * patch_size, patch_size)

    assert model.patch_embed(torch.rand(2, 3, 4 * patch_size, 4 * patch_size)).shape == (2, 16, 16)
    assert model.patch_embed(torch.rand(1, 3, 2 * patch_size, 3 * patch_size)).shape == (1, 6, 16)


@pytest.mark.parametrize("patch_size", [12, 7])
def test_an_image_shifted_by_a_patch_has_shifted_tokens(patch_size):
    model, side = vit(6 * patch_size, patch_size), 6
    image = torch.rand(1, 3, side * patch_size, side * patch_size)

    before, after = (
        model.patch_embed(rgb).view(side, side, -1)
        for rgb in (image, image.roll((patch_size, patch_size), dims=(2, 3)))
    )

    # A token sees less than a patch beyond its own: the outer ones see what came round, or the border.
    torch.testing.assert_close(after[2:-1, 2:-1], before[1:-2, 1:-2])
    assert not torch.allclose(after[2:-1, 2:-1], before[2:-1, 2:-1], atol=1e-3)


def test_the_steps_of_the_convolutions_make_a_patch_and_their_widths_rise():
    for patch_size in range(2, 40):
        layers = patch_layers(patch_size, 384)
        assert np.prod([layer.step for layer in layers]) == patch_size
        assert layers[0].inputs == 3
        assert layers[-1].outputs == 384
    assert [layer.outputs for layer in patch_layers(12, 384)] == [96, 192, 384]
    assert prime_factors(12) == [2, 2, 3]


@pytest.mark.parametrize("length", [20, 4])
def test_pieces_that_the_convolutions_do_not_divide_are_refused(length):
    with pytest.raises(ValidationError, match=f"section_length {length}: convolutions need a multiple of 8"):
        SpectrumSection(section_length=length, section_step=4, stem="convolution")


def test_patches_of_one_pixel_are_refused():
    with pytest.raises(ValidationError, match="patch_size 1: convolutions need at least 2"):
        ImageSection(patch_size=1, stem="convolution")


@pytest.fixture(scope="module")
def convolved(make_model):
    """An exported pair whose stems are convolutions; the spectrum's has templates too, and sees what there is."""
    return make_model(
        "convolved",
        image=ImageSection(size=48, **IMAGE),
        spectrum=SpectrumSection(**SPECTRUM, stem="convolution", inputs=BOTH, templates=TEMPLATES),
    )


def test_a_checkpoint_is_read_back_as_it_was(convolved, tmp_path):
    model = load_model(convolved)
    torch.manual_seed(0)
    written = AstroClip(ModelSection.model_validate(json.loads((convolved.parent / "model.json").read_text())["model"]))

    assert (model.section.image.stem, model.section.spectrum.stem) == ("convolution", "convolution")
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in written.state_dict().items())
    images = torch.rand(2, 3, 48, 48)
    assert torch.equal(model.embed_image(images), written.eval().embed_image(images))
    spectra = torch.rand(2, 7781), torch.rand(2, 7781), torch.rand(2, 7781) < 0.1
    assert torch.equal(model.embed_spectrum(*spectra), written.embed_spectrum(*spectra))

    alone = tmp_path / "alone.safetensors"
    save_file(load_file(convolved), alone)  # as files of other tools are, which do not say what they hold
    with pytest.raises(CheckpointError, match=r"are read with their model\.json alone"):
        load_model(alone)


def test_templates_alone_are_told_from_a_published_encoder(make_model, tmp_path):
    path = make_model("linear-templates", spectrum=SpectrumSection(**SPECTRUM, inputs=BOTH, templates=TEMPLATES))
    alone = tmp_path / "alone.safetensors"
    save_file(load_file(path), alone)
    with pytest.raises(CheckpointError, match=r"templates are read with their model\.json alone"):
        load_model(alone)


def test_the_command_line_embeds_and_predicts_by_it(convolved, tmp_path, mock_store):
    words = ["--checkpoint", str(convolved), "--data", str(mock_store), "--limit", "5"]
    assert command_line(["embed", "astroclip", *words, "--output", str(tmp_path / "vectors.parquet")]) == 0
    reference = ["--set", f"reference=[{mock_store}]", "--set", "properties=[redshift]", "--set", "neighbours=3"]
    assert command_line(["predict", "astroclip", *words, *reference, "--output", str(tmp_path / "z.parquet")]) == 0

    vectors = parquet.read_table(tmp_path / "vectors.parquet")["spectrum_embedding"].to_pylist()
    assert np.isfinite(vectors).all()
    assert np.std(vectors, axis=0).max() > 1e-4
    assert np.isfinite(parquet.read_table(tmp_path / "z.parquet")["redshift"].to_numpy()).all()
