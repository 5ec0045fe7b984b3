"""Floating-point operations of the encoders, counted from their sizes: what model FLOP utilisation divides by."""

from __future__ import annotations

from polycli.astroclip.model.specformer import token_count
from polycli.astroclip.model.stems import patch_layers, piece_layers
from polycli.astroclip.model.templates import HIDDEN_WIDTH, PERIODS
from polycli.astroclip.recipe.model import PIECE_STEP, ImageSection, SpectrumSection

#: Multiplications and additions of ResNet-50 at 224 x 224 pixels, without the classifier (He et al. 2015, table 1).
RESNET50_AT_224 = 2 * 4.09e9


def image_flops(section: ImageSection) -> float:
    """Operations of one forward pass of one image, a multiplication and an addition being two."""
    if section.name == "resnet50":
        return RESNET50_AT_224 * (section.size / 224) ** 2
    tokens = (section.size // section.patch_size) ** 2 + 1
    return 2.0 * (_image_stem(section) + section.depth * _block(tokens, section.embed_dim))


def spectrum_flops(section: SpectrumSection, pixels: int) -> float:
    """Operations of one forward pass of one spectrum."""
    tokens = token_count(section, pixels)
    blocks = section.depth * _block(tokens + section.added_tokens, section.embed_dim)
    return 2.0 * (tokens * _token_stem(section) + _templates(section) + blocks)


def _image_stem(section: ImageSection) -> float:
    """Multiplications that make patches of an image tokens; the token of the whole image is there already."""
    side, width = section.size, section.embed_dim
    patches = (side // section.patch_size) ** 2
    if section.stem == "linear":
        return float(patches * 3 * section.patch_size**2 * width)
    total = patches * width**2
    for layer in patch_layers(section.patch_size, width):
        side //= layer.step
        total += side**2 * layer.kernel**2 * layer.inputs * layer.outputs
    return float(total)


def _token_stem(section: SpectrumSection) -> float:
    """Multiplications that make a token of a piece of a spectrum."""
    places, width, inputs = section.section_length, section.embed_dim, len(section.inputs)
    if section.stem == "linear":
        return float((section.token_features + inputs * places) * width)
    layers = piece_layers(width, inputs)
    total = (2 + layers[-1].outputs * (places // PIECE_STEP)) * width
    for layer in layers:
        places //= layer.step
        total += places * layer.kernel * layer.inputs * layer.outputs
    return float(total)


def _templates(section: SpectrumSection) -> float:
    """Multiplications of the networks behind the filters; Fourier transforms are not counted."""
    if section.templates is None:
        return 0.0
    count, waves = section.templates.count, 2 * len(PERIODS)
    by_shift = HIDDEN_WIDTH * (count + 1) + waves
    return float(section.templates.shifts * by_shift + 2 * HIDDEN_WIDTH * count + (waves + count) * section.embed_dim)


def _block(tokens: int, width: int) -> float:
    """Multiplications of one transformer block: queries to output 4, MLP 8 widths squared, and the attention."""
    return float(12 * tokens * width**2 + 2 * tokens**2 * width)
