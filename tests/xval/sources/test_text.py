"""The text source: nothing of a file is lost, wherever blocks are cut."""

import pytest

from polycli.errors import SourceError
from polycli.xval.records.values import FreeText
from polycli.xval.sources import text as module
from polycli.xval.sources.text import TextSource

LINES = ["m = 1.31 kg", "", "  a -2.0e-3 at 12:30", "é is two bytes: 5", "x" * 40, "last"]


@pytest.mark.parametrize("size", [1, 2, 7, 16, 2**20])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
def test_every_line_is_read_once_wherever_blocks_are_cut(tmp_path, read, monkeypatch, size, ending):
    monkeypatch.setattr(module, "BLOCK_BYTES", size)
    data = ending.join(LINES).encode()
    (tmp_path / "notes.txt").write_bytes(data)
    writer, _ = read(TextSource(), tmp_path / "notes.txt")
    assert list(writer.records.values()) == [FreeText(line) for line in LINES if line]
    for name, value in writer.records.items():
        assert data[int(name.split("@")[1]) :].startswith(value.text.encode())


def test_paragraphs_and_files_are_records(tmp_path, read):
    (tmp_path / "a.txt").write_text("one\ntwo\n\nthree\n")
    (tmp_path / "b.md").write_text("four")
    paragraphs, _ = read(TextSource(), tmp_path, text={"record": "paragraph"})
    assert {name: value.text for name, value in paragraphs.records.items()} == {
        "a.txt#1": "one\ntwo",
        "a.txt#2": "three",
        "b.md#1": "four",
    }
    files, _ = read(TextSource(), tmp_path, text={"record": "file"})
    assert {name: value.text for name, value in files.records.items()} == {
        "a.txt": "one\ntwo\n\nthree\n",
        "b.md": "four",
    }


def test_a_limit_counts_records(tmp_path, read, monkeypatch):
    monkeypatch.setattr(module, "BLOCK_BYTES", 8)
    (tmp_path / "notes.txt").write_text("\n".join(LINES))
    writer, _ = read(TextSource(), tmp_path / "notes.txt", limit=3)
    assert [value.text for value in writer.records.values()] == [line for line in LINES if line][:3]


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path, read):
    (tmp_path / "notes.txt").write_bytes(b"fine\nfine\nbad \xff byte\n")
    with pytest.raises(SourceError, match=r"notes.txt, line 3: byte 0xff is not utf-8"):
        read(TextSource(), tmp_path / "notes.txt")


def test_an_empty_file_is_refused(tmp_path, read):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(SourceError, match="is empty"):
        read(TextSource(), tmp_path / "notes.txt")
