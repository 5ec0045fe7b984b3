"""Templates: what they compute, what they must not see, and that they tell redshifts apart."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.masking import chunk_mask, masked_error
from polycli.astroclip.model.specformer import SpecFormer
from polycli.astroclip.model.templates import Fit, Templates
from polycli.astroclip.recipe.model import ModelSection, SpectrumSection, TemplateSection
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.training.objectives import MaskedModelling, freeze_what_heads_do_not_see
from polycli.errors import CheckpointError, UserError

SECTION = TemplateSection(count=3, highest_redshift=0.3, log_step=2e-3, first=4000.0, last=6000.0, step=4.0)
PIXELS = 501
WAVELENGTH = SECTION.first + SECTION.step * torch.arange(PIXELS, dtype=torch.float64)


@pytest.fixture
def templates():
    torch.manual_seed(0)
    return Templates(SECTION, 16).eval()


def galaxy(redshift, scale=1.0):
    """(pixels,) a continuum with three lines."""
    flux = 2 + (WAVELENGTH - 5000) / 4000
    for line, height in ((3727.0, 4.0), (4341.0, 3.0), (4861.0, 5.0)):
        flux = flux + height * torch.exp(-0.5 * ((WAVELENGTH / (1 + redshift) - line) / 12) ** 2)
    return (scale * flux).float()


def test_the_axis_covers_the_spectrum_and_the_redshifts():
    top = SECTION.first * np.exp(SECTION.bins * SECTION.log_step)
    assert SECTION.last < top < SECTION.last + SECTION.step + 2 * SECTION.log_step * SECTION.last
    assert 0 <= np.expm1(SECTION.shifts * SECTION.log_step) - SECTION.highest_redshift < 2e-3 * 1.3


def test_correlations_are_sums_over_shifted_filters(templates):
    lines = torch.randn(2, SECTION.bins)

    found = templates.correlation(lines)

    assert found.shape == (2, SECTION.count, SECTION.shifts)
    for place, shift in ((0, SECTION.shifts), (7, SECTION.shifts - 7), (SECTION.shifts - 1, 1)):
        direct = lines.double() @ templates.filters[:, shift : shift + SECTION.bins].double().T
        torch.testing.assert_close(found[:, :, place].double(), direct, atol=1e-5, rtol=1e-5)


def test_patterns_lie_where_filters_fit(templates):
    places = torch.rand(2, SECTION.shifts).softmax(dim=1)
    strengths = torch.randn(2, SECTION.count)

    found = templates.reconstruction(Fit(places, strengths))

    expected = torch.zeros(2, SECTION.bins, dtype=torch.float64)
    mixed = (strengths @ templates.patterns).double()
    for place in range(SECTION.shifts):
        shift = SECTION.shifts - place
        expected += places[:, place, None] * mixed[:, shift : shift + SECTION.bins]
    torch.testing.assert_close(found.double(), expected, atol=1e-5, rtol=1e-5)


def test_a_filter_fits_best_at_the_redshift(templates):
    ivar = torch.full((1, PIXELS), 400.0)
    rest = templates.lines(galaxy(0.0)[None], ivar)
    with torch.no_grad():
        templates.filters.zero_()
        # The filter begins at the wavelength that the highest redshift brings to the first pixel.
        templates.filters[:, SECTION.shifts :] = rest.values[0] * rest.share[0]
    for redshift in (0.05, 0.1, 0.2):
        lines = templates.lines(galaxy(redshift)[None], ivar)
        place = templates.correlation(lines.values * lines.share)[0, 0].argmax().item()
        assert place * SECTION.log_step == pytest.approx(np.log1p(redshift), abs=1.5 * SECTION.log_step)


def test_masked_modelling_finds_redshifts_without_labels():
    torch.manual_seed(0)
    redshifts = 0.05 + 0.15 * torch.rand(256)  # a constant is free: not up to the ends
    flux = torch.stack([galaxy(float(redshift)) for redshift in redshifts])
    flux = (flux + 0.5 * torch.randn(256, PIXELS)) / flux.std()
    ivar = torch.full((256, PIXELS), 4.0)
    templates = Templates(SECTION, 16)
    optimizer = torch.optim.AdamW(templates.parameters(), lr=2e-3)
    errors = []
    for _ in range(150):
        chunks = torch.rand(256, 12) < 0.4
        seen = ivar * ~chunks.repeat_interleave(42, 1)[:, :PIXELS]
        error = templates.error(flux, ivar, seen)
        optimizer.zero_grad()
        error.backward()
        optimizer.step()
        errors.append(error.item())

    with torch.no_grad():
        places = templates.fit(templates.lines(flux, ivar)).shifts.argmax(dim=1) * SECTION.log_step
    expected = redshifts.log1p()
    offset = (places - expected).median()
    assert errors[-1] < 0.5 * errors[0]
    assert ((places - offset - expected).abs() < 3 * SECTION.log_step).float().mean() > 0.9


def test_brightness_does_not_matter(templates):
    bright, faint = (
        templates.lines(galaxy(0.1, scale)[None], torch.full((1, PIXELS), 100 / scale**2)) for scale in (5.0, 0.5)
    )
    for one, other in zip(bright, faint, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


def test_the_continuum_is_taken_off(templates):
    slope = (WAVELENGTH.float() / 1000)[None]
    flat = templates.lines(slope, torch.full((1, PIXELS), 1e4)).values
    lines = templates.lines(galaxy(0.1)[None], torch.full((1, PIXELS), 1e4)).values
    middle = slice(40, -40)
    assert flat[:, middle].abs().max() < 0.05
    assert lines[:, middle].abs().max() > 1


def test_noise_is_held_down(templates):
    torch.manual_seed(1)
    lines = templates.lines(torch.randn(50, PIXELS), torch.ones(50, PIXELS))
    assert (lines.values * lines.share).square().mean().sqrt() < 0.3  # of one deviation, which it would be otherwise


def test_pixels_without_weight_are_not_seen(templates):
    flux, ivar = galaxy(0.1)[None].repeat(2, 1), torch.full((2, PIXELS), 50.0)
    ivar[:, 100:150] = 0
    flux[1, 100:150] = 1e4
    values, share = templates.lines(flux, ivar)
    torch.testing.assert_close((values * share)[0], (values * share)[1])
    assert torch.isfinite(templates(flux, torch.zeros_like(ivar))).all()
    places = templates._bins(PIXELS, torch.device("cpu"))
    inside = sorted(set(places[100:150].tolist()) - set(places[:100].tolist()) - set(places[150:].tolist()))
    assert (share[:, inside] == 0).all()


def specformer(**changes):
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2, "section_length": 24, "section_step": 16}
    section = SpectrumSection(**sizes, stem="convolution", inputs=("ivar", "mask"), templates=SECTION, **changes)
    return SpecFormer(section).eval()


def test_their_token_comes_last():
    model = specformer()
    flux, ivar, mask = galaxy(0.1)[None], torch.ones(1, PIXELS), torch.zeros(1, PIXELS, dtype=torch.bool)
    tokens = model.tokens(flux)
    embedding = model(flux, ivar, mask)
    assert embedding.shape == (1, tokens.shape[1] + 1, 16)
    assert model.reconstruct(embedding).shape == tokens.shape


def test_a_model_says_the_likeliest_shift_and_what_the_token_is_made_of():
    sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2, "section_length": 24, "section_step": 16}
    section = SpectrumSection(**sizes, stem="convolution", inputs=("ivar",), templates=SECTION)
    torch.manual_seed(0)
    network = AstroClip(ModelSection(spectrum=section)).eval()
    flux, ivar = torch.stack([galaxy(0.1), galaxy(0.2)]), torch.full((2, PIXELS), 50.0)

    with torch.no_grad():
        found = network.spectrum_templates(flux, ivar)
        specformer = network.spectrum_encoder.specformer
        pixels = specformer._pixels(specformer.tokens(flux), specformer.context(flux, ivar, None), None)
        token = specformer.templates(*pixels)[:, 0]

    assert network.has_templates
    torch.testing.assert_close(specformer.templates.token(found[:, 1:]), token)
    fit = specformer.template_fit(flux, ivar, None)
    torch.testing.assert_close(found[:, 0], fit.shifts.argmax(dim=1) * SECTION.log_step)
    assert (found[:, 0] <= np.log1p(SECTION.highest_redshift) + SECTION.log_step).all()


def test_a_model_without_templates_says_so():
    network = AstroClip(ModelSection(spectrum=SpectrumSection(embed_dim=16, depth=1, num_heads=2)))
    assert not network.has_templates
    with pytest.raises(CheckpointError, match="this spectrum encoder has no templates"):
        network.spectrum_templates(torch.rand(1, 100))


def test_hidden_pieces_are_hidden_from_templates():
    model = specformer()
    flux, ivar = galaxy(0.1)[None].repeat(2, 1), torch.full((2, PIXELS), 50.0)
    flux[1, 16 * 9 : 16 * 12] += 3  # the pieces 9 to 11, which are the tokens 10 to 12
    mask = torch.zeros(2, PIXELS, dtype=torch.bool)
    tokens, context = model.tokens(flux), model.context(flux[:1].repeat(2, 1), ivar, mask)
    tokens[1, :10], tokens[1, 13:] = tokens[0, :10], tokens[0, 13:]  # the mean and the neighbours as if nothing were
    hidden = torch.zeros(2, tokens.shape[1], dtype=torch.bool)
    hidden[:, 10:13] = True

    with torch.no_grad():
        seen = model.encode(tokens * ~hidden[:, :, None], context)
        unseen = model.encode(tokens * ~hidden[:, :, None], context, hidden)
        open_ = model.templates(*model._pixels(tokens, context, None))
        shut = model.templates(*model._pixels(tokens, context, hidden))

    assert not torch.allclose(seen, unseen)  # zeros where pieces are hidden are not taken for measured ones
    assert not torch.allclose(open_[0], open_[1])
    torch.testing.assert_close(shut[0], shut[1])


def test_masked_pixels_are_hidden_from_templates():
    model = specformer()
    flux, ivar = galaxy(0.1)[None].repeat(2, 1), torch.full((2, PIXELS), 50.0)
    mask = torch.zeros(2, PIXELS, dtype=torch.bool)
    mask[:, 200:230] = True
    tokens, context = model.tokens(flux), model.context(flux, ivar, mask)
    tokens[1, 1 + 200 // 16 + 1, 2:10] += 5  # pixels 208 to 215

    _, weight = model._pixels(tokens, context, None)
    found = model.templates(*model._pixels(tokens, context, None))

    assert (weight[:, 200:230] == 0).all()
    assert (weight[:, :200] > 0).all()
    torch.testing.assert_close(found[0], found[1])


def test_other_pixels_than_the_recipe_names_are_refused():
    with pytest.raises(UserError, match="spectra have 502 pixels, the templates are for 501"):
        specformer()(torch.rand(1, 502), torch.ones(1, 502), torch.zeros(1, 502, dtype=torch.bool))


def test_masked_modelling_adds_what_templates_say_of_hidden_lines():
    torch.manual_seed(0)
    sizes = {"embed_dim": 16, "depth": 1, "num_heads": 2, "section_length": 24, "section_step": 16}
    section = SpectrumSection(**sizes, stem="convolution", inputs=("ivar",), templates=SECTION)
    network = AstroClip(ModelSection(spectrum=section))
    objective = MaskedModelling(network, MaskingSection(chunks=3, chunk_length=3)).train()
    flux = torch.stack([galaxy(0.1), galaxy(0.2)]) + 0.1 * torch.randn(2, PIXELS)
    batch = {"flux": flux, "ivar": torch.full((2, PIXELS), 50.0), "keys": keys_of(0, torch.arange(2))}

    loss, metrics = objective(batch)
    loss.backward()

    backbone = network.spectrum_encoder.backbone
    tokens, context = backbone.tokens(flux), backbone.context(flux, batch["ivar"], None)
    hidden = chunk_mask(batch["keys"], tokens.shape[1], chunks=3, chunk_length=3)
    seen = tokens * ~hidden[:, :, None]
    torch.testing.assert_close(loss, metrics["pieces"] + metrics["templates"])
    torch.testing.assert_close(metrics["templates"], backbone.template_error(tokens, context, hidden).detach())
    guess = backbone.reconstruct(backbone.encode(seen, context, hidden))
    torch.testing.assert_close(metrics["pieces"], masked_error(guess, tokens, seen).detach())
    assert all(parameter.grad is not None for parameter in network.parameters())
    assert objective.eval()(batch)[1] == {}


def test_patterns_rest_where_no_vector_depends_on_them():
    section = SpectrumSection(embed_dim=16, depth=1, num_heads=2, inputs=("ivar",), templates=SECTION)
    network = AstroClip(ModelSection(spectrum=section))
    freeze_what_heads_do_not_see(network)
    backbone = network.spectrum_encoder.backbone
    resting = {name for name, parameter in backbone.named_parameters() if not parameter.requires_grad}
    assert resting == {"head.weight", "head.bias", "templates.patterns"}


def test_counting_parameters_does_not_import_dynamo():
    code = (
        "import sys; from polycli.astroclip.model.astroclip import parameter_count\n"
        "from polycli.astroclip.recipe.model import *\n"
        "parameter_count(ModelSection(spectrum=SpectrumSection(inputs=('ivar',), templates=TemplateSection())))\n"
        "sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"inputs": ("mask",)}, "inputs must name ivar"),
        ({"templates": {"first": 5000, "last": 4000}}, "is less than a step"),
        ({"templates": {"log_step": 1e-4}}, "finer than the first pixel"),
        ({"templates": {"log_step": 0.02}}, "less than or equal to 0.005"),
        ({"templates": {"highest_redshift": float("inf")}}, "less than or equal to 20"),
        ({"templates": {"last": float("inf")}}, "finite number"),
        ({"templates": {"step": float("inf")}}, "is less than a step"),
    ],
)
def test_unsound_templates_are_refused(changes, words):
    with pytest.raises(ValidationError, match=words):
        SpectrumSection(**{"templates": {}, "inputs": ("ivar",)} | changes)
