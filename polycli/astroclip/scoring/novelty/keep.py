"""Keeps the statistics of training vectors beside the weights, so that predict and embed need no store for them."""

from __future__ import annotations

import numpy as np

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.settings import CalibrateSettings
from polycli.astroclip.scoring.encode import Encoder, common_modalities
from polycli.astroclip.scoring.novelty.statistics import TrainingVectors, write_statistics
from polycli.checkpoints.training_vectors import SUFFIX, is_statistics, statistics_beside
from polycli.console import progress, say
from polycli.json_records import to_object
from polycli.outputs import Output, OutputKind
from polycli.requests import CalibrateRequest, JsonDocument
from polycli.workflow.evaluated_stores import evaluated_stores

STATISTICS = OutputKind("statistics of training vectors", (SUFFIX, ".npz"), is_statistics)
#: Objects of all stores together that statistics are made of, at most.
_MOST = 50_000


def keep_novelty(loaded: LoadedAstroClip, settings: CalibrateSettings, request: CalibrateRequest) -> JsonDocument:
    """Embed the training objects of the stores and write their statistics; returns what was written.

    Raises:
        UserError: the stores do not fit the model or have too few training objects, or statistics are there already.
    """
    path = statistics_beside(loaded.model_file)
    output = Output(path, STATISTICS, settings.overwrite, (loaded.model_file, *request.data))
    output.refuse()
    stores = evaluated_stores(request.data, family="astroclip", model_file=loaded.model_file, run=loaded.run)
    vectors: dict[str, list[np.ndarray]] = {}
    for store in map(ObjectStore, stores):
        rows = store.rows("train")[: request.limit]
        rows = np.sort(np.random.default_rng(0).permutation(rows)[: _MOST // len(stores)])
        encoder = Encoder.of(loaded, store, settings)
        modalities = common_modalities(loaded, store)
        with progress(len(rows) * len(modalities), f"{store.name}: training objects") as bar:
            for name in modalities:
                vectors.setdefault(name, []).append(encoder.vectors(name, rows, advance=bar.advance))
    statistics = {name: TrainingVectors.of(np.concatenate(parts)) for name, parts in vectors.items()}
    with output.writing() as unfinished:
        write_statistics(unfinished, statistics, loaded.model_hash)
    counts = {name: sum(map(len, parts)) for name, parts in vectors.items()}
    say(f"novelty: {path}, from {', '.join(f'{count} {name} vectors' for name, count in counts.items())}")
    return {"output": str(path), **to_object(loaded.provenance()), "vectors": counts}
