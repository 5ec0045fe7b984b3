"""Files, folders, globs and lists, wherever a path is asked for."""

import errno
import os
from pathlib import Path

import pytest

from polycli.errors import UserError
from polycli.paths import expand_paths, files_below, refuse_unwritable


@pytest.fixture
def folder(tmp_path, monkeypatch):
    for name in ("b.h5", "a.h5", "c.txt"):
        (tmp_path / name).write_text("")
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_quoted_glob_is_expanded_and_sorted(folder):
    assert [path.name for path in expand_paths([f"{folder}/*.h5"])] == ["a.h5", "b.h5"]


def test_files_and_folders_stay_in_order_and_each_stands_once(folder):
    found = expand_paths([folder / "inner", folder / "b.h5", f"{folder}/*.h5"])
    assert [path.name for path in found] == ["inner", "b.h5", "a.h5"]


def test_a_list_names_one_path_a_line_with_comments(folder):
    (folder / "list.txt").write_text("# the files\nb.h5\n\n  *.txt\n")
    assert {path.name for path in expand_paths(["@list.txt"])} == {"b.h5", "c.txt", "list.txt"}


def test_a_file_whose_name_looks_like_a_glob_is_that_file(folder):
    (folder / "x[1].h5").write_text("")
    assert [path.name for path in expand_paths(["x[1].h5"])] == ["x[1].h5"]


def test_home_is_expanded(folder, monkeypatch):
    monkeypatch.setenv("HOME", str(folder))
    assert expand_paths(["~/a.h5"])[0].samefile(folder / "a.h5")


@pytest.mark.parametrize(
    ("value", "message"),
    [("nothing.h5", "no such file"), ("*.nc", "no file or folder matches"), ("@nowhere.txt", "list cannot be read")],
)
def test_what_is_not_there_is_named(folder, value, message):
    with pytest.raises(UserError, match=message) as caught:
        expand_paths([value])
    assert value in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_output_that_can_be_written_need_not_exist_and_is_left_alone(folder):
    before = sorted(folder.rglob("*"))
    for path in (folder, folder / "new" / "deep", Path("new")):
        refuse_unwritable(path, what="stores")
    assert sorted(folder.rglob("*")) == before


def test_an_output_in_or_at_a_file_is_refused(folder):
    with pytest.raises(UserError, match=r"a.h5 is a file, and stores need a folder"):
        refuse_unwritable(folder / "a.h5", what="stores")
    with pytest.raises(UserError, match=r"new lies in .*a.h5, which is a file"):
        refuse_unwritable(folder / "a.h5" / "new", what="stores")


def test_an_output_that_the_system_refuses_is_said_with_its_reason(folder, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(UserError, match=r"new: stores cannot be written in .*: Read-only file system"):
        refuse_unwritable(folder / "new", what="stores")


def test_files_of_a_folder_whose_names_are_not_utf_8_are_said(tmp_path):
    (tmp_path / "a.csv").touch()
    assert files_below(tmp_path) == [tmp_path / "a.csv"]
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.csv")).touch()
    with pytest.raises(UserError, match="its name is not UTF-8"):
        files_below(tmp_path)
