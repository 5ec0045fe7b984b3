"""Source files are hashed once among parts, anew where they changed, and always where there are no parts."""

import hashlib
import os

import pytest

from polycli.store import source_hashes
from polycli.store.processes import Workers
from polycli.store.source_hashes import hash_sources


@pytest.fixture
def files(tmp_path):
    paths = [tmp_path / f"{number}.h5" for number in range(5)]
    for path in paths:
        path.write_text(f"content of {path.name}")
    return paths


@pytest.fixture
def read(monkeypatch):
    """The names of the files that were read, in order."""
    names = []
    real = source_hashes.file_hash
    monkeypatch.setattr(source_hashes, "file_hash", lambda path: names.append(path.name) or real(path))
    return names


def expected(files) -> dict:
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_without_notes_every_file_is_read_every_time(files, read):
    with Workers(1) as pool:
        assert hash_sources(files, pool) == expected(files)
        assert hash_sources(files, pool) == expected(files)
        assert hash_sources([], pool) == {}
    assert len(read) == 10


def test_parts_begin_with_their_own_files_and_take_over_what_others_noted(files, read, tmp_path):
    notes = tmp_path / "notes"
    with Workers(1) as pool:
        for part in range(3):
            assert hash_sources(files, pool, notes=notes, part=(part, 3)) == expected(files)
    assert read == ["0.h5", "3.h5", "1.h5", "4.h5", "2.h5"]  # part 0 of 3 found itself alone
    read.clear()
    files[2].write_text("other content!!")
    os.utime(files[4], (5, 5))
    with Workers(1) as pool:
        assert hash_sources(files, pool, notes=notes) == expected(files)
    assert sorted(read) == ["2.h5", "4.h5"]


def test_a_note_that_was_cut_short_is_not_believed(files, read, tmp_path):
    notes = tmp_path / "notes"
    with Workers(1) as pool:
        hash_sources(files[:1], pool, notes=notes)
        (note,) = notes.iterdir()
        note.write_text("0123")
        assert hash_sources(files[:1], pool, notes=notes) == expected(files[:1])
    assert len(read) == 2


def test_notes_that_vanish_or_cannot_be_written_do_not_stop_anybody(files, tmp_path, monkeypatch):
    notes = tmp_path / "notes"

    def vanish(path, text):
        raise FileNotFoundError(path)

    monkeypatch.setattr(source_hashes, "write_text", vanish)
    with Workers(1) as pool:
        assert hash_sources(files, pool, notes=notes) == expected(files)
