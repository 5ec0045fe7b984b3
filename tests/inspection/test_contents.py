"""What people hold, looked into: HDUs and columns with units, trees of arrays, ranges, first rows and pictures."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pytest
import zarr
from astropy.io import fits
from astropy.table import Table
from pyarrow import parquet

from polycli import __main__ as entry
from polycli.inspection import inspect_path
from polycli.inspection.contents.arrays import range_of
from polycli.inspection.contents.cells import cell_of, plain_value


@pytest.fixture
def polycli(capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(*words):
        code = entry.run(["inspect", *map(str, words)])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return run


def flat(path):
    return " ".join(" ".join(inspect_path(path).lines).split())


@pytest.fixture
def survey(tmp_path):
    """A FITS file with an image, a table with units, a gap and a vector column."""
    image = fits.ImageHDU(np.arange(240, dtype=np.float32).reshape(12, 20), name="CUTOUT")
    image.header["BUNIT"] = "nanomaggy"
    table = Table({"TARGETID": [7, 8, 9], "Z": [0.1, np.nan, 0.3], "FLUX": np.ones((3, 5))})
    table["Z"].unit = "km"
    hdus = fits.HDUList([fits.PrimaryHDU(), image, fits.BinTableHDU(table, name="REDSHIFTS")])
    hdus.writeto(tmp_path / "survey.fits")
    return tmp_path / "survey.fits"


def test_every_hdu_of_a_fits_file_is_listed_with_the_columns_of_its_tables(survey):
    said = flat(survey)
    assert "1 CUTOUT image, 12 x 20 float32 [nanomaggy]" in said
    assert "2 REDSHIFTS table, 3 rows of 3 columns" in said
    assert "columns of 2 REDSHIFTS TARGETID K Z D [km] FLUX 5D" in said
    assert inspect_path(survey).document["columns"] == {"2 REDSHIFTS": ["TARGETID K", "Z D [km]", "FLUX 5D"]}


def test_a_tree_of_hdf5_has_a_line_for_each_array_with_its_unit(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for index in range(50):
            file[f"run/{index:02d}/velocity"] = np.zeros((4, 3 + index))
            file[f"run/{index:02d}/velocity"].attrs["units"] = "m/s"
    finding = inspect_path(tmp_path / "a.h5")
    lines = [" ".join(line.split()) for line in finding.lines]
    assert "run/00/velocity 4 x 3 float64 [m/s]" in lines
    assert lines[-1] == "and 10 more"
    assert len(finding.document["datasets"]) == 50


def test_numpy_files_tell_type_and_range(tmp_path):
    np.savez(tmp_path / "a.npz", u=np.array([[1.0, np.nan], [-2.5, 4.0]], np.float32), names=np.array(["a", "b"]))
    assert "u 2 x 2 float32, -2.5 to 4, 1 is not finite" in flat(tmp_path / "a.npz")
    assert "names 2 <U1" in flat(tmp_path / "a.npz")
    np.save(tmp_path / "a.npy", np.arange(6))
    assert "numbers 0 to 5" in flat(tmp_path / "a.npy")
    assert range_of(np.array([np.nan])) == "no finite number"


def test_an_array_of_python_objects_is_named_and_never_unpickled(tmp_path):
    np.savez(tmp_path / "a.npz", x=np.array([{"a": 1}], dtype=object))
    assert "whose content polycli does not read" in flat(tmp_path / "a.npz")


@pytest.fixture
def hats(tmp_path):
    folder = tmp_path / "objects"
    place = folder / "dataset" / "Norder=0" / "Dir=0"
    place.mkdir(parents=True)
    table = pa.table({"ra": [1.0, 2.0], "dec": [3.0, 4.0], "name": ["a", "b"]})
    parquet.write_table(table, place / "Npix=4.parquet")
    parquet.write_metadata(table.schema, folder / "dataset" / "_common_metadata")
    (folder / "hats.properties").write_text(
        "# a comment\nobs_collection = gaia\ndataproduct_type=object\nhats_nrows=2\nhats_col_ra=ra\nhats_col_dec=dec\n"
    )
    return folder


def test_a_hats_catalogue_of_others_tells_rows_partitions_and_columns(hats):
    said = flat(hats)
    assert "a HATS catalogue, gaia" in said
    assert "rows 2 partitions 1 position ra and dec" in said
    assert "columns ra double dec double name string" in said
    (hats.parent / "collection.properties").write_text("obs_collection=gaia\nhats_primary_table_url=objects\n")
    assert f"a HATS collection, gaia objects in objects more polycli inspect {hats}" in flat(hats.parent)


def write(kind, folder):
    columns = {"id": ["a", "b", "c"], "z": [0.5, None, 2.0]}
    path = folder / f"rows.{kind}"
    if kind == "parquet":
        parquet.write_table(pa.table(columns), path)
    elif kind == "fits":
        Table({"id": columns["id"], "z": [0.5, np.nan, 2.0]}).write(path)
    elif kind == "npz":
        np.savez(path, id=np.array(columns["id"]), z=np.array([0.5, np.nan, 2.0]), other=np.zeros(7))
    else:
        with h5py.File(path, "w") as file:
            file["id"] = [b"a", b"b", b"c"]
            file["z"] = [0.5, np.nan, 2.0]
    return path


@pytest.mark.parametrize("kind", ["parquet", "fits", "npz", "h5"])
def test_head_shows_the_first_rows_of_a_table(polycli, tmp_path, kind):
    path = write(kind, tmp_path)
    code, out, _ = polycli(path, "--head", 2)
    assert code == 0
    assert [line.split() for line in out.splitlines()[-2:]] == [["a", "0.5"], ["b", "-"]]
    _, out, _ = polycli(path, "--head", 1, "--json")
    assert json.loads(out)["head"] == [{"id": "a", "z": 0.5}]


def test_head_of_text_is_its_first_lines_as_they_stand(polycli, tmp_path):
    (tmp_path / "a.csv").write_text("mass (kg);price\n1,5;2\n3,5;4\n")
    assert polycli(tmp_path / "a.csv", "--head", 2)[1].splitlines()[-2:] == ["mass (kg);price", "1,5;2"]


def test_head_of_a_hats_catalogue_is_that_of_its_first_partition(polycli, hats):
    assert polycli(hats, "--head", 1)[1].splitlines()[-1].split() == ["1", "3", "a"]


def test_head_of_a_folder_is_that_of_the_first_file_with_rows_by_name(polycli, tmp_path):
    (tmp_path / "a.bin").write_bytes(bytes(100))
    (tmp_path / "b.csv").write_text("mass,price\n1,2\n3,4\n")
    write("parquet", tmp_path).rename(tmp_path / "c.other")
    assert polycli(tmp_path, "--head", 2)[1].splitlines()[-3:] == ["b.csv:", "mass,price", "1,2"]
    (tmp_path / "b.csv").unlink()
    out = polycli(tmp_path, "--head", 1)[1]
    assert "c.other" in out
    assert out.splitlines()[-1].split() == ["a", "0.5"]


def test_what_is_in_a_file_is_folded_between_words_on_a_narrow_screen(polycli, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("mass (kg),solvent\n1,water\n2,a long name of a solvent\n3,acetone\n")
    monkeypatch.chdir(tmp_path)
    wide = polycli("a.csv")[1]
    for columns in (80, 40, 24):
        monkeypatch.setenv("COLUMNS", str(columns))
        narrow = polycli("a.csv")[1]
        assert max(map(len, narrow.splitlines())) <= columns
        assert narrow.split() == wide.split()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.123456789, "0.123457"),
        (np.float32(2), "2"),
        (b"abc", "abc"),
        (float("nan"), "-"),
        (None, "-"),
        (7, "7"),
        (np.zeros((2, 3)), "[0, 0, 0, ...] of 2 x 3"),
        ([1, 2], "[1, 2] of 2"),
        ({"a": 1.5}, "a: 1.5"),
    ],
)
def test_values_are_short_in_tables(value, text):
    assert cell_of(value) == text
    json.dumps(plain_value(value))


@pytest.mark.parametrize("kind", ["parquet", "fits", "npz", "h5"])
def test_a_figure_shows_how_the_values_of_a_table_are_spread(polycli, tmp_path, kind):
    code, _, err = polycli(write(kind, tmp_path), "--figure", tmp_path / "a.png")
    assert code == 0
    assert f"picture: {tmp_path / 'a.png'}" in err or f"pictures: {tmp_path / 'a.png'}" in err
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_figure_of_forecasts_shows_the_first_and_the_last_frame_of_each_field(polycli, tmp_path, monkeypatch):
    """It found nothing to draw in what predict writes."""
    drawn = []
    monkeypatch.setattr("polycli.inspection.picture._draw", lambda _, panel: drawn.append(panel))
    frames = np.random.default_rng(0).standard_normal((2, 7, 2, 4, 3)).astype(np.float32)
    about = {"format": "polycli-forecast", "dataset": "own", "physics": "my", "field_names": ["my.h", "my.v"]}
    group = zarr.open_group(tmp_path / "a.zarr", mode="w")
    group.attrs.update({**about, "checkpoint": "m.safetensors", "selected_by": "as given"})
    group.create_array("fields", data=frames)
    assert "4 pictures" in polycli(tmp_path / "a.zarr", "--figure", tmp_path / "a.png")[2]
    assert [panel.title for panel in drawn] == ["my.h, frame 0", "my.h, frame 6", "my.v, frame 0", "my.v, frame 6"]
    for panel, (frame, field) in zip(drawn, [(0, 0), (6, 0), (0, 1), (6, 1)], strict=True):
        np.testing.assert_array_equal(panel.values, frames[0, frame, field].T)


def test_a_figure_of_fields_shows_the_first_and_the_last_image(polycli, tmp_path, survey):
    np.save(tmp_path / "a.npy", np.random.default_rng(0).standard_normal((5, 2, 16, 24)))
    assert "2 pictures" in polycli(tmp_path / "a.npy", "--figure", tmp_path / "b.png")[2]
    assert "1 picture" in polycli(survey, "--figure", tmp_path / "c.png")[2]


@pytest.mark.parametrize(
    ("name", "content", "words", "said"),
    [
        ("a.fits", b"SIMPLE  =                    T" + b" " * 50, ("--head", 2), "truncated or damaged"),
        ("a.h5", b"\x89HDF\r\n\x1a\n" + bytes(40), ("--head", 2), "truncated perhaps"),
        ("a.npz", b"PK\x03\x04" + bytes(30), ("--figure", "x.png"), "truncated or damaged"),
        ("a.parquet", b"PAR1" + bytes(30), ("--head", 2), "truncated or damaged"),
        ("a.bin", bytes(100), ("--head", 2), "knows no rows in such a file"),
        ("a.csv", b"", ("--head", 2), "is empty"),
        ("a.csv", b"a,b\n1,2\n", ("--figure", "x.txt"), "a name that ends in .png was expected"),
        ("a.csv", b"a,b\n1,2\n", ("--figure", "nowhere/x.png"), "no such folder"),
        ("a.txt", b"words alone\n", ("--figure", "x.png"), "nothing in it to draw"),
    ],
)
def test_truncated_and_foreign_files_give_one_sentence_and_exit_2(
    polycli, tmp_path, monkeypatch, name, content, words, said
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).write_bytes(content)
    code, _, err = polycli(name, *words)
    assert code == 2
    assert said in err
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_store_tells_the_units_ranges_and_gaps_of_its_columns_and_shows_rows(polycli, tmp_path, mock_objects):
    code, out, _ = polycli(mock_objects, "--head", 2, "--figure", tmp_path / "a.png")
    assert code == 0
    lines = [" ".join(line.split()) for line in out.splitlines()]
    ra = next(line for line in lines if line.startswith("ra "))
    assert ra.endswith("[deg]")
    assert " to " in ra
    assert out.splitlines()[-1].split()[0] == "1"
    assert (tmp_path / "a.png").stat().st_size > 1000


@pytest.fixture(scope="module")
def mock_objects(tmp_path_factory):
    path = tmp_path_factory.mktemp("store") / "m.zarr"
    words = ["prepare", "astroclip", "--source", "mock", "--output", str(path), "--workers", "1"]
    assert entry.run([*words, "--set", "mock.objects=4", "--set", "mock.size=32"]) == 0
    return path


def test_runs_in_groups_of_their_own_are_told_in_one_line_each_with_their_attributes(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for index in range(5):
            file[f"run{index}/u"] = np.zeros((4, 3, 2))
            file[f"run{index}/t"] = np.zeros(4 + index)
            file[f"run{index}"].attrs["nu"] = 0.1
    text = "\n".join(inspect_path(tmp_path / "a.h5").lines)
    assert "*/u     4 x 3 x 2 float64, in 5 groups" in text
    assert "run0/u" not in text
    assert "run3/t  7 float64" in text
    assert "attributes of groups  nu, in 5 groups" in text
