"""HATS catalogues and Parquet files with images and spectra, read beside plain pyarrow; what is refused."""

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from polycli.astroclip.data.store import open_objects
from polycli.astroclip.sources.hats.cursor import read_parquet_rows
from polycli.astroclip.sources.hats.source import HatsSource
from polycli.astroclip.sources.multimodal.source import MmuSource
from polycli.errors import SourceError
from polycli.workflow.sources import find_source

COUNT, SIZE = 24, 6


def _images(hats, seed=0, **changes):
    ra, dec = hats.objects(COUNT, seed)
    pixels = np.random.default_rng(seed).normal(1, 1, (COUNT, 4, SIZE, SIZE)).astype(np.float32)
    columns = {
        "image": hats.image_struct(pixels),
        "rgb": pa.array([{"bytes": b"png", "path": None}] * COUNT),
        "EBV": pa.array(np.linspace(0, 0.1, COUNT).astype(np.float32)),
        "FLUX_R": pa.array([None if row == 3 else float(row) for row in range(COUNT)], pa.float32()),
        "FLAG": pa.array([None if row == 5 else row for row in range(COUNT)], pa.int32()),
        "object_id": pa.array([f"b'0421p022-{row}'" for row in range(COUNT)]),
        "ra": pa.array(ra),
        "dec": pa.array(dec),
    }
    return pixels, pa.table({**columns, **changes})


def _desi(hats, seed=0, grid=None, **changes):
    ra, dec = hats.objects(COUNT, seed)
    generator = np.random.default_rng(seed + 1)
    grid = 3600 + 0.8 * np.arange(7781) if grid is None else grid
    flux = generator.normal(3, 1, (COUNT, grid.size)).astype(np.float32)
    ivar = generator.uniform(0.5, 2, flux.shape).astype(np.float32)
    mask = generator.random(flux.shape) < 0.02
    columns = {
        "spectrum": hats.spectrum_struct(np.repeat(grid[None].astype(np.float32), COUNT, 0), flux, ivar, mask),
        "Z": pa.array(generator.uniform(0, 0.5, COUNT).astype(np.float32)),
        "ZWARN": pa.array(np.arange(COUNT) == 2),
        "object_id": pa.array([str(39627866878511337 + row) for row in range(COUNT)]),
        "ra": pa.array(ra),
        "dec": pa.array(dec),
    }
    return flux, ivar, mask, pa.table({**columns, **changes})


def _read(listing, rows=None):
    rows = np.arange(len(listing)) if rows is None else np.asarray(rows)
    return listing.reader.read(listing.file[rows], listing.row[rows])


def _column(listing, name):
    return next(column for column in listing.columns if column.name == name)


@pytest.mark.parametrize("form", ["image_struct", "image_list"])
def test_images_of_a_collection_have_the_files_pixels_bands_and_columns(tmp_path, hats, form):
    pixels, table = _images(hats)
    table = table.set_column(0, "image", getattr(hats, form)(pixels))
    hats.write(tmp_path, table)
    listing = HatsSource().open([tmp_path], hats.recipe(), None)

    assert len(listing) == COUNT  # the margin's rows are not among them
    assert (listing.image.bands, listing.image.size) == (("g", "r", "i", "z"), (SIZE, SIZE))
    assert listing.image.pixel_scale_arcsec == 0.262
    source = np.array([int(name.split("-")[1]) for name in listing.ids])
    assert sorted(source) == list(range(COUNT))
    np.testing.assert_array_equal(_read(listing).image, pixels[source])
    some = np.array([17, 3, 3, 20])
    np.testing.assert_array_equal(_read(listing, some).image, pixels[source[some]])
    np.testing.assert_array_equal(listing.ra, table["ra"].to_numpy()[source])
    np.testing.assert_array_equal(np.isnan(_column(listing, "FLUX_R").values), source == 3)
    assert _column(listing, "FLAG").valid.tolist() == (source != 5).tolist()
    assert {column.name for column in listing.columns} == {"EBV", "FLUX_R", "FLAG"}


