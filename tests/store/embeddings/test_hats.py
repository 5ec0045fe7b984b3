"""HATS collections: every object once in a partition of few, margins as a cone search finds them, vectors beside."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.dataset as dataset
import pyarrow.parquet as parquet
import pytest
from astropy import units
from astropy.coordinates import SkyCoord
from astropy_healpix import HEALPix

from polycli.errors import StoreError
from polycli.inspection import inspect_path
from polycli.store.embeddings import hats_form
from polycli.store.embeddings.hats_layout import Pixel, partitions
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.kind import read_manifest
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import PartWriter, with_vectors

COUNT, MOST = 1500, 120


def sky():
    """Positions over the whole sky, and dense ones at both poles, at right ascension 0 and along a border of pixels."""
    draw = np.random.default_rng(0)
    ra, dec = draw.uniform(0, 360, COUNT), np.degrees(np.arcsin(draw.uniform(-1, 1, COUNT)))
    dec[:200] = 90 - np.abs(draw.normal(0, 0.01, 200))
    dec[200:400] = -90 + np.abs(draw.normal(0, 0.01, 200))
    ra[400:700], dec[400:700] = np.mod(draw.normal(0, 0.002, 300), 360), draw.normal(0, 0.002, 300)
    # Right ascension 45 at the equator is a corner of four pixels of order 0.
    ra[700:800], dec[700:800] = draw.normal(45, 0.002, 100), draw.normal(0, 0.002, 100)
    return ra, dec


def healpix(ra, dec, order):
    grid = HEALPix(nside=2**order, order="nested")
    return np.asarray(grid.lonlat_to_healpix(ra * units.deg, dec * units.deg), np.int64)


@pytest.fixture(scope="module")
def catalogue():
    ra, dec = sky()
    return pa.table(
        {
            "object_id": 39633297352951412 + np.random.default_rng(1).permutation(COUNT),
            "ra": ra,
            "dec": dec,
            "healpix29": healpix(ra, dec, 29),
            "redshift": np.linspace(0, 1, COUNT),
        }
    )


@pytest.fixture(scope="module")
def vectors():
    return np.random.default_rng(2).standard_normal((COUNT, 5)).astype(np.float32)


def written(folder, catalogue, vectors, cuts, count=COUNT, before=None):
    (folder / "parts").mkdir(parents=True)
    for number, (first, end) in enumerate(zip(cuts, [*cuts[1:], count], strict=True)):
        with PartWriter(folder / "parts", number) as writer:
            rows = catalogue.slice(first, end - first)
            writer.write({"": with_vectors(rows, {"image_embedding": vectors[first:end]})})
    header = EmbeddingsHeader("astroclip", {"model_hash": "m"}, {})
    join(folder / "parts", folder / "sky.hats", header, before=before)
    return folder / "sky.hats"


@pytest.fixture(scope="module")
def collection(tmp_path_factory, catalogue, vectors):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hats_form, "PARTITION_ROWS", MOST)
        return written(tmp_path_factory.mktemp("hats"), catalogue, vectors, [0, 900])


def pixel_files(catalogue):
    """Of each partition its pixel and its table."""
    found = {}
    for file in catalogue.rglob("Norder=*/Dir=*/Npix=*.parquet"):
        order, directory, number = (int(part.partition("=")[2].split(".")[0]) for part in file.parts[-3:])
        assert directory == number // 10_000 * 10_000
        found[Pixel(order, number)] = parquet.ParquetFile(file).read()
    return found


def properties(file):
    return dict(line.split("=", 1) for line in file.read_text().splitlines())


def test_partitions_are_few_objects_that_lie_in_their_pixel_sorted(collection, catalogue):
    files = pixel_files(collection / "objects")
    for pixel, table in files.items():
        assert len(table) <= MOST
        order29 = table["_healpix_29"].to_numpy()
        assert (np.diff(order29) >= 0).all()
        assert (healpix(table["ra"].to_numpy(), table["dec"].to_numpy(), pixel.order) == pixel.number).all()
    ids = np.concatenate([table["object_id"].to_numpy() for table in files.values()])
    assert sorted(ids) == sorted(catalogue["object_id"].to_pylist())
    assert "image_embedding" not in next(iter(files.values())).column_names


def test_the_table_of_partitions_names_the_files_that_are_there(collection):
    for name in ("objects", "vectors", "objects_5arcsec"):
        lines = (collection / name / "partition_info.csv").read_text().splitlines()
        assert lines[0] == "Norder,Npix"
        named = {Pixel(*map(int, line.split(","))) for line in lines[1:]}
        files = pixel_files(collection / name)
        assert named == set(files)
        schema = parquet.read_schema(collection / name / "dataset" / "_common_metadata")
        assert all(table.schema.remove_metadata().equals(schema.remove_metadata()) for table in files.values())


def test_vectors_lie_in_the_partitions_of_their_objects_in_float16(collection, catalogue, vectors):
    objects, beside = pixel_files(collection / "objects"), pixel_files(collection / "vectors")
    expected = dict(zip(catalogue["object_id"].to_pylist(), vectors.astype(np.float16), strict=True))
    for pixel, table in beside.items():
        assert table["object_id"].to_pylist() == objects[pixel]["object_id"].to_pylist()
        assert table.schema.field("image_embedding").type == pa.list_(pa.float16(), 5)
        for name, vector in zip(table["object_id"].to_pylist(), table["image_embedding"].to_pylist(), strict=True):
            assert np.array_equal(np.array(vector, np.float16), expected[name])


def test_the_margin_of_a_partition_has_what_lies_less_than_five_arcsec_outside_of_it(collection, catalogue):
    own = {}
    for pixel, table in pixel_files(collection / "objects").items():
        own.update(dict.fromkeys(table["object_id"].to_pylist(), pixel))
    there = {
        (pixel, name)
        for pixel, table in pixel_files(collection / "objects_5arcsec").items()
        for name in table["object_id"].to_pylist()
    }
    # Whatever is really within the margin is there, and nothing that is much farther.
    assert len(wanted := across(own, catalogue, 5.0)) > 20, "the corner of four pixels and the poles have some"
    assert wanted <= there <= across(own, catalogue, 5.2)


def across(own, catalogue, radius):
    """The objects of whose circle of so many arcseconds a point lies in another partition, by astropy's offsets."""
    names = catalogue["object_id"].to_pylist()
    places = SkyCoord(catalogue["ra"].to_numpy() * units.deg, catalogue["dec"].to_numpy() * units.deg)
    pixels = sorted(set(own.values()), key=lambda pixel: pixel.first)
    starts, ends = np.array([[pixel.first for pixel in pixels], [pixel.end for pixel in pixels]])
    found = set()
    for angle in np.arange(0, 360, 4):
        points = places.directional_offset_by(angle * units.deg, radius * units.arcsec)
        order29 = healpix(points.ra.deg, points.dec.deg, 29)
        index = np.searchsorted(starts, order29, side="right") - 1
        for row in np.flatnonzero((index >= 0) & (order29 < ends[index])).tolist():
            if pixels[index[row]] != own[names[row]]:
                found.add((pixels[index[row]], names[row]))
    return found


