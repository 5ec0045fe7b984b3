"""`polycli.embed_partition` of objects: images and spectra in cells get the vectors that those of a store get."""

import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

import polycli
from polycli.astroclip import embed, open_objects
from polycli.errors import StoreError
from polycli.requests import EmbedRequest


@pytest.fixture(scope="module")
def cells(mock_store):
    """A table of 8 objects, and what is to be said of its columns."""
    store, rows = open_objects(mock_store), np.arange(8)
    spectra = store.read_spectra(rows)
    table = pa.table(
        {
            "object_id": store.ids(rows),
            "image": store.read_images(rows).tolist(),
            "flux": spectra.flux.tolist(),
            "ivar": spectra.ivar.tolist(),
        }
    )
    said = {"image": "image", "bands": store.bands, "flux": "flux", "ivar": "ivar", "wavelength": store.wavelength}
    return table, said


@pytest.fixture(scope="module")
def written(tmp_path_factory, tiny_model, mock_store):
    output = tmp_path_factory.mktemp("written") / "e.parquet"
    embed.run(EmbedRequest(checkpoint=tiny_model, data=(mock_store,), output=output, limit=8))
    return parquet.read_table(output)


def test_objects_get_the_vectors_that_embed_gives_them(tiny_model, cells, written):
    table, said = cells
    function = pickle.loads(pickle.dumps(polycli.embed_partition("astroclip", tiny_model, **said)))  # noqa: S301
    made = function(table)
    for kind in ("image", "spectrum", "fused"):
        vectors, expected = (np.array(found[f"{kind}_embedding"].to_pylist()) for found in (made, written))
        np.testing.assert_allclose(vectors, expected, atol=1e-5)
    assert made["object_id"].to_pylist() == written["object_id"].to_pylist()
    empty = function(table.slice(0, 0))
    assert empty.schema.equals(made.schema)


def test_one_modality_alone_and_columns_that_are_kept(tiny_model, cells, written):
    table, said = cells
    function = polycli.embed_partition("astroclip", tiny_model, image="image", bands=said["bands"], keep=["object_id"])
    made = function(table)
    assert made.column_names == ["object_id", "image_embedding"]
    np.testing.assert_allclose(
        np.array(made["image_embedding"].to_pylist()), np.array(written["image_embedding"].to_pylist()), atol=1e-5
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bands": ("g", "r", "i")}, "bands"),
        ({"bands": ("g", "r")}, r"image: has 3 bands, and g, r are said"),
        ({"pixel_scale_arcsec": 0.5}, r"0\.5"),
        ({"wavelength": np.arange(7781) * 0.7 + 3700}, "the table"),
        ({"wavelength": np.arange(10.0)}, "flux: spectra of 7781 pixels, on 10 wavelengths"),
        ({"image": "flux"}, r"flux: cells are \(7781,\), \(band, y, x\) was expected"),
        ({"image": None, "flux": None}, "neither a column of images nor one of spectra is named"),
        ({"bands": ()}, "the bands of the images in image are not said"),
        ({"wavelength": ()}, "the wavelengths of the spectra in flux are not said"),
        ({"image": "picture"}, "the table has no column picture"),
    ],
)
def test_data_that_the_model_was_not_trained_on_are_refused(tiny_model, cells, changes, message):
    table, said = cells
    with pytest.raises(StoreError, match=message):
        polycli.embed_partition("astroclip", tiny_model, **{**said, **changes})(table)
