"""Rows and vectors to search in, and how they are published as embeddings."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
from astropy import units
from astropy_healpix import HEALPix

from polycli.store.embeddings.joining import join
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import PartWriter, with_vectors

COUNT, WIDTH = 700, 24
FORMS = ("sky", "sky.parquet", "sky.zarr", "sky.hats")


def catalogue(count: int = COUNT) -> pa.Table:
    """Objects over the whole sky, some of them at the poles and at right ascension 0."""
    draw = np.random.default_rng(0)
    ra, dec = draw.uniform(0, 360, count), np.degrees(np.arcsin(draw.uniform(-1, 1, count)))
    dec[:50], dec[50:100] = 90 - np.abs(draw.normal(0, 0.01, 50)), -90 + np.abs(draw.normal(0, 0.01, 50))
    ra[100:200], dec[100:200] = np.mod(draw.normal(0, 0.002, 100), 360), draw.normal(0, 0.002, 100)
    grid = HEALPix(nside=2**29, order="nested")
    redshift = draw.uniform(0, 1, count)
    redshift[::7] = np.nan
    return pa.table(
        {
            "object_id": pa.array([f"J{number:05d}" for number in draw.permutation(count)]),
            "ra": ra,
            "dec": dec,
            "healpix29": np.asarray(grid.lonlat_to_healpix(ra * units.deg, dec * units.deg), np.int64),
            "redshift": redshift,
            "class": pa.array([("spiral", "elliptical", None)[number % 3] for number in range(count)]),
        }
    )


def vectors(count: int = COUNT, *, seed: int = 1) -> np.ndarray:
    """(count, WIDTH) vectors in float16's numbers: clusters, some equal vectors, and lengths far from one."""
    draw = np.random.default_rng(seed)
    made = draw.standard_normal((12, WIDTH))[draw.integers(0, 12, count)] + 0.4 * draw.standard_normal((count, WIDTH))
    made *= draw.uniform(0.2, 5, count)[:, None]
    made[count // 2 : count // 2 + 20] = made[3]
    return made.astype(np.float16).astype(np.float32)


def write(target: Path, table: pa.Table, columns: dict[str, np.ndarray], *, units_of: int = 3, **header) -> Path:
    """Publish embeddings of some rows, made in several units."""
    parts = target.parent / f"parts-{target.name}"
    parts.mkdir(parents=True)
    cuts = np.linspace(0, len(table), units_of + 1).astype(int)
    for number, (first, end) in enumerate(pairwise(cuts)):
        with PartWriter(parts, number) as writer:
            some = {name: values[first:end] for name, values in columns.items()}
            writer.write({"": with_vectors(table.slice(first, end - first), some)})
    about = {"family": "astroclip", "provenance": {"model_hash": "m"}, "store_hash": {"mock": "s"}, **header}
    join(parts, target, EmbeddingsHeader(**about))
    return target
