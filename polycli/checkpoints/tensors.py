"""A file's state dict, read without running anything that the file holds, whoever packed it."""

from __future__ import annotations

import pickle
import re
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import Parameter

from polycli.checkpoints.archives import members_of, refuse_packed
from polycli.checkpoints.identify import identify
from polycli.checkpoints.pickles import load_pickles
from polycli.checkpoints.tensor_files import damage_said, read_header
from polycli.errors import CheckpointError

#: Where projects keep the state dict inside what they save.
NESTS = ("model_state", "model", "state_dict", "teacher", "module")
#: What wrappers put before every name.
WRAPPERS = ("module.", "_orig_mod.")
#: The part of a file that holds the network, where it holds other things besides.
PARTS = ("weights.", "backbone.")
#: Nests in nests, at most; a mapping may hold itself.
_DEEPEST_NEST = 4
#: How often the bytes of a file may be used, as where the first and the last layer share their weights.
_MOST_SHARED = 4
#: What the unpickler and the functions that it may call raise on instructions that nobody's writer wrote.
_DAMAGE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    struct.error,
    TypeError,
    ValueError,
)
_REFUSED_GLOBAL = re.compile(r"GLOBAL ([\w.]+)|(?:global|class|function) [`']?([\w.]+\.\w+)")


@dataclass(frozen=True)
class Packed:
    """The numbers in a checkpoint file: its tensors, and sizes that stood beside them."""

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
    content = _read(path, stubs)
    tensors = _unwrap(content)
    if not tensors:
        raise CheckpointError(f"{path}: holds no named tensors, so it is no model's checkpoint")
    _refuse_forged(path, tensors)
    return Packed(_without_prefixes(tensors), _settings(path, content))


def _settings(path: Path, content: Any) -> dict[str, int | float | str]:  # noqa: ANN401  # what strangers put into a file
    if identify(path).kind == "safetensors":
        return dict(read_header(path).metadata)
    beside = content.get("hyper_parameters") if isinstance(content, Mapping) else None
    if not isinstance(beside, Mapping):
        return {}
    return {str(name): value for name, value in beside.items() if isinstance(value, int | float | str)}


def _read(path: Path, stubs: Sequence[str]) -> Any:  # noqa: ANN401  # what strangers put into a file
    kind = identify(path)
    if kind.kind == "missing":
        raise CheckpointError(f"{path}: not there")
    if kind.kind == "safetensors":
        with damage_said(path):
            return load_file(path)
    if kind.kind in ("torch", "pickle"):
        return _read_pickle(path, stubs, zipped=kind.kind == "torch")
    raise CheckpointError(f"{path}: {kind.name}, not a safetensors or PyTorch checkpoint")


def _read_pickle(path: Path, stubs: Sequence[str], *, zipped: bool) -> Any:  # noqa: ANN401  # what strangers put into a file
    if zipped:
        refuse_packed(path, members_of(path))
    try:
        return load_pickles(path, stubs, zipped=zipped)
    except pickle.UnpicklingError as error:
        wanted = _REFUSED_GLOBAL.search(str(error))
        if wanted is None:
            raise CheckpointError(
                f"{path}: its pickle is damaged or holds more than tensors; nothing in it was run"
            ) from error
        name = wanted[1] or wanted[2]
        name = name if "." in name else f"builtins.{name}"  # torch leaves that out.
        raise CheckpointError(
            f"{path}: asks to load the Python object {name}, which is refused: a checkpoint holds numbers alone. "
            "Nothing in it was run"
        ) from error
    except _DAMAGE as error:
        reason = str(error).split(". ")[0].splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: a damaged or truncated PyTorch file ({reason})") from error


def _refuse_forged(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are no plain arrays, or larger than the file: a few bytes can claim any shape.

    Weights that two layers share count twice, which is why the file may hold less than its tensors do.
    """
    for name, tensor in tensors.items():
        dense = tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_nested
        if type(tensor) not in (Tensor, Parameter) or not dense or tensor.device.type != "cpu":
            raise CheckpointError(f"{path}: {name} is not a plain array of numbers")
    claimed, size = sum(tensor.nbytes for tensor in tensors.values()), path.stat().st_size
    if claimed > _MOST_SHARED * size:
        raise CheckpointError(f"{path}: its tensors claim {claimed} bytes, in a file of {size}")


def _unwrap(content: Any, depth: int = 0) -> dict[str, Tensor]:  # noqa: ANN401  # what strangers put into a file
    """The named tensors of a mapping, or of the first known nest in it."""
    if not isinstance(content, Mapping) or depth > _DEEPEST_NEST:
        return {}
    tensors = {name: value for name, value in content.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if tensors:
        return tensors
    for nest in NESTS:
        if tensors := _unwrap(content.get(nest), depth + 1):
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
