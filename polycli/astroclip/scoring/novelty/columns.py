"""The columns of novelty in catalogues and beside vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.settings import EncodingSettings, NoveltyUse
from polycli.astroclip.scoring.encode import Encoder, common_modalities
from polycli.astroclip.scoring.novelty.statistics import TrainingVectors, novelty_beside, read_statistics
from polycli.console import progress
from polycli.errors import UserError


def statistics_of(loaded: LoadedAstroClip, use: NoveltyUse) -> dict[str, TrainingVectors]:
    """The statistics beside the weights, by modality; none where there is no file, or none is wanted.

    Raises:
        CheckpointError: they are damaged, or of other weights.
        UserError: there are none, and there must be.
    """
    path = novelty_beside(loaded.model_file)
    if use == "never" or (use == "auto" and not path.exists()):
        return {}
    if not path.exists():
        raise UserError(
            f"{path}: there are no statistics of training vectors, by which novelty is measured",
            hint="polycli calibrate astroclip --set novelty=true --checkpoint ... --data STORE",
        )
    return read_statistics(path, loaded.model_hash)


def novelty_name(modality: str) -> str:
    """The name of a column.

    >>> novelty_name("image")
    'novelty_image'
    """
    return f"novelty_{modality}"


def novelty_columns(
    statistics: Mapping[str, TrainingVectors], vectors: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float32]]:
    """The columns of objects whose vectors, (n, d) by modality, are there."""
    return {novelty_name(name): found.novelty(vectors[name]) for name, found in statistics.items() if name in vectors}


def novelty_of_rows(
    loaded: LoadedAstroClip,
    statistics: Mapping[str, TrainingVectors],
    store: ObjectStore,
    rows: NDArray[np.int64],
    settings: EncodingSettings,
) -> dict[str, NDArray[np.float32]]:
    """The columns of some objects of a store, which are embedded for it; none without statistics."""
    if not statistics:
        return {}
    encoder = Encoder(loaded.model, store, precision=settings.precision, batch_size=settings.batch_size)
    modalities = [name for name in common_modalities(loaded, store) if name in statistics]
    with progress(len(rows) * len(modalities), f"{store.name}: novelty") as bar:
        vectors: dict[str, NDArray[Any]] = {
            name: encoder.vectors(name, rows, advance=bar.advance) for name in modalities
        }
    return novelty_columns(statistics, vectors)