def test_the_index_tells_the_partition_of_every_id(collection):
    index = parquet.ParquetFile(collection / "objects_id/dataset/index/part.0.parquet").read()
    assert (np.diff(index["object_id"].to_numpy()) > 0).all()
    files = pixel_files(collection / "objects")
    whole = dataset.parquet_dataset(collection / "objects_id/dataset/_metadata")
    assert whole.count_rows() == COUNT
    for row in index.to_pylist()[::50]:
        table = files[Pixel(row["Norder"], row["Npix"])]
        place = table["object_id"].to_pylist().index(row["object_id"])
        assert table["_healpix_29"][place].as_py() == row["_healpix_29"]


def test_the_collection_names_its_catalogues_and_the_extension(collection):
    whole = properties(collection / "collection.properties")
    assert whole["hats_primary_table_url"] == "objects"
    assert (whole["default_margin"], whole["all_indexes"]) == ("objects_5arcsec", "object_id objects_id")
    objects = properties(collection / "objects/hats.properties")
    assert (objects["hats_nrows"], objects["dataproduct_type"]) == (str(COUNT), "object")
    assert "image_embedding" not in properties(collection / "vectors/hats.properties")["hats_cols_default"]
    extension = properties(collection / "vectors.properties")
    assert (extension["dataproduct_type"], extension["hats_ext_cols"]) == ("extension", "image_embedding")


