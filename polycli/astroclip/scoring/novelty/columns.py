"""The columns of novelty in catalogues and beside vectors."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.model import MODALITIES
from polycli.astroclip.recipe.settings import EncodingSettings, NoveltyUse
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.novelty.statistics import TrainingVectors, read_statistics
from polycli.checkpoints.training_vectors import statistics_beside
from polycli.console import progress
from polycli.errors import UserError


def statistics_of(loaded: LoadedAstroClip, use: NoveltyUse, modalities: Collection[str]) -> dict[str, TrainingVectors]:
    """The statistics beside the weights, of these modalities; none where there is no file, or none is wanted.

    Raises:
        CheckpointError: they are damaged, or of other weights.
        UserError: there are none of them, and there must be.
    """
    path = statistics_beside(loaded.model_file)
    if use == "never" or (use == "auto" and not path.exists()):
        return {}
    if not path.exists():
        raise UserError(
            f"{path}: there are no statistics of training vectors, by which novelty is measured",
            hint="polycli calibrate astroclip --set novelty=true --checkpoint ... --data STORE",
        )
    kept = read_statistics(path, loaded.model_hash)
    found = {name: statistics for name, statistics in kept.items() if name in modalities}
    if use == "must" and not found:
        raise UserError(
            f"{path}: has statistics of {' and '.join(kept) or 'no'} vectors, and {' and '.join(modalities)} vectors "
            "are made here",
            hint="calibrate on a store that has both, or leave novelty=must out",
        )
    return found


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
    *,
    settings: EncodingSettings,
    made: Mapping[str, NDArray[Any]],
) -> dict[str, NDArray[np.float32]]:
    """The columns of some objects of a store; none without statistics.

    Args:
        loaded: the model.
        statistics: by modality.
        store: of the objects.
        rows: of the store.
        settings: how objects are embedded.
        made: vectors (rows, d) by modality that are there already; objects are embedded for the others alone.
    """
    if not statistics:
        return {}
    encoder = Encoder.of(loaded, store, settings)
    vectors = {name: values for name, values in made.items() if name in statistics}
    there = [name for name in MODALITIES if name in statistics and getattr(store.about, name) is not None]
    missing = [name for name in there if name not in vectors]
    if missing:
        with progress(len(rows) * len(missing), f"{store.name}: novelty") as bar:
            vectors |= {name: encoder.vectors(name, rows, advance=bar.advance) for name in missing}
    return novelty_columns(statistics, vectors)
