"""A sealed file holds its own hash: any changed byte is found, and equal content gives equal bytes."""

import hashlib

import pytest

from polycli.errors import StoreError
from polycli.store import sealing
from polycli.store.sealing import check_seal, new_seal, seal


def sealed(path):
    token = new_seal()
    path.write_bytes(b"head" * 9 + token.encode() + b"tail" * 9)
    return seal(path, token)


def test_two_files_of_equal_content_are_equal(tmp_path):
    assert sealed(tmp_path / "a") == sealed(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert len((tmp_path / "a").read_bytes()) == 136


def test_every_changed_byte_is_found(tmp_path):
    digest = sealed(tmp_path / "a")
    check_seal(tmp_path / "a", digest, hint="embed again")
    content = (tmp_path / "a").read_bytes()
    for place in range(len(content)):
        (tmp_path / "a").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(StoreError, match="a: damaged: its SHA-256 does not match the one that it states"):
            check_seal(tmp_path / "a", digest, hint="embed again")


@pytest.mark.parametrize("piece", [1, 7, 64, 100, 136, 1000])
def test_a_seal_is_found_wherever_the_pieces_that_are_read_end(tmp_path, monkeypatch, piece):
    expected = sealed(tmp_path / "a")
    monkeypatch.setattr(sealing, "_PIECE", piece)
    assert sealed(tmp_path / "b") == expected
    # Of several such places the last one is the seal's.
    (tmp_path / "b").write_bytes(expected.encode() + (tmp_path / "a").read_bytes())
    with pytest.raises(StoreError, match="does not match"):
        check_seal(tmp_path / "b", expected, hint="embed again")
    zeros = (tmp_path / "a").read_bytes().replace(expected.encode(), b"0" * 64)
    assert expected == hashlib.sha256(zeros).hexdigest()
