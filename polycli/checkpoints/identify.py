"""Finds out what a path is, by looking at its first bytes or at the files of a folder, never by how it is called."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from polycli.checkpoints.archives import holds_program, holds_weights, members_of
from polycli.checkpoints.manifest import CHECKPOINTS_FOLDER, DESCRIPTION_NAME, MANIFEST_NAME, MODEL_NAME
from polycli.errors import CheckpointError
from polycli.files.documents import LARGEST_DOCUMENT, parse_json
from polycli.files.plain import open_plain, read_bytes, reason_of

Kind = Literal[
    "run",
    "checkpoint",
    "exported",
    "store",
    "embeddings",
    "safetensors",
    "torch",
    "torchscript",
    "pickle",
    "hdf5",
    "zip",
    "folder",
    "file",
    "missing",
]
#: What each kind is called in a sentence.
KIND_NAMES: dict[Kind, str] = {
    "run": "a run",
    "checkpoint": "a checkpoint of a run",
    "exported": f"a folder with {MODEL_NAME}",
    "store": "a store",
    "embeddings": "embeddings",
    "safetensors": "a safetensors file",
    "torch": "a PyTorch file",
    "torchscript": "a TorchScript archive, whose code would run where it is loaded",
    "pickle": "a pickle, or a PyTorch file of before 2020",
    "hdf5": "an HDF5 file",
    "zip": "a zip archive",
    "folder": "a folder of other things",
    "file": "a file of no known kind",
    "missing": "not there",
}
_MANIFEST_KINDS: dict[str, Kind] = {
    "polycli-checkpoint": "checkpoint",
    "polycli-store": "store",
    "polycli-embeddings": "embeddings",
}
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_PICKLE_PROTOCOL = b"\x80"
#: Larger JSON headers than this are no safetensors; the format's own limit.
LONGEST_HEADER = 100_000_000


@dataclass(frozen=True)
class Identified:
    """A path and what it is."""

    path: Path
    kind: Kind

    @property
    def name(self) -> str:
        """The kind in words, for messages."""
        return KIND_NAMES[self.kind]


def identify(path: Path) -> Identified:
    """Look at a file or folder, which may be absent; nothing in it is executed.

    Raises:
        CheckpointError: the path exists and cannot be read.
    """
    try:
        if not path.exists():
            return Identified(path, "missing")
        return Identified(path, _folder_kind(path) if path.is_dir() else _file_kind(path))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: cannot be read: {reason_of(error)}") from error


def _folder_kind(path: Path) -> Kind:
    manifest = path / MANIFEST_NAME
    if manifest.is_file():
        return _MANIFEST_KINDS.get(str(read_object(manifest).get("format")), "folder")
    if (path / CHECKPOINTS_FOLDER).is_dir() or ((path / "recipe.yaml").is_file() and (path / "status.json").is_file()):
        return "run"
    if (path / MODEL_NAME).is_file() and (path / DESCRIPTION_NAME).is_file():
        return "exported"
    return "folder"


def _file_kind(path: Path) -> Kind:
    with open_plain(path) as file:
        start = file.read(16)
    if start.startswith(_HDF5_SIGNATURE):
        return "hdf5"
    if start.startswith(b"PK\x03\x04"):
        return _archive_kind(path)
    header = int.from_bytes(start[:8], "little")
    if len(start) > 8 and start[8:9] == b"{" and 2 <= header <= LONGEST_HEADER:
        return "safetensors"
    # After safetensors: the length of a header may begin with the byte of a pickle.
    if start.startswith(_PICKLE_PROTOCOL):
        return "pickle"
    return "file"


def _archive_kind(path: Path) -> Kind:
    try:
        members = members_of(path)
    except CheckpointError:
        # A cut archive has lost its list of names and is taken for PyTorch's.
        return "torch"
    if holds_program(members):
        return "torchscript"
    return "torch" if holds_weights(members) else "zip"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in a file; empty where it holds something else."""
    try:
        document = parse_json(read_bytes(path, LARGEST_DOCUMENT))
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
