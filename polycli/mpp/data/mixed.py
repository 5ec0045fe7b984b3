"""A micro-batch of windows of several datasets: padded to the most fields and the largest grid among them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, groupby, islice

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.engine.task import Batch
from polycli.mpp.data.windows import WindowBatch, Windows
from polycli.mpp.recipe.physics import ABSENT


@dataclass
class MixedBatch:
    """Windows of several datasets that share a forward pass, not yet read."""

    parts: tuple[WindowBatch, ...]
    weight: float
    samples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.samples = tuple(name for part in self.parts for name in part.samples)

    def load(self) -> Batch:
        """Read it, as `joined` has it."""
        return joined([part.load() for part in self.parts])


def mixed_batches(draws: Sequence[tuple[Windows, NDArray[np.int64]]], size: int, weight: float) -> list[MixedBatch]:
    """Cut draws of windows into micro-batches of `size`, in the order of grids and fields.

    Those that are alike share a pass where there are enough of them, so that little is padding. Which windows share one
    changes no result but by rounding.
    """
    ordered = sorted(draws, key=lambda draw: _extent(draw[0]))
    windows = iter([(place, int(number)) for place, (_, numbers) in enumerate(ordered) for number in numbers])
    batches = []
    while chosen := [*islice(windows, size)]:
        parts = groupby(chosen, key=lambda window: window[0])
        batches.append(
            MixedBatch(
                tuple(
                    WindowBatch(ordered[place][0], np.array([number for _, number in found]), weight)
                    for place, found in parts
                ),
                weight,
            )
        )
    return batches


def costliest(windows: Sequence[Windows], size: int) -> list[MixedBatch]:
    """Micro-batches of `size` that are as large as any that training can meet."""
    sizes = np.array([(*one.grid, len(one.labels)) for one in windows])
    largest = sorted(set(sizes.argmax(axis=0).tolist()))  # along H, along W, of most fields
    batches = []
    for chosen in combinations(largest, min(size, len(largest))):
        shares = np.array_split(np.arange(size), len(chosen))
        parts = [
            WindowBatch(windows[one], share % len(windows[one]), 1.0) for one, share in zip(chosen, shares, strict=True)
        ]
        batches.append(MixedBatch(tuple(parts), 1.0))
    return batches


def _extent(windows: Windows) -> tuple[int, ...]:
    height, width = windows.grid
    return height * width, height, width, len(windows.labels)


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches of one dataset each as one, sample after sample.

    Where fields, grid or boundaries differ: fields (B, T, C, H, W) with zeros behind what is a sample's own,
    state_labels (B, C) with -1 where a sample has no such channel, and `grids` (B, 2), the points along (H, W) of each.
    Batches that are alike need none of that.
    """
    first = batches[0]
    alike = all(
        batch["fields"].shape[2:] == first["fields"].shape[2:]
        and torch.equal(batch["state_labels"], first["state_labels"])
        and torch.equal(batch["bcs"][0], first["bcs"][0])
        for batch in batches[1:]
    )
    plain = {
        key: torch.cat([batch[key] for batch in batches]) for key in first if key not in {"fields", "state_labels"}
    }
    if alike:
        fields = torch.cat([batch["fields"] for batch in batches])
        return {"fields": fields, "state_labels": first["state_labels"], **plain}
    size = [max(sizes) for sizes in zip(*(batch["fields"].shape[2:] for batch in batches), strict=True)]
    fields = first["fields"].new_zeros(sum(len(batch["fields"]) for batch in batches), first["fields"].shape[1], *size)
    labels, grids, begin = [], [], 0
    for batch in batches:
        count, _, channels, height, width = batch["fields"].shape
        fields[begin : begin + count, :, :channels, :height, :width] = batch["fields"]
        labels.append(_filled(batch["state_labels"], size[0]).expand(count, -1))
        grids.append(torch.tensor([height, width]).expand(count, -1))
        begin += count
    return {"fields": fields, "state_labels": torch.cat(labels), "grids": torch.cat(grids), **plain}


def _filled(labels: Tensor, channels: int) -> Tensor:
    return torch.nn.functional.pad(labels, (0, channels - len(labels)), value=ABSENT)
