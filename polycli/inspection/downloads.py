"""Checks a downloaded file of weights: that it is whole, what model it makes, and its hash where one is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from polycli.checkpoints.fetching import HASH_SUFFIX, sha256_of
from polycli.checkpoints.tensors import read_state_dict
from polycli.errors import CheckpointError
from polycli.families import PublishedWeights, all_families
from polycli.files.plain import check_plain, read_bytes
from polycli.requests import JsonDocument

#: Bytes of the longest file beside a download that states its hash.
_LONGEST = 2**16


@dataclass(frozen=True)
class Download:
    """The facts about a downloaded file of weights that is sound."""

    path: Path
    sha256: str
    tensors: int
    numbers: int
    #: By family: the sizes of the model that the tensors make.
    models: dict[str, str]
    #: Who stated the same hash; None where nobody did.
    agrees_with: str | None

    def text(self) -> str:
        """Tells people what was found, one line for each fact."""
        models = "; ".join(f"{family}, {sizes}" for family, sizes in self.models.items())
        return "\n".join(
            [
                f"{self.path}: whole, {self.numbers:,} numbers in {self.tensors} tensors, all finite",
                f"  model    {models or 'none that polycli knows'}",
                f"  SHA-256  {self.sha256}",
                f"  hash     {self.agrees_with or 'nobody has stated one to compare with'}",
            ]
        )

    def document(self) -> JsonDocument:
        """Returns what `--json` prints."""
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "tensors": self.tensors,
            "numbers": self.numbers,
            "models": self.models,
            "agrees_with": self.agrees_with,
        }


def check_download(path: Path, known: Sequence[tuple[str, PublishedWeights]]) -> Download:
    """Check a file of weights; nothing that it holds is run.

    Raises:
        CheckpointError: it is truncated, dangerous or no checkpoint, has numbers that are not finite, or another hash
            than the file beside it states.
    """
    check_plain(path, CheckpointError)
    sha256 = sha256_of(path)
    agrees = _stated(path, sha256)
    tensors = read_state_dict(path)
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise CheckpointError(f"{path}: {name} holds values that are not finite numbers")
    for _, weights in known:
        if weights.sha256 == sha256:
            agrees = f"that of the published {weights.name}"
    models = {family.name: sizes for family in all_families() if (sizes := family.inspects().tensors(tensors))}
    numbers = sum(tensor.numel() for tensor in tensors.values())
    return Download(path, sha256, len(tensors), numbers, models, agrees)


def _stated(path: Path, sha256: str) -> str | None:
    """The file beside the download that states its hash, in the form of `sha256sum`; None without one."""
    beside = path.with_name(path.name + HASH_SUFFIX)
    try:
        said = read_bytes(beside, _LONGEST).decode("utf-8", "replace").split()
    except OSError:
        return None
    if not said or said[0].lower() != sha256:
        raise CheckpointError(
            f"{path}: its SHA-256 is {sha256}, {beside.name} states {said[0] if said else 'nothing'}",
            hint="fetch it again",
        )
    return f"as {beside.name} states it"