def content(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_the_cuts_of_the_units_do_not_show(tmp_path, monkeypatch, collection, catalogue, vectors):
    monkeypatch.setattr(hats_form, "PARTITION_ROWS", MOST)
    other = written(tmp_path, catalogue, vectors, [0, 100, 1100])
    assert content(other) == content(collection)


@pytest.mark.parametrize("ends", [(1, COUNT), (150, 420, COUNT), (750, 751, COUNT), (COUNT - 3, COUNT)])
def test_a_collection_that_grew_has_the_bytes_of_all_rows_at_once(
    tmp_path, monkeypatch, collection, catalogue, vectors, ends
):
    """At each step partitions are divided, come new, grow or stay, and margins with them."""
    monkeypatch.setattr(hats_form, "PARTITION_ROWS", MOST)
    before, first = None, 0
    for end in ends:
        before = written(tmp_path / str(end), catalogue, vectors, [first], end, before)
        first = end
    assert content(before) == content(collection)


def test_inspect_knows_it_and_finds_a_changed_byte(tmp_path, catalogue, vectors):
    path = written(tmp_path, catalogue, vectors, [0])
    assert read_manifest(path)["vectors"] == {"image_embedding": {"width": 5, "dtype": "float16"}}
    assert "every file has the hash" in inspect_path(path, verify=True).document["verified"]
    file = next((path / "vectors").rglob("Npix=*.parquet"))
    file.write_bytes(file.read_bytes().replace(b"PAR1", b"PAR2", 1))
    with pytest.raises(StoreError, match=r"Npix=\d+\.parquet: damaged"):
        inspect_path(path, verify=True)
    assert json.loads((path / "_MANIFEST.json").read_text())["rows"] == COUNT


def test_what_makes_no_catalogue_is_refused(tmp_path, catalogue, vectors):
    with pytest.raises(StoreError, match="needs positions, and there is no column ra"):
        written(tmp_path / "1", catalogue.drop_columns("ra"), vectors, [0])
    unknown = catalogue["healpix29"].to_numpy().copy()
    unknown[3] = -1
    with pytest.raises(StoreError, match="needs positions, and 1 objects have none"):
        written(tmp_path / "2", catalogue.set_column(3, "healpix29", pa.array(unknown)), vectors, [0])
    with pytest.raises(StoreError, match=r"image_embedding: a vector has a number of 1e\+05, and float16"):
        written(tmp_path / "3", catalogue, np.where(np.arange(5) == 1, 1e5, vectors).astype(np.float32), [0])


def test_pixels_are_divided_until_few_objects_are_in_each():
    order29 = np.sort(np.r_[np.arange(10), Pixel(0, 11).first + np.arange(3) * 4**28])
    assert partitions(order29, 20) == [Pixel(0, 0), Pixel(0, 11)]
    assert partitions(order29, 2)[-3:] == [Pixel(1, 44), Pixel(1, 45), Pixel(1, 46)]
    # Ten objects in ten neighbouring pixels of order 29 are too near to each other.
    assert partitions(order29, 2)[0].order == 19