def test_spectra_lie_on_their_grid_and_zwarn_is_a_warning(tmp_path, hats):
    flux, ivar, mask, table = _desi(hats)
    hats.write(tmp_path, table, suffix="/")
    listing = MmuSource().open([tmp_path], hats.recipe(), None)
    payload = _read(listing)

    source = listing.ids - 39627866878511337
    np.testing.assert_array_equal(listing.wavelength, 3600 + 0.8 * np.arange(7781))
    np.testing.assert_array_equal(payload.spectrum, flux[source])
    np.testing.assert_array_equal(payload.ivar, ivar[source])
    np.testing.assert_array_equal(payload.mask, mask[source])
    np.testing.assert_array_equal(listing.good_redshift, source != 2)
    np.testing.assert_array_equal(listing.redshift, table["Z"].to_numpy()[source])
    assert listing.source == "mmu"


def test_the_first_releases_export_has_zwarn_turned_round(tmp_path, hats, capsys):
    *_, table = _desi(hats, grid=4000.0 + np.arange(30))
    table = table.set_column(2, "ZWARN", pa.array(np.arange(COUNT) != 2))
    parquet.write_table(table, tmp_path / "train-00000-of-00001.parquet")
    listing = HatsSource().open([tmp_path], hats.recipe(), None)

    assert listing.good_redshift.tolist() == [row != 2 for row in range(COUNT)]
    assert "True is taken for no warning" in capsys.readouterr().err


def test_spectra_padded_to_other_lengths_in_each_row_share_the_lattice(tmp_path, hats):
    starts, lengths = 35_800 + np.arange(COUNT), 20 + np.arange(COUNT) % 5
    rows = []
    for row in range(COUNT):
        length = int(lengths[row]) + 3
        wavelength = np.full(length, -1.0)
        wavelength[:-3] = 10 ** (1e-4 * (starts[row] + np.arange(length - 3)))
        values = np.arange(length) + 100.0 * row
        rows.append(
            {
                "flux": values.tolist(),
                "ivar": np.ones(length).tolist(),
                "lambda": wavelength.tolist(),
                "mask": (wavelength < 0).tolist(),
            }
        )
    *_, table = _desi(hats, grid=4000.0 + np.arange(30))
    hats.write(tmp_path, table.set_column(0, "spectrum", pa.array(rows)))
    listing = HatsSource().open([tmp_path], hats.recipe(), None)
    payload = _read(listing)

    first = int(starts.min())
    stop = int((starts + lengths).max())
    np.testing.assert_allclose(listing.wavelength, 10 ** (1e-4 * np.arange(first, stop)), rtol=1e-12)
    for row, source in enumerate((listing.ids - 39627866878511337).tolist()):
        here = slice(int(starts[source]) - first, int(starts[source] + lengths[source]) - first)
        np.testing.assert_array_equal(payload.spectrum[row, here], np.arange(lengths[source]) + 100.0 * source)
        assert payload.mask[row].sum() == listing.wavelength.size - lengths[source]


def test_columns_of_a_cross_match_are_found_by_their_surveys_suffix(tmp_path, hats, prepare):
    pixels, images = _images(hats)
    flux, _, _, spectra = _desi(hats, grid=4000.0 + np.arange(30))
    one, other = "-mmu_legacysurvey_dr10_south_21", "-mmu_desi_edr_sv3"
    columns = {f"{name}{one}": images[name] for name in images.column_names if name not in ("ra", "dec")}
    columns |= {f"{name}{other}": spectra[name] for name in spectra.column_names if name not in ("ra", "dec")}
    table = pa.table({**columns, "ra": images["ra"], "dec": images["dec"], "_dist_arcsec": pa.array(np.zeros(COUNT))})
    hats.write(tmp_path / "both", table)
    prepare("hats", tmp_path / "pairs.zarr", inputs=[tmp_path / "both"])

    store = open_objects(tmp_path / "pairs.zarr")
    source = store.ids() - 39627866878511337
    np.testing.assert_array_equal(store.read_images(np.arange(COUNT)), pixels[source])
    found = store.read_spectra(np.arange(COUNT))
    np.testing.assert_array_equal(found.flux, flux[source])
    assert store.bands == ("g", "r", "i", "z")
    np.testing.assert_allclose(store.target("redshift"), spectra["Z"].to_numpy()[source])


