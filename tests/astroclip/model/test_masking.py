"""Masked modelling: what is hidden, and the loss and its gradient against the original's."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.masking import block_mask, chunk_mask, hide, masked_error, seen_patches
from polycli.astroclip.model.weights import load_model


def test_loss_and_gradient_are_those_of_the_original(shared):
    reference = load_file(shared / "parity" / "astroclip_specformer.safetensors")
    model = load_model(shared / "parity" / "specformer.ckpt").spectrum_encoder.backbone
    masked = reference["input.masked"]

    reconstruction = model.reconstruct(model.encode(masked))
    loss = masked_error(reconstruction, reference["output.preprocessed"], masked)
    loss.backward()

    assert float((loss.detach() - reference["output.loss"]).abs() / reference["output.loss"]) < 1e-5
    expected = reference["grad.data_embed.weight"]
    assert float((model.data_embed.weight.grad - expected).norm() / expected.norm()) < 1e-4


@settings(deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 7), st.integers(1, 20), st.integers(0, 60))
def test_every_region_has_one_whole_stretch(seed, chunks, length, spare):
    tokens = chunks * (length + 1) + spare
    region = tokens // chunks

    hidden = chunk_mask(keys_of(seed, torch.arange(3)), tokens, chunks=chunks, chunk_length=length)

    assert not hidden[:, chunks * region :].any()
    for row in hidden:
        for part in row[: chunks * region].view(chunks, region):
            places = torch.nonzero(part).flatten()
            assert torch.equal(places, torch.arange(places[0], places[0] + length))


def test_of_a_desi_spectrum_39_percent_are_hidden_and_stretches_begin_anywhere():
    hidden = chunk_mask(keys_of(0, torch.arange(20_000)), 778, chunks=6, chunk_length=50)

    assert hidden.float().mean() == pytest.approx(300 / 778)
    starts = hidden[:, :129].float().argmax(dim=1)
    assert set(starts.tolist()) == set(range(79))
    assert hidden[:, 0].float().mean() == pytest.approx(1 / 79, abs=0.004)


def test_numbers_that_are_zero_anyway_do_not_count():
    target = torch.tensor([[[0.0, 2.0], [1.0, 1.0]]])
    masked = hide(target, torch.tensor([[True, False]]))

    loss = masked_error(torch.tensor([[[9.0, 5.0], [9.0, 9.0]]]), target, masked)

    assert loss == 9.0
    assert masked_error(target, target, target) == 0.0


def test_the_error_is_the_weighted_mean_of_what_was_hidden():
    target = torch.tensor([[[2.0, 1.0, 4.0], [1.0, 1.0, 1.0]]])
    masked = hide(target, torch.tensor([[True, False]]))
    weight = torch.tensor([[[0.25, 0.0, 0.5], [1.0, 1.0, 1.0]]])

    loss = masked_error(torch.tensor([[[5.0, 99.0, 5.0], [9.0, 9.0, 9.0]]]), target, masked, weight)

    # Weights add up to 0.75, less than one pixel: (0.25 * 9 + 0.5 * 1) / 0.75.
    assert float(loss) == pytest.approx(2.75 / 0.75)
    assert masked_error(target, target, masked, torch.zeros(1, 2, 3)) == 0.0


def test_stretches_as_long_as_their_regions_are_refused():
    with pytest.raises(ValueError, match="no 6 regions longer than 50"):
        chunk_mask(torch.zeros(1, dtype=torch.long), 305, chunks=6, chunk_length=50)


def test_blocks_of_patches_hide_an_exact_share_of_some_images():
    keys = keys_of(0, torch.arange(400))
    hidden = block_mask(keys, 6, probability=0.5, least=0.1, most=0.5)
    counts = hidden.sum(dim=1)
    some = counts[counts > 0]

    assert 150 < len(some) < 250  # 200 +- 10
    assert round(0.1 * 36) <= int(some.min()) and int(some.max()) <= round(0.5 * 36)  # noqa: PT018
    assert abs(float(some.float().mean()) - 0.3 * 36) < 1  # +- 0.3
    assert not torch.equal(hidden, block_mask(keys, 6, probability=0.5, least=0.1, most=0.5, view=1))
    # An image has its own mask, whichever others are beside it.
    assert torch.equal(block_mask(keys[7:9], 6, probability=0.5, least=0.1, most=0.5), hidden[7:9])


def test_hidden_patches_lie_together_more_than_single_ones_would():
    hidden = block_mask(keys_of(0, torch.arange(400)), 6, probability=1.0, least=0.3, most=0.3).view(-1, 6, 6)
    beside = (hidden[:, :, 1:] & hidden[:, :, :-1]).sum() / (400 * 30)
    assert beside > 1.5 * 0.3**2  # which is what independent patches have


def test_all_or_no_patches_can_be_hidden():
    keys = keys_of(0, torch.arange(20))
    assert block_mask(keys, 4, probability=1.0, least=1.0, most=1.0).all()
    assert not block_mask(keys, 4, probability=0.0, least=0.1, most=0.5).any()


def test_seen_patches_and_hidden_ones_make_up_the_image():
    seen, hidden = seen_patches(keys_of(0, torch.arange(50)), 16, hidden=0.75)
    assert seen.shape == (50, 4)
    for numbers, rest in zip(seen.tolist(), hidden, strict=True):
        assert sorted(numbers) == numbers
        assert sorted(numbers + rest.nonzero()[:, 0].tolist()) == list(range(16))
    assert seen_patches(keys_of(0, torch.arange(2)), 4, hidden=0.99)[0].shape == (2, 1)
