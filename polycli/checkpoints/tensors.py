"""A file's state dict, read without running anything that the file holds, whoever packed it."""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from polycli.checkpoints.identify import identify
from polycli.checkpoints.unpickler import RefusedGlobalError, load_with_stubs
from polycli.errors import CheckpointError

#: Where projects keep the state dict inside what they save.
NESTS = ("model_state", "model", "state_dict", "teacher", "module")
#: What wrappers put before every name.
WRAPPERS = ("module.", "_orig_mod.")
#: The part of a file that holds the network, where it holds other things besides.
PARTS = ("weights.", "backbone.")
_REFUSED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|(?:global|class|function) [`']?([\w.]+\.\w+)")


@dataclass(frozen=True)
class Packed:
    """What a checkpoint file holds, as far as it is numbers."""

    #: By name, on the CPU, without nesting and without wrappers' prefixes.
    tensors: dict[str, Tensor]
    #: Sizes and the like that were saved beside the tensors: Lightning's hyper-parameters, a safetensors file's
    #: metadata. Numbers and texts alone.
    settings: dict[str, int | float | str]


def read_state_dict(path: Path, *, stubs: Sequence[str] = ()) -> dict[str, Tensor]:
    """The tensors of a checkpoint file, as `read_packed` finds them."""
    return read_packed(path, stubs=stubs).tensors


def read_packed(path: Path, *, stubs: Sequence[str] = ()) -> Packed:
    """The tensors of a checkpoint file by name, and the plain settings beside them.

    Args:
        path: a safetensors or PyTorch file.
        stubs: beginnings of dotted names, such as `astroclip.`; objects of such classes are passed over, not refused.
            They are never imported, let alone run.

    Raises:
        CheckpointError: not a checkpoint, truncated, or it asks to run code, which is refused.
    """
    found = _read(path, stubs)
    tensors = _unwrap(found)
    if not tensors:
        raise CheckpointError(f"{path}: holds no named tensors, so it is no model's checkpoint")
    return Packed(_without_prefixes(tensors), _settings(path, found))


def _settings(path: Path, found: Any) -> dict[str, int | float | str]:  # noqa: ANN401  # what strangers put into a file
    if identify(path).kind == "safetensors":
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    beside = found.get("hyper_parameters") if isinstance(found, Mapping) else None
    if not isinstance(beside, Mapping):
        return {}
    return {str(name): value for name, value in beside.items() if isinstance(value, int | float | str)}


def _read(path: Path, stubs: Sequence[str]) -> Any:  # noqa: ANN401  # what strangers put into a file
    kind = identify(path)
    if kind.kind == "missing":
        raise CheckpointError(f"{path}: not there")
    if kind.kind == "safetensors":
        try:
            return load_file(path)
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(f"{path}: a damaged or truncated safetensors file ({error})") from error
    if kind.kind in ("torch", "pickle"):
        return _read_pickle(path, stubs, mapped=kind.kind == "torch")
    raise CheckpointError(f"{path}: {kind.name}, not a safetensors or PyTorch checkpoint")


def _read_pickle(path: Path, stubs: Sequence[str], *, mapped: bool) -> Any:  # noqa: ANN401  # what strangers put into a file
    try:
        with warnings.catch_warnings():
            # torch remarks on pickle protocols that it did not write; what cannot be read is refused below.
            warnings.simplefilter("ignore")
            if stubs:
                return load_with_stubs(path, stubs)
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        name = _refused_name(error)
        if name is None:
            raise CheckpointError(
                f"{path}: its pickle is damaged or holds more than tensors; nothing in it was run"
            ) from error
        raise CheckpointError(
            f"{path}: asks to load the Python object {name}, which is refused: a checkpoint holds numbers alone. "
            "Nothing in it was run"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, IndexError, TypeError, AttributeError, OSError) as error:
        reason = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: a damaged or truncated PyTorch file ({reason})") from error


def _refused_name(error: pickle.UnpicklingError) -> str | None:
    if isinstance(error, RefusedGlobalError):
        return error.name
    wanted = _REFUSED_GLOBAL.search(str(error))
    return None if wanted is None else wanted[1] or wanted[2]


def _unwrap(found: Any) -> dict[str, Tensor]:  # noqa: ANN401  # what strangers put into a file
    """The named tensors of a mapping, or of the first known nest in it."""
    if not isinstance(found, Mapping):
        return {}
    tensors = {name: value for name, value in found.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        return tensors
    for nest in NESTS:
        if tensors := _unwrap(found.get(nest)):
            return tensors
    return {}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    changed = True
    while changed:
        changed = False
        for prefix in WRAPPERS:
            if all(name.startswith(prefix) for name in tensors):
                tensors = {name.removeprefix(prefix): value for name, value in tensors.items()}
                changed = True
        for prefix in PARTS:
            part = {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            if part:
                tensors, changed = part, True
    return tensors
