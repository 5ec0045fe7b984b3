"""Predicts properties of a store's objects with the head of a finetuned model; shared by predict and eval."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.scoring.encode import Encoder
from polycli.nn.quantiles import middle_of

#: By column: (n, quantiles) in its own unit, (n, 1) where a mean is predicted, (n, classes) of probabilities.
Answers = dict[str, NDArray[np.float32]]


def head_answers(
    encoder: Encoder,
    rows: NDArray[np.int64],
    *,
    levels: Sequence[float] = (),
    draws: Draws | None = None,
    vectors: dict[str, NDArray[np.float32]] | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> Answers:
    """Ask the head about objects, batch by batch; none at all give nothing.

    Args:
        encoder: the model and what it reads.
        rows: of the store.
        levels: quantiles that a flow is asked for instead of its own; other heads have their own alone.
        draws: samples of a flow's posteriors, which then stand behind its quantiles.
        vectors: gets the objects' vectors by modality, as `Encoder.vectors` gives them, where the head looks at these.
        advance: is told how many objects are done.

    Raises:
        CheckpointError: the model has no property head.
    """
    section = encoder.model.property_head().section
    parts: list[Answers] = []
    looked_at: list[Answers] = []
    for batch in encoder.batches(rows):
        rgb = spectra = None
        if "image" in section.modalities:
            rgb = encoder.image_input(encoder.store.read_images(batch))
        if "spectrum" in section.modalities:
            spectra = encoder.spectrum_input(encoder.store.read_spectra(batch))
        with torch.no_grad(), torch.autocast(encoder.device.type, torch.bfloat16, enabled=encoder.half):
            seen = encoder.model.property_parts(rgb, spectra)
            found = encoder.model.properties_of(seen, levels=_levels(encoder, batch, levels, draws))
        parts.append(_numbers(found))
        if vectors is not None and (section.source == "embedding" or encoder.model.section.heads is None):
            looked_at.append(_numbers(seen))
        advance(len(batch))
    if vectors is not None:
        vectors |= _joined(looked_at)
    return _joined(parts)


def _numbers(found: Mapping[str, Tensor]) -> Answers:
    return {name: values.float().cpu().numpy() for name, values in found.items()}


def _joined(parts: Sequence[Answers]) -> Answers:
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]} if parts else {}


@dataclass(frozen=True)
class Draws:
    """How many samples of a posterior are drawn of each object, and how."""

    count: int
    seed: int

    def levels(self, ids: Sequence[str], columns: int) -> NDArray[np.float64]:
        """(objects, columns, count): uniform numbers, which depend on the seed and on each object's id alone."""
        drawn = [
            np.random.default_rng([self.seed, *hashlib.sha256(name.encode()).digest()]).random((columns, self.count))
            for name in ids
        ]
        # The ends of a normal distribution are infinitely far away.
        return np.clip(np.array(drawn).reshape(-1, columns, self.count), 1e-9, 1 - 1e-9)


def _levels(encoder: Encoder, rows: NDArray[np.int64], levels: Sequence[float], draws: Draws | None) -> Tensor | None:
    section = encoder.model.property_head().section
    if section.posterior != "flow" or not (levels or draws):
        return None
    asked = torch.tensor(tuple(levels or section.quantiles), dtype=torch.float64)
    if draws is None:
        return asked.to(encoder.device)
    store = encoder.store
    if not isinstance(store, ObjectStore):
        raise TypeError("draws are of the objects of a store, which have ids")
    drawn = torch.from_numpy(draws.levels(store.id_texts(rows), len(section.regression)))
    return torch.cat([asked.expand(*drawn.shape[:2], -1), drawn], dim=2).to(encoder.device)


def middle(section: PropertySection) -> int:
    """Returns the index of a column's best value: the quantile nearest to the median, or the mean."""
    return middle_of(section.quantiles) if section.quantiles else 0
