"""Floating-point operations of AViT, counted from its sizes: what model FLOP utilisation divides by."""

from __future__ import annotations

from polycli.mpp.model.stem import HEAD_STAGES, STEM_STAGES
from polycli.mpp.recipe.training import ModelSection


def flops_per_sample(section: ModelSection, history: int, channels: int, grid: tuple[int, int]) -> float:
    """Operations of the matrix products of one forward pass for one sample, a multiplication and addition being two.

    A training step has three times as many: the backward pass makes two products for each of the forward pass.
    Activation checkpointing repeats the forward pass, which is not counted, as is usual for model FLOPs.

    Args:
        section: the sizes.
        history: frames of the context.
        channels: fields of the sample.
        grid: points along H and W.
    """
    width = section.embed_dim
    height, breadth = (-(-points // section.patch_size) for points in grid)
    grid = (height * section.patch_size, breadth * section.patch_size)
    frame = height * breadth
    products = _stem(section, channels, grid) * history
    for block in range(section.blocks):
        last = block == section.blocks - 1
        frames = 1 if last else history
        # Time: queries and output of the frames wanted, keys and values of all; one score and one sum per pair.
        products += frame * width * width * (2 * frames + 2 * history)
        products += frame * frames * history * width * 2
        # Space: queries, keys, values and output are 4 products of the width squared, the MLP 8; then rows and columns.
        products += frames * frame * width * width * 12
        products += frames * frame * (height + breadth) * width * 2
    return 2.0 * (products + _head(section, channels, grid))


def _stem(section: ModelSection, channels: int, grid: tuple[int, int]) -> float:
    """Multiplications for one frame."""
    products, inputs = 0.0, channels
    stride = 1
    for place, step in STEM_STAGES[section.patch_size]:
        stride *= step
        outputs = section.embed_dim if place == 6 else section.embed_dim // 4
        products += grid[0] // stride * (grid[1] // stride) * inputs * step**2 * outputs
        inputs = outputs
    return products


def _head(section: ModelSection, channels: int, grid: tuple[int, int]) -> float:
    """Multiplications for the one frame that is decoded."""
    places, last_step = HEAD_STAGES[section.patch_size]
    products, inputs = 0.0, section.embed_dim
    stride: int = section.patch_size
    for outputs, step in [*((section.embed_dim // 4, 2) for _ in places), (channels, last_step)]:
        products += grid[0] // stride * (grid[1] // stride) * inputs * step**2 * outputs
        stride //= step
        inputs = outputs
    return products