def test_plain_lists_are_read_as_the_recipe_describes_them(tmp_path, hats, capsys):
    ra, dec = hats.objects(COUNT)
    generator = np.random.default_rng(0)
    pixels = generator.normal(1, 1, (COUNT, 2, SIZE, SIZE)).astype(np.float32)
    flux = generator.normal(3, 1, (COUNT, 30))
    wavelength = np.repeat(4000.0 + np.arange(30)[None], COUNT, 0)
    table = pa.table(
        {
            "cutout": hats.nested(pixels, pa.float32()),
            "f": hats.nested(flux, pa.float64()),
            "w": hats.nested(wavelength, pa.float64()),
            "name": pa.array(np.arange(COUNT)),
            "ra": pa.array(ra),
            "dec": pa.array(dec),
            "z_spec": pa.array(np.full(COUNT, 0.25)),
        }
    )
    hats.write(tmp_path, table)
    arrays = {"image": "cutout", "bands": ["g", "z"], "spectrum": "f", "wavelength": "w", "object_id": "name"}
    arrays |= {"zero_point": 25.0, "flux_unit": 1e-16, "pixel_scale_arcsec": 0.4}
    listing = HatsSource().open([tmp_path], hats.recipe(arrays=arrays), None)
    payload = _read(listing)

    np.testing.assert_allclose(payload.image, pixels[listing.ids] / 10, rtol=1e-6)
    np.testing.assert_allclose(payload.spectrum, flux[listing.ids] * 10, rtol=1e-6)
    assert listing.spectrum.ivar == "unknown"
    assert (listing.image.bands, listing.image.pixel_scale_arcsec) == (("g", "z"), 0.4)
    assert (listing.redshift == 0.25).all()
    assert "nothing names the unit" not in capsys.readouterr().err
    HatsSource().open([tmp_path], hats.recipe(arrays={**arrays, "zero_point": None}), None)
    assert "cutout: nothing names the unit of the pixels; taken are nanomaggies" in capsys.readouterr().err


def test_a_z_beside_other_bands_is_a_magnitude_unless_the_recipe_says_otherwise(tmp_path, hats):
    bands = {band: pa.array(np.full(COUNT, value)) for band, value in (("g", 21.0), ("r", 20.0), ("z", 19.3))}
    _, table = _images(hats, **bands)
    hats.write(tmp_path, table)
    listing = HatsSource().open([tmp_path], hats.recipe(), None)
    assert np.isnan(listing.redshift).all()
    assert _column(listing, "z").values.tolist() == [19.3] * COUNT
    said = HatsSource().open([tmp_path], hats.recipe(arrays={"redshift": "z"}), None)
    assert (said.redshift == 19.3).all()


@pytest.mark.parametrize("kind", [pa.int32(), pa.bool_()])
def test_a_redshift_whose_warning_is_absent_is_not_good(tmp_path, hats, kind):
    warnings = [None if row in (4, 7) else row == 2 for row in range(COUNT)]
    values = pa.array(warnings, pa.bool_()).cast(kind)
    _, _, _, table = _desi(hats, grid=4000.0 + 10 * np.arange(30), ZWARN=values)
    hats.write(tmp_path, table)
    listing = HatsSource().open([tmp_path], hats.recipe(), None)
    row = np.array([int(each) - 39627866878511337 for each in listing.ids])
    assert sorted(row[~listing.good_redshift].tolist()) == [2, 4, 7]


