"""Masked autoencoding of images: what is hidden is not seen, and the loss is the error there alone."""

import numpy as np
import pytest
import torch

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.masking import seen_patches
from polycli.astroclip.model.vision_transformer import INPUT_DEVIATION, INPUT_MEAN
from polycli.astroclip.recipe.model import AugmentationSection, ImageSection, ModelSection
from polycli.astroclip.recipe.objectives import MaskedImageSection
from polycli.astroclip.training.masked_image import MaskedImages, as_patches, standardised

IMAGE = ImageSection(size=24, patch_size=6, embed_dim=16, depth=1, num_heads=2, layer_scale=0.1, stem="convolution")
SECTION = MaskedImageSection(hidden=0.75, decoder_width=8, decoder_depth=1, decoder_heads=2)


def model_of(**changes):
    torch.manual_seed(0)
    section = SECTION.model_copy(update=changes)
    network = AstroClip(ModelSection(image=IMAGE))
    return MaskedImages(network, section, AugmentationSection(), bands=("g", "r", "z"))


@pytest.fixture
def given():
    images = 0.1 * torch.rand(4, 3, 24, 24, generator=torch.Generator().manual_seed(0))
    return {"image": images, "keys": keys_of(0, torch.arange(4)), "place": torch.tensor((0, 1))}


def test_patches_lie_row_by_row_with_bands_first():
    images = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    expected = [[image[:, y : y + 2, x : x + 2].ravel() for y in (0, 2) for x in (0, 2, 4)] for image in images]
    np.testing.assert_array_equal(as_patches(torch.from_numpy(images), 2).numpy(), np.array(expected))


@pytest.mark.parametrize("standardise", [False, True])
def test_the_loss_is_the_mean_squared_error_of_hidden_patches(given, monkeypatch, standardise):
    model = model_of(standardise=standardise).eval()
    said = {}
    forward = model.decoder.forward
    monkeypatch.setattr(model.decoder, "forward", lambda *inputs: said.setdefault("pixels", forward(*inputs)))
    loss, _ = model(given)

    rgb = model.network.image_input(given["image"], ("g", "r", "z"))
    target = as_patches((rgb - INPUT_MEAN["rgb"]) / INPUT_DEVIATION["rgb"], 6).numpy()
    if standardise:
        target = (target - target.mean(axis=2, keepdims=True)) / target.std(axis=2, keepdims=True, ddof=1)
        np.testing.assert_allclose(standardised(torch.from_numpy(target)).numpy(), target, rtol=1e-4, atol=1e-5)
    _, hidden = seen_patches(given["keys"], 16, hidden=0.75)
    error = (said["pixels"].detach().numpy() - target) ** 2
    assert hidden.sum() == 4 * 12
    assert float(loss) == pytest.approx(error[hidden.numpy()].mean(), rel=1e-4)


def test_hidden_pixels_reach_no_token_through_the_convolutions_either(given, monkeypatch):
    model = model_of().eval()
    seen = []
    forward = model.decoder.forward

    def keeping(tokens, *rest):
        seen.append(tokens)
        return forward(tokens, *rest)

    monkeypatch.setattr(model.decoder, "forward", keeping)
    _, hidden = seen_patches(given["keys"], 16, hidden=0.75)
    cover = hidden.view(4, 1, 4, 4).repeat_interleave(6, 2).repeat_interleave(6, 3)
    other = given["image"] + 0.3 * cover
    losses = [model({**given, "image": image})[0] for image in (given["image"], other)]

    assert seen[0].shape == (4, 1 + 4, 16)
    assert torch.equal(seen[0], seen[1])
    assert losses[0] != losses[1]


def test_every_parameter_that_trains_has_a_gradient(given):
    model = model_of()
    model(given)[0].backward()
    without = [name for name, one in model.named_parameters() if one.requires_grad and one.grad is None]
    assert without == []
