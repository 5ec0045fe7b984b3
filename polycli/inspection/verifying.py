"""`inspect --verify` of what holds its own hash, or is covered by one of its files: embeddings, and single files."""

from __future__ import annotations

from pathlib import Path

from polycli.store.embeddings.checking import check_embeddings
from polycli.store.embeddings.manifest import FORMAT, MANIFEST_NAME

_PARQUET = b"PAR1"


def verify_content(path: Path) -> str | None:
    """Read all of `path` and compare it with its hashes; returns what to say of it, None where this is not its kind.

    A damage may hide what kind a file was, so kinds are told apart by less than a whole manifest.

    Raises:
        StoreError: something is missing or was changed.
    """
    if not _may_be_embeddings(path):
        return None
    if check_embeddings(path):
        return "every file has the hash that was written with it"
    return "no hash was written with it; all of it can be read"


def _may_be_embeddings(path: Path) -> bool:
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(_PARQUET))
            file.seek(max(0, path.stat().st_size - len(_PARQUET)))
            return _PARQUET in {start, file.read()}
    if (path / MANIFEST_NAME).is_file():
        return True
    group = path / "zarr.json"
    return group.is_file() and (FORMAT.encode() in (content := group.read_bytes()) or b'"polycli"' in content)
