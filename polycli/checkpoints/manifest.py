"""A checkpoint's MANIFEST.json: written last, it says that every other file is whole, and which those are.

Writing: fill a directory whose name is not yet the checkpoint's, call `write_manifest` on it, then `publish` it. A
directory without a manifest is no checkpoint, so a process killed at any instant leaves the older ones as they were.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polycli.errors import CheckpointError, problems_of
from polycli.files.documents import LARGEST_DOCUMENT
from polycli.files.plain import open_plain, read_bytes, reason_of
from polycli.names import shortened_name

MANIFEST_NAME = "MANIFEST.json"
MODEL_NAME = "model.safetensors"
DESCRIPTION_NAME = "model.json"
#: Where a run keeps its checkpoints, each in `step-%08d`.
CHECKPOINTS_FOLDER = "checkpoints"
STEP_PATTERN = "step-*"
#: In MANIFEST.json: the hash of everything else that it says.
CHECKSUM_KEY = "manifest_sha256"


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class CheckpointFile(_Record):
    """One file of a checkpoint."""

    size: int = Field(ge=0)
    sha256: str


class CheckpointMetric(_Record):
    """The score by which the best checkpoint is chosen; lower is better."""

    name: str
    value: float = Field(allow_inf_nan=False)


class CheckpointManifest(_Record):
    """The content of MANIFEST.json: where a checkpoint comes from, and which files belong to it."""

    format: Literal["polycli-checkpoint"] = "polycli-checkpoint"
    #: From 2 on the file carries a hash of itself.
    schema_version: Literal[1, 2] = 2
    step: int = Field(ge=0, lt=2**63)
    family: str
    verb: str
    world_size: int = Field(ge=1, lt=2**31)
    zero_stage: int = Field(ge=0, le=3)
    #: Whose state is in it; None where there is nothing to resume from.
    optimizer: str | None = None
    metric: CheckpointMetric | None = None
    #: By path relative to the checkpoint, with forward slashes.
    files: dict[str, CheckpointFile]


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint directory whose manifest was read."""

    directory: Path
    manifest: CheckpointManifest


def checkpoint_name(step: int) -> str:
    """The directory of a checkpoint inside `RUN/checkpoints`."""
    return f"step-{step:08d}"


def write_manifest(
    directory: Path,
    *,
    step: int,
    family: str,
    verb: str,
    world_size: int,
    zero_stage: int,
    optimizer: str | None = None,
    metric: tuple[str, float] | None = None,
    files: Mapping[str, CheckpointFile] | None = None,
) -> CheckpointManifest:
    """Write the manifest of `directory` in one rename, over `files`, which are on the disk already.

    Without `files`, every file there is hashed and synced first. A metric that is not finite is left out: it could
    not be compared.
    """
    if files is None:
        files = _files_below(directory)
    manifest = CheckpointManifest(
        step=step,
        family=family,
        verb=verb,
        world_size=world_size,
        zero_stage=zero_stage,
        optimizer=optimizer,
        metric=CheckpointMetric(name=metric[0], value=metric[1]) if metric and math.isfinite(metric[1]) else None,
        files=dict(sorted(files.items())),
    )
    for folder in {path.parent for path in directory.rglob("*")}:
        _sync_folder(folder)
    partial = directory / f"{MANIFEST_NAME}.partial"
    with partial.open("w", encoding="utf-8") as file:
        file.write(_text_of(manifest))
        file.flush()
        os.fsync(file.fileno())
    partial.rename(directory / MANIFEST_NAME)
    _sync_folder(directory)
    return manifest


def publish(directory: Path, target: Path) -> None:
    """Give a checkpoint that has its manifest the name under which readers look for it.

    Raises:
        CheckpointError: a file of the manifest is missing or of another size, as where ranks do not share a disk.
    """
    for name, expected in read_manifest(directory).files.items():
        _check_size(_inside(directory, name), expected)
    directory.rename(target)
    _sync_folder(target.parent)


def read_manifest(directory: Path) -> CheckpointManifest:
    """The manifest of one checkpoint directory; `CheckpointError` where there is none or it cannot be trusted."""
    path = directory / MANIFEST_NAME
    try:
        document = json.loads(read_bytes(path, LARGEST_DOCUMENT))
    except FileNotFoundError:
        raise CheckpointError(f"{directory}: no {MANIFEST_NAME}, so this is no complete checkpoint") from None
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({reason_of(error)})") from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{path}: not a checkpoint manifest ({error})") from error
    own = document.pop(CHECKSUM_KEY, None) if isinstance(document, dict) else None
    try:
        manifest = CheckpointManifest.model_validate(document)
    except ValidationError as error:
        raise CheckpointError(f"{path}: not a checkpoint manifest ({problems_of(error)})") from error
    for name in manifest.files:
        _inside(directory, name)
    if (manifest.schema_version > 1 or own is not None) and own != _own_hash(document):
        raise CheckpointError(f"{path}: damaged, its content does not match its own {CHECKSUM_KEY}")
    return manifest


