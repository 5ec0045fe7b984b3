"""The two sides of an evaluation, objects to learn from and objects to be scored, as vectors and simple inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.model import Modality
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.scoring.comparisons.stein import stein_vectors
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.measure import Side, simple_inputs
from polycli.astroclip.scoring.second_look import another_image, another_spectrum
from polycli.console import counted, progress
from polycli.workflow.overlap import ScoredRows


@dataclass(frozen=True)
class Subset:
    """The objects of one store that are scored, and those that probes learn from."""

    store: ObjectStore
    modalities: tuple[Modality, ...]
    test: NDArray[np.int64]
    reference: NDArray[np.int64]

    @property
    def scored(self) -> ScoredRows:
        """The store and the rows of it."""
        return ScoredRows(self.store.store, self.test)


def side_of(
    loaded: LoadedAstroClip,
    before: Mapping[Modality, LoadedAstroClip],
    subset: Subset,
    settings: EvalSettings,
    rows: NDArray[np.int64],
    *,
    catalogue: bool,
    stein: LoadedAstroClip | None = None,
    again: bool = False,
) -> Side:
    """Vectors and simple inputs of some rows; `again`: also vectors of a second look at each object.

    `stein`: the published network that stands beside the model, where there are images.
    """
    inputs: dict[str, NDArray[Any]] = {}
    seen_again: dict[str, NDArray[np.float32]] = {}
    store, seed = subset.store, settings.seed
    encoder = Encoder.of(loaded, store, settings)
    templates = "spectrum" in subset.modalities and loaded.model.has_templates
    passes = len(subset.modalities) * (2 if again else 1) + sum(name in before for name in subset.modalities)
    passes += templates
    if stein is not None and not store.has_images:
        stein = None
    passes += 0 if stein is None else 2
    kind = "test" if again else "training"
    with progress(passes * len(rows), f"{store.name}: {kind} objects, {counted(passes, 'pass', 'passes')}") as bar:
        for name in subset.modalities:
            inputs[name] = encoder.vectors(name, rows, advance=bar.advance)
            if name in before:
                inputs[f"{name}_unaligned"] = Encoder.of(before[name], store, settings).vectors(
                    name, rows, source="backbone", advance=bar.advance
                )
            if again and name == "image":
                seen_again[name] = encoder.vectors(
                    name, rows, look=lambda values, some: another_image(values, some, seed), advance=bar.advance
                )
            elif again:
                seen_again[name] = encoder.vectors(
                    name, rows, look=lambda values, some: another_spectrum(values, some, seed), advance=bar.advance
                )
        if templates:
            fitted = encoder.vectors("spectrum", rows, source="templates", advance=bar.advance)
            inputs["spectrum_templates"], inputs["spectrum_shift"] = fitted[:, 1:], fitted[:, :1]
        if stein is not None:
            inputs |= stein_vectors(Encoder.of(stein, store, settings), rows, advance=bar.advance)
    inputs |= simple_inputs(store, rows, encoder.batches(rows), catalogue=catalogue)
    return Side(rows, inputs, seen_again)
