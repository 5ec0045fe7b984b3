r"""Whether novelty tells kinds that training never saw, beside k-NN distance and statistics of pixels.

    polycli prepare astroclip --source mock --recipe astroclip_demo_data --output mock.zarr --set mock.objects=36000 \
        --set mock.seed=17 --set mock.size=48 --set split.validation=0.45 --set split.test=0.45
    polycli pretrain astroclip --recipe astroclip_demo_image --data mock.zarr --output image --set train.steps=1000 \
        --set train.validate_every=500 --set train.checkpoint_every=500 --set model.image.size=48 \
        --set moco.queue_size=1024
    polycli pretrain astroclip --recipe astroclip_demo_spectrum --data mock.zarr --output spectrum
    python benchmarks/astroclip_novelty.py --store mock.zarr --image image --spectrum spectrum

`calibrate --set novelty=true` keeps the statistics of the training objects' vectors beside each checkpoint. Galaxies
that test, and one object of each kind in the place of each, are then embedded, and the area under the ROC curve says
how often a stranger has more novelty than a galaxy. Beside it stand the mean distance to the ten nearest vectors of
training objects, and the distance that novelty is, but of statistics of the pixels (`_unlike.py`), for which no model
is needed. Intervals are those of 95 % by bootstrap of the objects.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from _record import add_option, finish
from _unlike import STATISTICS, images_of, spectra_of
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf
from sklearn.metrics import roc_auc_score
from sklearn.neighbors import NearestNeighbors

from polycli.__main__ import run as command_line
from polycli.astroclip.data.store import ObjectStore, Spectra, open_objects
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.novelty.statistics import read_statistics
from polycli.astroclip.scoring.retrieval import unit
from polycli.checkpoints.training_vectors import statistics_beside
from polycli.report.table import Table

SCORES = ("novelty", "10 nearest", "pixels")
NEIGHBOURS = 10
DRAWS = 200
Floats = NDArray[np.float64]
Values = NDArray[np.float32] | Spectra


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path, required=True)
    for modality in STATISTICS:
        parser.add_argument(f"--{modality}", type=Path, metavar="CHECKPOINT", help=f"whose vectors of each {modality}")
    parser.add_argument("--objects", type=int, default=3000, help="training objects, at most")
    parser.add_argument("--tested", type=int, default=300, help="galaxies, and objects of each kind")
    add_option(parser)
    options = parser.parse_args()
    found = {name: told(options, name) for name in STATISTICS if getattr(options, name) is not None}
    finish(options, found, areas_table(found))


@dataclass(frozen=True)
class Cells:
    """Objects in memory, read as those of a store are."""

    values: Any
    bands: tuple[str, ...]

    def read_images(self, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(n, band, y, x)."""
        return np.asarray(self.values[rows])

    def read_spectra(self, rows: NDArray[np.int64]) -> Spectra:
        """Flux, inverse variance and mask."""
        return Spectra(*(part[rows] for part in self.values))


def told(options: argparse.Namespace, modality: str) -> dict[str, Any]:
    """By kind and score, the area under the curve, and the share of objects whose novelty is above 1."""
    checkpoint = getattr(options, modality)
    words = ("--data", options.store, "--limit", options.objects, "--set", "novelty=true", "--set", "overwrite=true")
    if code := command_line(["calibrate", "astroclip", "--checkpoint", str(checkpoint), *map(str, words)]):
        sys.exit(code)
    store, loaded = open_objects(options.store), load_checkpoint(checkpoint, quiet=True)
    kept = read_statistics(statistics_beside(loaded.model_file), loaded.model_hash)[modality]
    known, usual = store.rows("train")[: options.objects], store.rows("test")[: options.tested]

    def vectors(values: Values) -> NDArray[np.float32]:
        encoder = Encoder(loaded.model, Cells(values, store.bands), precision="float32", batch_size=64)
        count = len(values.flux if isinstance(values, Spectra) else values)
        return encoder.vectors(modality, np.arange(count))  # type: ignore[arg-type]

    learnt, seen = read(store, modality, known), STATISTICS[modality]
    nearest = NearestNeighbors(n_neighbors=NEIGHBOURS).fit(unit(vectors(learnt)))
    pixels = Spread.of(seen(learnt))

    def scores(values: Values) -> dict[str, Floats]:
        made = vectors(values)
        distance = nearest.kneighbors(unit(made))[0].mean(axis=1)
        return dict(zip(SCORES, (kept.novelty(made), distance, pixels.distance(seen(values))), strict=True))

    before = scores(read(store, modality, usual))
    strangers = (images_of if modality == "image" else spectra_of)(store, usual)
    found: dict[str, Any] = {"usual": {"objects": len(usual), "above 1": float((before["novelty"] > 1).mean())}}
    for kind, values in strangers.items():
        after = scores(values)
        found[kind] = {name: area(before[name], after[name]) for name in SCORES}
        found[kind]["above 1"] = float((after["novelty"] > 1).mean())
    return found


def read(store: ObjectStore, modality: str, rows: NDArray[np.int64]) -> Values:
    return store.read_images(rows) if modality == "image" else store.read_spectra(rows)


@dataclass(frozen=True)
class Spread:
    """The mean and covariance of statistics, each on the scale of its own spread."""

    middle: Floats
    scale: Floats
    fitted: Any

    @classmethod
    def of(cls, values: Floats) -> Spread:
        """Of statistics (n, d)."""
        middle, scale = values.mean(axis=0), values.std(axis=0) + 1e-9
        return cls(middle, scale, LedoitWolf().fit((values - middle) / scale))

    def distance(self, values: Floats) -> Floats:
        """(n,) Mahalanobis distance."""
        return np.sqrt(self.fitted.mahalanobis((values - self.middle) / self.scale))


def area(usual: Floats, strange: Floats) -> dict[str, Any]:
    """How often a stranger has more than a galaxy, with its 95 % interval."""
    truth = np.repeat([0, 1], [len(usual), len(strange)])
    generator, drawn = np.random.default_rng(0), []
    for _ in range(DRAWS):
        parts = [values[generator.integers(0, len(values), len(values))] for values in (usual, strange)]
        drawn.append(roc_auc_score(truth, np.concatenate(parts)))
    low, high = np.quantile(drawn, [0.025, 0.975])
    return {"auroc": float(roc_auc_score(truth, np.concatenate([usual, strange]))), "interval": [low, high]}


def areas_table(found: dict[str, Any]) -> Table:
    """One row for each modality and kind."""
    rows = []
    for modality, kinds in found.items():
        rows.append(
            [modality, "galaxies that test", *("-" for _ in SCORES), f"{100 * kinds['usual']['above 1']:.0f} %"]
        )
        for kind, numbers in kinds.items():
            if kind != "usual":
                cells = []
                for name in SCORES:
                    low, high = numbers[name]["interval"]
                    cells.append(f"{numbers[name]['auroc']:.3f} ({low:.3f} to {high:.3f})")
                rows.append([modality, kind, *cells, f"{100 * numbers['above 1']:.0f} %"])
    columns = ["modality", "objects", *SCORES, "novelty above 1"]
    caption = "Area under the ROC curve against galaxies that test, with its 95 % interval; 0.5 tells nothing."
    return Table("Kinds that training never saw", columns, rows, caption, 2)


if __name__ == "__main__":
    main()
