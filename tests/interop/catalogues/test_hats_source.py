"""A collection that lsdb writes, with structs as the Multimodal Universe has them, becomes a store with its numbers.

Runs in an environment of its own, `make test-interop`.
"""

import json

import numpy as np
import pyarrow as pa
import pytest

from polycli.astroclip.data.store import open_objects
from polycli.astroclip.prepare import run
from polycli.requests import PrepareRequest

pytestmark = pytest.mark.interop
COUNT, SIZE, PIXELS = 600, 5, 40


def survey():
    """A table of images and spectra over the whole sky, many of them in one small patch."""
    import pandas as pd

    draw = np.random.default_rng(0)
    ra, dec = draw.uniform(0, 360, COUNT), np.degrees(np.arcsin(draw.uniform(-1, 1, COUNT)))
    ra[:300], dec[:300] = draw.normal(45, 0.5, 300), draw.normal(0, 0.5, 300)
    images = draw.normal(1, 1, (COUNT, 4, SIZE, SIZE)).astype(np.float32)
    flux = draw.normal(3, 1, (COUNT, PIXELS)).astype(np.float32)
    wavelength = (4000 + 2.0 * np.arange(PIXELS)).astype(np.float32)
    image = [
        {
            "band": ["DES-G", "DES-R", "DES-I", "DES-Z"],
            "flux": [plane.tolist() for plane in planes],
            "psf_fwhm": [1.0] * 4,
            "scale": [0.262] * 4,
        }
        for planes in images
    ]
    spectrum = [
        {"flux": row.tolist(), "ivar": [2.0] * PIXELS, "lambda": wavelength.tolist(), "mask": [False] * PIXELS}
        for row in flux
    ]
    plane = pa.list_(pa.list_(pa.float32()))
    numbers = pa.list_(pa.float32())
    image_type = pa.struct(
        [("band", pa.list_(pa.string())), ("flux", pa.list_(plane)), ("psf_fwhm", numbers), ("scale", numbers)]
    )
    spectrum_type = pa.struct(
        [("flux", numbers), ("ivar", numbers), ("lambda", numbers), ("mask", pa.list_(pa.bool_()))]
    )
    frame = pd.DataFrame(
        {
            "object_id": [str(39627866878511337 + row) for row in range(COUNT)],
            "ra": ra,
            "dec": dec,
            "Z": draw.uniform(0, 0.5, COUNT),
            "image": pd.Series(pd.arrays.ArrowExtensionArray(pa.array(image, image_type))),
            "spectrum": pd.Series(pd.arrays.ArrowExtensionArray(pa.array(spectrum, spectrum_type))),
        }
    )
    return frame, images, flux, wavelength


def test_a_catalogue_of_lsdb_becomes_a_store_with_its_numbers(tmp_path):
    import lsdb

    frame, images, flux, wavelength = survey()
    catalogue = lsdb.from_dataframe(
        frame, ra_column="ra", dec_column="dec", catalog_name="sky", partition_rows=100, margin_threshold=10
    )
    catalogue.write_catalog(tmp_path / "sky", catalog_name="sky")
    assert len(list((tmp_path / "sky").rglob("Npix=*.parquet"))) > 5
    run(PrepareRequest(source="hats", inputs=(tmp_path / "sky",), output=tmp_path / "s.zarr", workers=1))

    store = open_objects(tmp_path / "s.zarr")
    source = store.ids() - 39627866878511337
    assert sorted(source) == list(range(COUNT))
    rows = np.arange(COUNT)
    np.testing.assert_array_equal(store.read_images(rows), images[source])
    np.testing.assert_array_equal(store.read_spectra(rows).flux, flux[source])
    np.testing.assert_array_equal(store.wavelength, wavelength.astype(np.float64))
    np.testing.assert_array_equal(store.target("redshift"), frame["Z"].to_numpy()[source])
    np.testing.assert_array_equal(store.column("ra"), frame["ra"].to_numpy()[source])


@pytest.mark.parametrize("by", ["id", "sky"])
def test_a_catalogue_of_lsdb_gives_labels(tmp_path, by):
    import lsdb

    frame, images, *_ = survey()
    labels = frame[["object_id", "ra", "dec", "Z"]].rename(columns={"Z": "LABEL"})
    lsdb.from_dataframe(
        labels, ra_column="ra", dec_column="dec", catalog_name="labels", partition_rows=100, margin_threshold=10
    ).write_catalog(tmp_path / "labels", catalog_name="labels")
    rows = np.arange(0, 300, 7)
    ids = [str(name) for name in frame["object_id"].to_numpy()[rows]]
    places = {name: frame[name].to_numpy()[rows] for name in ("ra", "dec")}
    np.savez(tmp_path / "a.npz", image=images[rows][:, [0, 1, 3]], object_id=np.array(ids), **places)
    section = json.dumps([{"path": str(tmp_path / "labels"), "by": by, "columns": ["LABEL"]}])
    run(
        PrepareRequest(
            source="arrays",
            inputs=(tmp_path / "a.npz",),
            output=tmp_path / "s.zarr",
            overrides=(f"catalogues={section}",),
            workers=1,
        )
    )

    store = open_objects(tmp_path / "s.zarr")
    np.testing.assert_array_equal(store.target("LABEL"), labels["LABEL"].to_numpy()[rows])
