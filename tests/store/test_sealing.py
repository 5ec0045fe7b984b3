"""A sealed file holds its own hash: any changed byte is found, and equal content gives equal bytes."""

import pytest

from polycli.errors import StoreError
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