def verify(directory: Path, names: Iterable[str] | None = None) -> CheckpointManifest:
    """Compare size and hash of the named files, all by default, with the manifest.

    `CheckpointError` names the first file that differs.
    """
    manifest = read_manifest(directory)
    for name in manifest.files if names is None else names:
        if name not in manifest.files:
            raise CheckpointError(f"{directory}: {name} is not in {MANIFEST_NAME}")
        path = _inside(directory, name)
        _check_size(path, manifest.files[name])
        try:
            with open_plain(path) as file:
                actual = hashlib.file_digest(file, "sha256").hexdigest()
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({reason_of(error)})") from error
        expected = manifest.files[name].sha256
        if actual != expected:
            raise CheckpointError(
                f"{path}: damaged, its sha256 is {actual[:12]}..., {MANIFEST_NAME} has {expected[:12]}...",
                hint="use another checkpoint of the run",
            )
    return manifest


def list_checkpoints(run: Path, names: Collection[str] | None = None) -> list[Checkpoint]:
    """The checkpoints of a run by step, oldest first; without those that lack their manifest, a file or part of one.

    Where only files of these `names` are wanted, others may be missing.
    """
    whole = []
    for directory in (run / CHECKPOINTS_FOLDER).glob(STEP_PATTERN):
        with suppress(CheckpointError):
            whole.append(_at_first_sight(directory, names))
    return sorted(whole, key=lambda checkpoint: checkpoint.manifest.step)


def damages(run: Path, names: Collection[str] | None = None, *, hashes: bool = False) -> dict[Path, str]:
    """Tell what is wrong with the checkpoints that `list_checkpoints` leaves out, by directory, newest first.

    With `hashes` every byte is read, and checkpoints are told too of which a file has changed.
    """
    sentences = {}
    for directory in sorted((run / CHECKPOINTS_FOLDER).glob(STEP_PATTERN), reverse=True):
        try:
            _at_first_sight(directory, names)
            if hashes:
                verify(directory, names)
        except CheckpointError as error:
            sentences[directory] = error.message
    return sentences


def best_checkpoint(checkpoints: list[Checkpoint]) -> Checkpoint | None:
    """The one of lowest metric, the newest among equals; None where no checkpoint has a metric.

    Where metrics of different names were recorded, the newest checkpoint's name counts.
    """
    metrics = [(c.manifest.metric, c) for c in sorted(checkpoints, key=lambda c: c.manifest.step)]
    scored = [(metric, checkpoint) for metric, checkpoint in metrics if metric is not None]
    if not scored:
        return None
    alike = [(metric, checkpoint) for metric, checkpoint in scored if metric.name == scored[-1][0].name]
    return min(reversed(alike), key=lambda entry: entry[0].value)[1]


def _at_first_sight(directory: Path, names: Collection[str] | None) -> Checkpoint:
    """The checkpoint there, if its files have the sizes that it says; `CheckpointError` otherwise."""
    manifest = read_manifest(directory)
    for name, expected in manifest.files.items():
        if names is None or name in names:
            _check_size(_inside(directory, name), expected)
    if directory.name != checkpoint_name(manifest.step):
        raise CheckpointError(f"{directory}: holds step {manifest.step}, going by its manifest")
    return Checkpoint(directory, manifest)


def _text_of(manifest: CheckpointManifest) -> str:
    document = manifest.model_dump(mode="json")
    return json.dumps({**document, CHECKSUM_KEY: _own_hash(document)}, indent=2) + "\n"


def _own_hash(document: Mapping[str, object]) -> str:
    """The hash of a manifest's content, in whatever order and however spaced it is written."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode("utf-8")).hexdigest()


def _check_size(path: Path, expected: CheckpointFile) -> None:
    try:
        size = path.stat().st_size
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path}: listed in {MANIFEST_NAME} and not there") from error
    if size != expected.size:
        raise CheckpointError(f"{path}: {size} bytes, {MANIFEST_NAME} says {expected.size}")


def _inside(directory: Path, name: str) -> Path:
    """The file of that name; a name that leaves the directory, by itself or through a link, is refused."""
    relative = PurePosixPath(name)
    path = directory / relative
    try:
        outside = relative.is_absolute() or ".." in relative.parts
        outside = outside or not path.resolve().is_relative_to(directory.resolve())
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links, a name that is too long or no text
        raise CheckpointError(
            f"{directory / MANIFEST_NAME}: {shortened_name(repr(name))} is no file name: {reason_of(error)}"
        ) from error
    if outside:
        raise CheckpointError(f"{directory / MANIFEST_NAME}: {shortened_name(repr(name))} lies outside the checkpoint")
    return path


def _files_below(directory: Path) -> dict[str, CheckpointFile]:
    return {
        path.relative_to(directory).as_posix(): CheckpointFile(size=path.stat().st_size, sha256=_hash_and_sync(path))
        for path in directory.rglob("*")
        if path.is_file() and path.name != MANIFEST_NAME
    }


def _hash_and_sync(path: Path) -> str:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    return digest


def _sync_folder(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
