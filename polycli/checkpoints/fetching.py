"""Fetches a file of published weights from a hub of the kind of huggingface.co, where its client is installed.

Nothing here is called unless somebody asked for weights by name. No token is ever sent.
"""

from __future__ import annotations

import hashlib
import importlib
import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from polycli.errors import CheckpointError, MissingDependencyError, PolycliError, UserError
from polycli.files.plain import reason_of

#: Endings of files of weights.
WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".tar", ".bin")
#: What is written beside a file that was fetched, in the form of `sha256sum`.
HASH_SUFFIX = ".sha256"


@dataclass(frozen=True)
class Fetched:
    """A file of weights that is here now."""

    path: Path
    sha256: str
    #: Whether the hub says this hash too; false where it says none.
    verified: bool
    commit: str | None


def fetch(repository: str, folder: Path, *, address: str, file: str | None = None) -> Fetched:
    """Fetch the weights of a repository into a folder; what an earlier try left there is gone on with.

    Raises:
        MissingDependencyError: huggingface_hub is not installed.
        UserError: the repository has several files of weights, or not the one of this name.
        CheckpointError: the file that came is not the one that the hub describes.
        PolycliError: the hub cannot be reached; the hint says what to fetch from where.
    """
    by_hand = f"on a machine with a network, download it from {address}; then: polycli weights verify FILE"
    if find_spec("huggingface_hub") is None:
        raise MissingDependencyError(
            "fetching weights needs the package huggingface_hub", hint=f"pip install huggingface_hub; or {by_hand}"
        )
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    failures: tuple[type[Exception], ...] = (HfHubHTTPError, OSError, ValueError, RuntimeError, *_transport_errors())
    endpoint = os.environ.get("HF_ENDPOINT") or None
    try:
        about = HfApi(endpoint=endpoint, token=False).model_info(repository, files_metadata=True)
        name, expected = _chosen(about, repository, file)
        # The commit, not the branch: what is described is what is fetched.
        found = hf_hub_download(repository, name, revision=about.sha, local_dir=folder, endpoint=endpoint, token=False)
    except PolycliError:
        raise
    except failures as error:
        raise PolycliError(f"{repository} cannot be fetched: {reason_of(error)}", hint=by_hand) from error
    path = Path(found)
    sha256 = sha256_of(path)
    if expected is not None and sha256 != expected:
        raise CheckpointError(
            f"{path}: its SHA-256 is {sha256}, the hub describes {expected}", hint=f"rm {path}, and fetch it again"
        )
    path.with_name(path.name + HASH_SUFFIX).write_text(f"{sha256}  {path.name}\n", encoding="utf-8")
    return Fetched(path, sha256, verified=expected is not None, commit=about.sha)


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file, as `sha256sum` prints it."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _chosen(about: Any, repository: str, file: str | None) -> tuple[str, str | None]:  # noqa: ANN401
    """The name of the file of weights, and its hash where the hub has one."""
    files = {entry.rfilename: entry for entry in about.siblings or ()}
    names = [name for name in files if name.endswith(WEIGHTS)]
    if file is not None:
        names = [name for name in names if name == file]
    if len(names) != 1:
        there = ", ".join(name for name in files if name.endswith(WEIGHTS)) or "none"
        raise UserError(
            f"{repository}: {'no file ' + repr(file) if file is not None else 'not one file of weights'}; there are "
            f"{there}",
            hint="--file NAME chooses one",
        )
    large = getattr(files[names[0]], "lfs", None)
    sha256 = large.get("sha256") if isinstance(large, dict) else getattr(large, "sha256", None)
    return names[0], sha256


def _transport_errors() -> tuple[type[Exception], ...]:
    """The errors of the library that speaks HTTP for the client, whichever it is; those of older ones are OSErrors."""
    names = [name for name in ("httpx2", "httpx") if find_spec(name) is not None]
    return tuple(importlib.import_module(name).HTTPError for name in names)
