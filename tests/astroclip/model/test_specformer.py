"""SpecFormer against the original's reference values, and what is ours: inputs besides the flux."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file

from polycli.astroclip.model.specformer import SpecFormer, token_count
from polycli.astroclip.model.weights import load_model
from polycli.astroclip.recipe.model import SpectrumSection
from polycli.errors import UserError

SMALL = {"embed_dim": 16, "depth": 2, "num_heads": 2}


def relative_error(found, expected):
    return float((found.detach() - expected).norm() / expected.norm())


@pytest.fixture(params=["astroclip_specformer.safetensors", "specformer.ckpt"])
def original(request, shared):
    """The network, from either packing, beside the reference values."""
    reference = load_file(shared / "parity" / "astroclip_specformer.safetensors")
    return load_model(shared / "parity" / request.param).spectrum_encoder.backbone, reference


def test_tokens_embedding_and_reconstruction_are_those_of_the_original(original):
    model, reference = original
    spectrum = reference["input.spectrum"]

    tokens = model.tokens(spectrum)
    embedding = model(spectrum)

    assert relative_error(tokens, reference["output.preprocessed"]) < 1e-6
    assert relative_error(embedding, reference["output.embedding"]) < 1e-5
    assert relative_error(model.reconstruct(embedding), reference["output.reconstructions"]) < 1e-5


@pytest.mark.parametrize(("pixels", "tokens"), [(7780, 777), (7781, 778), (7790, 778), (4620, 461)])
def test_the_last_piece_is_left_out_whether_whole_or_not(pixels, tokens):
    assert token_count(SpectrumSection(), pixels) == tokens
    model = SpecFormer(SpectrumSection(**SMALL))
    assert model.tokens(torch.randn(1, pixels)).shape == (1, tokens, 22)


@given(st.integers(1, 30), st.integers(1, 30), st.integers(1, 400))
def test_every_piece_lies_within_the_spectrum(length, step, pixels):
    if step > length:
        return
    count = token_count(SpectrumSection(section_length=length, section_step=step), pixels) - 1
    assert count <= 0 or (count - 1) * step + length <= pixels


def test_the_first_token_holds_mean_and_deviation_and_a_flat_spectrum_stays_finite():
    flux = torch.stack([torch.full((400,), 6.0), torch.arange(400.0)])

    tokens = SpecFormer(SpectrumSection(**SMALL)).tokens(flux)

    deviation = torch.arange(400.0).std()
    expected = torch.tensor([[(6 - 2) / 2, (0.2 - 2) / 8], [(199.5 - 2) / 2, (deviation - 2) / 8]])
    torch.testing.assert_close(tokens[:, 0, :2], expected)
    assert torch.isfinite(tokens).all()
    assert not tokens[:, 0, 2:].any()


def test_added_inputs_start_as_the_published_model_and_then_matter():
    torch.manual_seed(0)
    plain = SpecFormer(SpectrumSection(**SMALL))
    both = SpecFormer(SpectrumSection(**SMALL, inputs=("ivar", "mask")))
    both.load_state_dict(plain.state_dict(), strict=False)
    flux, ivar, mask = torch.randn(2, 400), torch.rand(2, 400), torch.rand(2, 400) < 0.1

    before = both(flux, ivar, mask)
    torch.nn.init.normal_(both.ivar_embed.weight)

    torch.testing.assert_close(before, plain(flux))
    assert not torch.allclose(both(flux, ivar, mask), before, atol=1e-3)
    assert not torch.allclose(both(flux, ivar, mask), both(flux, 4 * ivar, mask), atol=1e-3)


def test_an_input_that_is_missing_is_named():
    model = SpecFormer(SpectrumSection(**SMALL, inputs=("ivar",)))
    with pytest.raises(UserError, match="sees ivar too"):
        model(torch.randn(1, 400))


def test_a_spectrum_longer_than_the_positions_is_refused():
    with pytest.raises(UserError, match="has 39 tokens, the model has positions for 20"):
        SpecFormer(SpectrumSection(**SMALL, max_length=20))(torch.randn(1, 400))
