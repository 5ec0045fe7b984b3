"""Files of a checkpoint: hashed while they are written, and on the disk when the call returns.

The safetensors library writes files too, but hides why a disk refused (`OSError.errno`), holds Python's lock while it
writes, and leaves the hash to a second reading of the file.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from polycli.checkpoints.manifest import CheckpointFile

#: Bytes handed to the operating system at a time.
_PIECE = 16 * 2**20
#: The format's names of element types (huggingface/safetensors, README, "Format").
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def write_text(path: Path, text: str) -> CheckpointFile:
    """Write a small file."""
    return _write(path, [memoryview(text.encode("utf-8"))])


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> CheckpointFile:
    """Write tensors, which lie on the CPU, as a safetensors file that says that PyTorch wrote it, and `metadata`."""
    # Wide elements come first, so that every tensor is aligned to its element size.
    ordered = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, object] = {"__metadata__": {"format": "pt", **(metadata or {})}}
    end = 0
    for name in ordered:
        start, end = end, end + tensors[name].numel() * tensors[name].element_size()
        shape = list(tensors[name].shape)
        header[name] = {"dtype": _DTYPES[tensors[name].dtype], "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode("utf-8")
    text += b" " * (-len(text) % 8)
    beginning = memoryview(len(text).to_bytes(8, "little") + text)
    return _write(path, chain([beginning], (_bytes_of(tensors[name]) for name in ordered)))


def _write(path: Path, parts: Iterable[memoryview]) -> CheckpointFile:
    path.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("wb", buffering=0) as file:
            for part in parts:
                for first in range(0, len(part), _PIECE):
                    piece = part[first : first + _PIECE]
                    digest.update(piece)
                    size += _write_all(file.fileno(), piece)
            os.fsync(file.fileno())
    except OSError as error:
        # A refused write does not say by itself which file it was for.
        raise OSError(error.errno, error.strerror, str(path)) from error
    return CheckpointFile(size=size, sha256=digest.hexdigest())


def _write_all(descriptor: int, piece: memoryview) -> int:
    """Write all of it: on a disk that fills up, the system may take a part, and refuse with the next."""
    done = 0
    while done < len(piece):
        done += os.write(descriptor, piece[done:])
    return done


def _bytes_of(tensor: Tensor) -> memoryview:
    flat = tensor.detach().contiguous().reshape(-1)
    if not flat.numel():
        return memoryview(b"")
    array: Any = flat.view(torch.uint8).numpy()
    return memoryview(array)
