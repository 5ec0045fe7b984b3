"""The headers of safetensors files from anybody, with a sentence for those that are damaged."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from polycli.errors import CheckpointError
from polycli.files.plain import check_plain, reason_of

#: What the library raises for headers that nobody's writer wrote, and for types of numbers that it does not know.
_DAMAGE = (
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    SafetensorError,
    struct.error,
    TypeError,
    ValueError,
)


@dataclass(frozen=True)
class TensorHeader:
    """One tensor as a header describes it."""

    shape: tuple[int, ...]
    #: In the format's words: F32, BF16, I64, ...
    dtype: str


@dataclass(frozen=True)
class Header:
    """A safetensors file without its numbers."""

    tensors: Mapping[str, TensorHeader]
    metadata: Mapping[str, str]


@contextmanager
def damage_said(path: Path) -> Iterator[None]:
    """Turn what the library raises in the block into a sentence.

    Raises:
        CheckpointError: the file is none, truncated or damaged.
    """
    check_plain(path, CheckpointError)
    try:
        yield
    except _DAMAGE as error:
        raise CheckpointError(
            f"{path}: a damaged or truncated safetensors file, by its header: {reason_of(error)}"
        ) from error


def read_header(path: Path) -> Header:
    """Names, shapes and types of the tensors, and the metadata; the library compares them with the file's size.

    Raises:
        CheckpointError: the file is none, truncated or damaged.
    """
    with damage_said(path), safe_open(path, framework="numpy") as file:
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  # it is no mapping
        tensors = {name: TensorHeader(tuple(part.get_shape()), part.get_dtype()) for name, part in slices.items()}
        return Header(tensors, dict(file.metadata() or {}))
