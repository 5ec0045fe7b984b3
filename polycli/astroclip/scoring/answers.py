"""Predicts properties of a store's objects with the head of a finetuned model; shared by predict and eval."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.scoring.encode import Encoder
from polycli.nn.quantiles import middle_of

#: By column: (n, quantiles) in its own unit, (n, 1) where a mean is predicted, (n, classes) of probabilities.
Answers = dict[str, NDArray[np.float32]]


def head_answers(
    encoder: Encoder, rows: NDArray[np.int64], *, advance: Callable[[int], None] = lambda _: None
) -> Answers:
    """Ask the head about objects, batch by batch; none at all give nothing.

    Raises:
        CheckpointError: the model has no property head.
    """
    section = encoder.model.property_head().section
    parts: list[Answers] = []
    for batch in encoder.batches(rows):
        inputs: dict[str, Tensor] = {}
        if "image" in section.modalities:
            inputs["rgb"] = encoder.image_input(encoder.store.read_images(batch))
        if "spectrum" in section.modalities:
            inputs["flux"], inputs["ivar"], inputs["mask"] = encoder.spectrum_input(encoder.store.read_spectra(batch))
        with torch.no_grad(), torch.autocast(encoder.device.type, torch.bfloat16, enabled=encoder.half):
            found = encoder.model.predict_properties(**inputs)
        parts.append({name: values.float().cpu().numpy() for name, values in found.items()})
        advance(len(batch))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


def middle(section: PropertySection) -> int:
    """Returns the index of a column's best value: the quantile nearest to the median, or the mean."""
    return middle_of(section.quantiles) if section.quantiles else 0
