"""Sources are found by name, by entry points of installed packages, and by a look at files."""

import json

import pytest

from polycli import __main__ as entry
from polycli.errors import SourceError, UserError
from polycli.families import SHIPPED
from polycli.workflow.sources import Source, find_source, load_source, source_names

#: One file, and nothing else, is what a source of one's own takes.
DIARY = """
    from polycli.xval.data.source import Opened


    class Entry:
        key = source = "diary"
        size = 1

        def __init__(self, path):
            self.path = path

        def load(self, writer):
            for number, line in enumerate(self.path.read_text().splitlines()):
                writer.add({"pages": float(line)}, id=f"{number}")


    class Diary:
        def accepts(self, path):
            return path.suffix == ".diary"

        def open(self, inputs, recipe, limit):
            return Opened(tuple(Entry(path) for path in inputs), files=tuple(inputs))
"""


@pytest.fixture
def diary(package):
    package("diaries", {"diaries.py": DIARY}, {"polycli.sources.xval": {"diary": "diaries:Diary"}})


@pytest.mark.parametrize("family", SHIPPED)
def test_every_source_that_a_family_names_is_one(family, tmp_path):
    (tmp_path / "unknown.bin").write_bytes(b"\0")
    for name in source_names(family):
        source = load_source(family, name)
        assert isinstance(source, Source)
        assert not source.accepts(tmp_path / "unknown.bin")


def test_a_source_of_an_installed_package_prepares_and_is_found_by_its_files(diary, tmp_path, capsys):
    (tmp_path / "my.diary").write_text("1\n2\n3\n4\n")
    line = ["prepare", "xval", "--source", "diary", "--input", str(tmp_path / "my.diary"), "--workers", "1"]
    assert entry.run([*line, "--output", str(tmp_path / "out.zarr"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["stores"][0]["records"] == 4
    assert find_source("xval", [tmp_path / "my.diary"]) == "diary"
    assert source_names("xval")[-1] == "diary"
    assert "diary" not in source_names("mpp")


def test_a_name_that_no_source_has_is_answered_with_those_that_there_are(diary):
    with pytest.raises(UserError, match=r"--source tabel: xval has no such source; did you mean table\?") as caught:
        load_source("xval", "tabel")
    assert "json, python-lines, table, text, planets, arithmetic, temperature, diary" in caught.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class Diary: ...", "is to name a source, which has `accepts` and `open`"),
        ("import no_such_package", "the source diary of the package diaries cannot be imported: ModuleNotFoundError"),
    ],
)
def test_a_package_that_brings_no_source_is_said(package, text, said):
    package("diaries", {"diaries.py": text}, {"polycli.sources.xval": {"diary": "diaries:Diary"}})
    with pytest.raises(UserError, match=said):
        load_source("xval", "diary")


@pytest.mark.parametrize(
    ("name", "content", "kind"),
    [
        ("a.jsonl", b'{"x": 1}\n', "json"),
        ("a.csv", b"x\n1\n", "table"),
        ("a.dat", b"PAR1 and so on", "table"),
        ("a.txt", b"There are 3 apples.\n", "text"),
        ("a.txt", b"\n {'x': np.float64(1.0)}\n", "python-lines"),
        ("a.nc", b"CDF\x01", "temperature"),
    ],
)
def test_of_a_file_the_source_that_reads_it_is_found(tmp_path, name, content, kind):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / name).write_bytes(content)
    (tmp_path / "in" / "README.md").write_text("What the data are.")
    assert find_source("xval", [tmp_path / "in" / name]) == kind
    assert find_source("xval", [tmp_path / "in"]) == kind


def test_files_of_different_kinds_and_of_none_are_refused(tmp_path):
    for name in ("a.jsonl", "b.csv", "c.bin"):
        (tmp_path / name).write_text("")
    for paths in ([tmp_path], [tmp_path / "a.jsonl", tmp_path / "b.csv"]):
        with pytest.raises(SourceError, match=r"a.jsonl is for the source json, .*b.csv for table") as caught:
            find_source("xval", paths)
        assert "--set source=json" in caught.value.hint
    with pytest.raises(SourceError, match=r"c.bin: neither a store nor anything that a source of xval reads"):
        find_source("xval", [tmp_path / "c.bin"])