def test_an_absent_image_is_rejected_and_the_others_are_kept(tmp_path, hats, prepare):
    pixels, table = _images(hats)
    absent = pa.array([row == 7 for row in range(COUNT)])
    image = pa.StructArray.from_arrays(
        hats.image_struct(pixels).flatten(), names=["band", "flux", "mask", "ivar", "psf_fwhm", "scale"], mask=absent
    )
    hats.write(tmp_path / "h", table.set_column(0, "image", image))
    prepare("hats", tmp_path / "s.zarr", inputs=[tmp_path / "h"])

    store = open_objects(tmp_path / "s.zarr")
    assert len(store) == COUNT - 1
    assert [(entry.id, entry.reason) for entry in store.manifest.rejected] == [
        ("0421p022-7", "missing band: g has no finite pixel")
    ]
    source = np.array([int(name.split("-")[1]) for name in store.ids()])
    np.testing.assert_array_equal(store.read_images(np.arange(COUNT - 1)), pixels[source])


def test_blocks_in_rising_order_decode_every_row_once_and_any_order_is_right(tmp_path, monkeypatch):
    monkeypatch.setattr("polycli.astroclip.sources.hats.cursor.ROWS", 3)
    parquet.write_table(
        pa.table({"x": np.arange(50), "y": np.arange(50) * 2}), tmp_path / "a.parquet", row_group_size=7
    )
    for rows in ([0, 1, 2], [3, 4, 5, 6, 7], [20, 30], [10, 49, 11], [49], [0, 0], [8, 9]):
        found = read_parquet_rows(tmp_path / "a.parquet", ["x"], np.array(rows))
        assert found["x"].to_pylist() == rows
        assert found.column_names == ["x"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "collection.properties").write_text("a=b\n"), "hats_primary_table_url is ''"),
        (
            lambda folder: (folder / "collection.properties").write_text("hats_primary_table_url=../other\n"),
            r"hats_primary_table_url is '\.\./other'",
        ),
        (lambda folder: next(folder.glob("objects/**/Npix=*.parquet")).unlink(), "1 of .* partitions are missing"),
        (
            lambda folder: (folder / "objects/partition_info.csv").write_text("Norder,Pixel\n2,3\n"),
            "the table of partitions cannot be read",
        ),
        (
            lambda folder: next(folder.glob("objects/**/Npix=*.parquet")).write_bytes(b"PAR1 no more"),
            "the Parquet file is truncated or damaged",
        ),
        (lambda folder: (folder / "objects/hats.properties").unlink(), "no HATS catalogue: it has no hats.properties"),
    ],
    ids=["no primary", "elsewhere", "a partition", "partitions", "truncated", "no properties"],
)
def test_a_damaged_collection_ends_in_a_sentence(tmp_path, hats, change, message):
    hats.write(tmp_path, _images(hats)[1])
    change(tmp_path)

    with pytest.raises(SourceError, match=message):
        HatsSource().open([tmp_path], hats.recipe(), None)


def test_a_margin_is_no_catalogue_of_objects(tmp_path, hats):
    hats.write(tmp_path, _images(hats)[1])

    with pytest.raises(SourceError, match="is a catalogue of type margin, one of objects was expected"):
        HatsSource().open([tmp_path / "objects_10arcs"], hats.recipe(), None)


def test_columns_that_are_missing_or_doubtful_are_named(tmp_path, hats):
    pixels, table = _images(hats)
    cases = {
        "neither": (table.drop_columns("image"), "has no column of images or spectra"),
        "no ids": (table.drop_columns("object_id"), "has no column object_id with the objects' ids"),
        "two": (
            table.rename_columns(["image-a" if name == "image" else name for name in table.column_names]).append_column(
                "image-b", hats.image_struct(pixels)
            ),
            "image-a and image-b could each be image",
        ),
        "hsc": (table.set_column(0, "image", hats.image_struct(pixels, ("G", "R", "I", "Z"))), "the band g is not one"),
        "sizes": (
            table.set_column(
                0,
                "image",
                pa.concat_arrays([hats.image_struct(pixels[:20]), hats.image_struct(pixels[20:, :, :4, :4])]),
            ),
            "sizes differ from object to object",
        ),
    }
    for name, (changed, message) in cases.items():
        parquet.write_table(changed, tmp_path / f"{name}.parquet")
        with pytest.raises(SourceError, match=message):
            _read(HatsSource().open([tmp_path / f"{name}.parquet"], hats.recipe(), None))


