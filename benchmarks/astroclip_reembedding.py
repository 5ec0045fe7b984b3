"""Embeddings against the same objects embedded again one by one: `python benchmarks/astroclip_reembedding.py EMBEDDINGS
--checkpoint CHECKPOINT --data STORE`.

Random ids of what `polycli embed astroclip` wrote are looked up in the store, each goes through the encoders alone, and
the greatest difference is said, in units of the length of the vector. Ends with 1 where one is beyond the tolerance.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pyarrow import parquet

from polycli.astroclip.data.store import ObjectStore, open_objects
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.retrieval import unit
from polycli.store.embeddings.manifest import MANIFEST_NAME, METADATA_KEY


def main() -> None:
    options = arguments()
    table = parquet.read_table(options.embeddings)
    options_then = said(options.embeddings)["options"]
    store, loaded = open_objects(options.data), load_checkpoint(options.checkpoint)
    chosen = np.random.default_rng(options.seed).permutation(len(table))[: options.objects]
    table = table.take(chosen)
    rows = rows_of(store, table["object_id"].to_pylist())
    encoder = Encoder(loaded.model, store, precision=options_then["precision"], batch_size=1)
    start, worst = time.perf_counter(), 0.0
    for modality in ("image", "spectrum"):
        name = f"{modality}_embedding"
        if name not in table.column_names:
            continue
        written = table[name].combine_chunks().flatten().to_numpy().reshape(len(table), -1).astype(np.float32)
        again = encoder.vectors(modality, rows)
        again = unit(again) if options_then["normalise"] else again
        difference = np.linalg.norm(again - written, axis=1) / np.linalg.norm(written, axis=1)
        equal = int((again == written).all(axis=1).sum())
        print(f"{name}: {len(rows)} objects, {equal} bit for bit, greatest relative difference {difference.max():.2e}")
        worst = max(worst, float(difference.max()))
    print(f"took {time.perf_counter() - start:.0f} s")
    sys.exit(0 if worst <= options.tolerance else 1)


def said(embeddings: Path) -> dict[str, dict[str, str | bool]]:
    """The manifest of a folder or a file."""
    if embeddings.is_dir():
        return dict(json.loads((embeddings / MANIFEST_NAME).read_text(encoding="utf-8")))
    return dict(json.loads(parquet.read_schema(embeddings).metadata[METADATA_KEY.encode()]))


def rows_of(store: ObjectStore, ids: list[int | str]) -> NDArray[np.int64]:
    """Where objects lie in the store, by their ids."""
    places = {identity: row for row, identity in enumerate(store.ids().tolist())}
    return np.array([places[identity] for identity in ids], np.int64)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path, help="a folder or a .parquet file")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    return parser.parse_args()


if __name__ == "__main__":
    main()
