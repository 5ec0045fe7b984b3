"""What may be replaced: only what polycli wrote, of the same kind, and nothing that is read."""

import os
from pathlib import Path

import pytest

from polycli.errors import UserError
from polycli.outputs import Output, OutputKind

LETTERS = OutputKind("letters", ("", ".txt"), lambda path: path.is_file() and path.read_text().startswith("polycli"))


def all_files(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(output: Output, text: str = "polycli: new") -> None:
    output.refuse()
    with output.writing() as unfinished:
        unfinished.write_text(text)


def test_a_result_comes_into_folders_that_are_made_for_it(tmp_path):
    write(Output(tmp_path / "a" / "b.txt", LETTERS))
    assert all_files(tmp_path) == {"a/b.txt": "polycli: new"}


def test_what_is_there_is_replaced_when_asked_and_of_the_same_kind(tmp_path):
    write(Output(tmp_path / "b.txt", LETTERS))
    with pytest.raises(UserError, match=r"b.txt: exists already .*give another --output, or --set overwrite=true"):
        write(Output(tmp_path / "b.txt", LETTERS))
    write(Output(tmp_path / "b.txt", LETTERS, overwrite=True), "polycli: newer")
    assert all_files(tmp_path) == {"b.txt": "polycli: newer"}


@pytest.mark.parametrize("what", ["a user's file", "a folder", "an empty folder", "a link to a file", "a dead link"])
def test_what_polycli_did_not_write_is_never_replaced(tmp_path, what):
    (tmp_path / "precious.txt").write_text("mine")
    target = tmp_path / "b.txt"
    if what == "a user's file":
        target.write_text("mine")
    elif what == "a link to a file":
        target.symlink_to("precious.txt")
    elif what == "a dead link":
        target.symlink_to("nothing")
    else:
        target.mkdir()
        if what == "a folder":
            (target / "notes").write_text("mine")
    before = all_files(tmp_path)
    with pytest.raises(UserError, match="is not replaced, for it is not letters that polycli wrote"):
        write(Output(target, LETTERS, overwrite=True))
    assert all_files(tmp_path) == before
    assert os.path.lexists(target)


@pytest.mark.parametrize("asked", ["read.txt", "folder", "link.txt", "folder/../read.txt"])
def test_what_is_read_is_never_replaced_nor_what_holds_it(tmp_path, asked):
    (tmp_path / "read.txt").write_text("polycli: read")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "store").write_text("polycli: read")
    (tmp_path / "link.txt").symlink_to("read.txt")
    inputs = (tmp_path / "read.txt", tmp_path / "folder" / "deep" / "store")
    before = all_files(tmp_path)
    with pytest.raises(UserError, match=r"which this command reads|is read by this command"):
        write(Output(tmp_path / asked, LETTERS, overwrite=True, inputs=inputs))
    assert all_files(tmp_path) == before


def test_nothing_is_written_into_a_store_that_is_read(tmp_path):
    (tmp_path / "x.zarr").mkdir()
    (tmp_path / "x.zarr" / "MANIFEST.json").write_text("{}")
    with pytest.raises(UserError, match=r"b.txt: lies in .*x.zarr, a store that this command reads"):
        write(Output(tmp_path / "x.zarr" / "b.txt", LETTERS, inputs=(tmp_path / "x.zarr",)))


@pytest.mark.parametrize(("name", "hint"), [("b.csv", "b.txt"), ("b.zarr", "b.txt")])
def test_the_suffix_says_the_format(tmp_path, name, hint):
    with pytest.raises(UserError, match=r"the suffix says the format: none for a folder or \.txt") as caught:
        Output(tmp_path / name, LETTERS).refuse()
    assert hint in str(caught.value)


def test_a_place_without_a_name_is_refused():
    with pytest.raises(UserError, match="names no place for letters"):
        Output(Path(), LETTERS).refuse()


def test_what_came_while_the_result_was_made_is_not_replaced(tmp_path):
    target = tmp_path / "b.txt"
    output = Output(target, LETTERS)
    output.refuse()
    with pytest.raises(UserError, match="exists already"), output.writing() as unfinished:  # noqa: PT012
        unfinished.write_text("polycli: mine")
        target.write_text("another's")
    assert all_files(tmp_path) == {"b.txt": "another's"}
