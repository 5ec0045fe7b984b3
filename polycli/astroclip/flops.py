"""Floating-point operations of the encoders, counted from their sizes: what model FLOP utilisation divides by."""

from __future__ import annotations

from polycli.astroclip.sections import ImageSection, SpectrumSection
from polycli.astroclip.specformer import token_count

#: Multiplications and additions of ResNet-50 at 224 x 224 pixels, without the classifier (He et al. 2015, table 1).
RESNET50_AT_224 = 2 * 4.09e9


def image_flops(section: ImageSection) -> float:
    """Operations of one forward pass of one image, a multiplication and an addition being two."""
    if section.name == "resnet50":
        return RESNET50_AT_224 * (section.size / 224) ** 2
    tokens = (section.size // section.patch_size) ** 2 + 1
    stem = tokens * 3 * section.patch_size**2 * section.embed_dim
    return 2.0 * (stem + section.depth * _block(tokens, section.embed_dim))


def spectrum_flops(section: SpectrumSection, pixels: int) -> float:
    """Operations of one forward pass of one spectrum."""
    tokens = token_count(section, pixels)
    stem = tokens * section.token_features * section.embed_dim
    return 2.0 * (stem + section.depth * _block(tokens, section.embed_dim))


def _block(tokens: int, width: int) -> float:
    """Multiplications of one transformer block: queries to output 4, MLP 8 widths squared, and the attention."""
    return float(12 * tokens * width**2 + 2 * tokens**2 * width)