def test_predict_finds_the_source_by_a_look(tmp_path, hats):
    hats.write(tmp_path / "h", _images(hats)[1])
    parquet.write_table(_images(hats)[1], tmp_path / "plain.parquet")

    assert find_source("astroclip", [tmp_path / "h"]) == "hats"
    assert find_source("astroclip", [tmp_path / "plain.parquet"]) == "hats"


def test_healpix_folders_and_hats_pair(tmp_path, hats, prepare, survey_files):
    _, images = _images(hats)
    survey_files.coadd(
        tmp_path / "coadd.fits",
        ids=survey_files.desi_ids(3),
        ra=images["ra"].to_numpy()[:3],
        dec=images["dec"].to_numpy()[:3],
    )
    hats.write(tmp_path / "h", images)
    prepare("desi+mmu", tmp_path / "p.zarr", inputs=[tmp_path / "h", tmp_path / "coadd.fits"])

    assert open_objects(tmp_path / "p.zarr").about.pairing.pairs == 3


def test_absent_spectra_are_rejected_and_the_others_are_kept(tmp_path, hats, prepare):
    flux, ivar, mask, table = _desi(hats, grid=4000.0 + np.arange(30))
    absent = pa.array([row in (4, 9) for row in range(COUNT)])
    wavelength = np.repeat(4000 + np.arange(30.0)[None], COUNT, 0)
    whole = hats.spectrum_struct(wavelength, flux, ivar, mask)
    spectrum = pa.StructArray.from_arrays(
        whole.flatten(), names=["flux", "ivar", "lsf_sigma", "lambda", "mask"], mask=absent
    )
    hats.write(tmp_path / "h", table.set_column(0, "spectrum", spectrum))
    prepare("hats", tmp_path / "s.zarr", inputs=[tmp_path / "h"])

    store = open_objects(tmp_path / "s.zarr")
    source = store.ids() - 39627866878511337
    assert sorted(source) == [row for row in range(COUNT) if row not in (4, 9)]
    np.testing.assert_array_equal(store.read_spectra(np.arange(COUNT - 2)).flux, flux[source])
    assert {entry.reason.split(":")[0] for entry in store.manifest.rejected} == {"no valid pixel"}


def test_of_a_large_row_group_a_few_rows_are_in_memory(tmp_path):
    values = np.random.default_rng(0).normal(size=(2000, 4000)).astype(np.float32)
    flat = pa.array(values.reshape(-1))
    column = pa.ListArray.from_arrays(np.arange(2001, dtype=np.int32) * 4000, flat)
    parquet.write_table(pa.table({"x": column}), tmp_path / "a.parquet", row_group_size=2000)
    del column, flat
    before = pa.total_allocated_bytes()
    found = read_parquet_rows(tmp_path / "a.parquet", ["x"], np.arange(3, 9))
    held = pa.total_allocated_bytes() - before

    assert held < 8 * 2**20  # of 32 MB
    np.testing.assert_array_equal(np.stack(found["x"].to_pylist()).astype(np.float32), values[3:9])


def test_two_collections_pair_as_two_sources_do(tmp_path, hats, prepare):
    pixels, images = _images(hats)
    flux, _, _, spectra = _desi(hats, grid=4000.0 + np.arange(30))
    hats.write(tmp_path / "images", images, order=2)
    hats.write(tmp_path / "spectra", spectra, order=1)
    prepare("mmu+mmu", tmp_path / "p.zarr", inputs=[tmp_path / "spectra", tmp_path / "images"])

    store = open_objects(tmp_path / "p.zarr")
    source = store.ids() - 39627866878511337
    assert store.about.pairing.pairs == COUNT
    np.testing.assert_array_equal(store.read_images(np.arange(COUNT)), pixels[source])
    np.testing.assert_array_equal(store.read_spectra(np.arange(COUNT)).flux, flux[source])
