"""HATS catalogues joined on: by id and by position, and near the objects alone."""

import json

import numpy as np
import pyarrow as pa
import pytest
from astropy import units
from astropy_healpix import HEALPix
from pyarrow import parquet

from polycli.astroclip.data.store import open_objects
from polycli.astroclip.data.tables.hats_tables import HatsTable, open_hats_table
from polycli.astroclip.data.tables.table import Reading
from polycli.errors import SourceError

COUNT, ORDER = 400, 2


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory):
    """A catalogue over the whole sky, some of it on both sides of borders, in partitions of order 2."""
    folder = tmp_path_factory.mktemp("labels") / "galaxies"
    draw = np.random.default_rng(0)
    ra, dec = draw.uniform(0, 360, COUNT), np.degrees(np.arcsin(draw.uniform(-1, 1, COUNT)))
    pixels = {
        order: HEALPix(nside=2**order, order="nested").lonlat_to_healpix(ra * units.deg, dec * units.deg)
        for order in (ORDER, 29)
    }
    table = pa.table(
        {
            "_healpix_29": np.asarray(pixels[29], np.int64),
            "TARGETID": 39627866878511337 + np.arange(COUNT),
            "ra": ra,
            "dec": dec,
            "LOGMSTAR": pa.array([None if row % 7 == 0 else 10 + row / 100 for row in range(COUNT)], pa.float32()),
            "CLASS": pa.array(["spiral" if row % 2 else "smooth" for row in range(COUNT)]),
            "PROBABILITIES": pa.array([[0.5, 0.5]] * COUNT),
        }
    )
    lines = ["Norder,Npix"]
    for number in np.unique(pixels[ORDER]).tolist():
        file = folder / "dataset" / f"Norder={ORDER}" / "Dir=0" / f"Npix={number}.parquet"
        file.parent.mkdir(parents=True, exist_ok=True)
        parquet.write_table(table.filter(pa.array(pixels[ORDER] == number)), file)
        lines.append(f"{ORDER},{number}")
    (folder / "partition_info.csv").write_text("\n".join(lines))
    (folder / "hats.properties").write_text("obs_collection=g\ndataproduct_type=object\nhats_col_ra=ra\n")
    return folder, table


def objects(path, table, rows, **changes):
    draw = np.random.default_rng(1)
    found = {
        "image": draw.normal(1, 1, (len(rows), 3, 6, 6)).astype(np.float32),
        "object_id": table["TARGETID"].to_numpy()[rows],
        "ra": table["ra"].to_numpy()[rows],
        "dec": table["dec"].to_numpy()[rows],
    }
    np.savez(path, **{**found, **changes})
    return path


@pytest.mark.parametrize("by", ["id", "sky"])
def test_labels_of_a_catalogue_become_properties(tmp_path, prepare, catalogue, by):
    folder, table = catalogue
    rows = np.array([7, 3, 100, 399, 42])
    changes = {"object_id": np.arange(5)} if by == "sky" else {}
    file = objects(tmp_path / "a.npz", table, rows, **changes)
    section = json.dumps([{"path": str(folder), "by": by, "columns": ["LOGMSTAR", "CLASS"]}])
    prepare("arrays", tmp_path / "s.zarr", f"catalogues={section}", inputs=[file])

    store = open_objects(tmp_path / "s.zarr")
    expected = table["LOGMSTAR"].to_numpy()[rows]
    np.testing.assert_array_equal(store.target("LOGMSTAR"), expected)
    assert store.table().column("CLASS").to_pylist() == [table["CLASS"][int(row)].as_py() for row in rows]
    names = [source.name for source in store.manifest.sources]
    assert sum(name.startswith(f"galaxies/dataset/Norder={ORDER}/") for name in names) == len(names) - 1


def test_near_some_objects_a_few_partitions_are_read_and_no_match_is_lost(catalogue):
    folder, table = catalogue
    opened = open_hats_table(folder, Reading())
    assert isinstance(opened, HatsTable)
    ra, dec = (table[name].to_numpy() for name in ("ra", "dec"))
    near = opened.near(ra[:3], dec[:3], 1.0)

    assert 3 <= len(near.files) <= 27 < len(opened.files)
    found = next(iter(near.read(["TARGETID"]))).values
    assert {*table["TARGETID"].to_pylist()[:3]} <= {*found.tolist()}
    # Of a border: a hair before it the object, a hair behind it the row.
    pixels = HEALPix(nside=2**ORDER, order="nested")
    for angle in np.linspace(0, 359, 40):
        here = pixels.lonlat_to_healpix(angle * units.deg, 3 * units.deg)
        there = pixels.lonlat_to_healpix((angle + 0.4 / 3600) * units.deg, 3 * units.deg)
        kept = opened.near(np.array([angle]), np.array([3.0]), 1.0).pixels
        for pixel in (here, there):
            assert ((ORDER, int(pixel)) in kept) == ((ORDER, int(pixel)) in opened.pixels)
    assert len(opened.near(ra[:1], dec[:1], 3600 * 20).files) == len(opened.files)


def test_what_a_catalogue_cannot_be_asked_for_is_said(tmp_path, prepare, catalogue):
    folder, table = catalogue
    file = objects(tmp_path / "a.npz", table, np.arange(4))
    for section, message in (
        ({"path": str(folder), "columns": ["LOGM"]}, "has no column LOGM"),
        ({"path": str(folder), "hdu": 1}, "hdu is 1"),
        ({"path": str(folder), "columns": ["PROBABILITIES"]}, "PROBABILITIES"),
    ):
        with pytest.raises(SourceError, match=message):
            prepare("arrays", tmp_path / "s.zarr", f"catalogues={json.dumps([section])}", inputs=[file])
