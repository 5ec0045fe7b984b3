"""Reads what a pickle asks for without running it, and has stand-ins for classes of other projects.

Lightning packs hyper-parameters with the weights, whole modules among them. Nothing of theirs is imported or run: a
stub swallows what its object was made of. torch's own unpickler of weights reads everything but the modules of files of
before 2020: it knows the names of tensors and plain containers, and refuses any other, TorchScript archives and tars.
"""

from __future__ import annotations

import collections
import mmap
import pickle
import pickletools
import tarfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, cast

import torch

#: Files of `torch.save` of before 2020 begin with a pickle of this number, and have four more before their numbers.
_MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
_PICKLES_OF_OLD_FILES = 5
#: What tensors need in an old file that also holds modules, by the names that Python 2 and 3 give it.
_NEEDED: dict[str, object] = {
    "collections.OrderedDict": collections.OrderedDict,
    "builtins.set": set,
    "__builtin__.set": set,
    "builtins.frozenset": frozenset,
    "torch.Size": torch.Size,
    "torch.device": torch.device,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,  # noqa: SLF001  # what torch writes
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,  # noqa: SLF001
    **{str(value): value for value in vars(torch).values() if isinstance(value, torch.dtype)},
}


class Stub:
    """Stands for an object of a class that is not read."""

    #: torch looks at this in files of before 2020.
    dump_patches = False

    def __init__(self, *_: object, **__: object) -> None:
        """Take what the class would have been made of, and do nothing with it."""

    def __setstate__(self, state: object) -> None:
        """Drop the state that the object held."""


def load_pickles(path: Path, stubs: Sequence[str], *, zipped: bool) -> Any:  # noqa: ANN401  # what strangers put into a file
    """Load a PyTorch file on the CPU, with a `Stub` for every object of a package that `stubs` begins with.

    Raises:
        Exception: as `torch.load`: the file is damaged, or asks for another global; nothing in it was run.
    """
    # Read where there are no stubs too: a text that claims gigabytes in a small file is noticed before any is taken.
    asked_for = _asked_for(path, zipped=zipped)
    stubbed: list[Callable[..., Any] | tuple[Callable[..., Any], str]]
    stubbed = [(Stub, name) for name in sorted(asked_for) if name.startswith(tuple(stubs))]
    with warnings.catch_warnings(), torch.serialization.safe_globals(stubbed):
        # torch remarks on pickle protocols that it did not write; what it cannot read it refuses.
        warnings.simplefilter("ignore")
        if stubbed and not zipped:
            return _load_old_modules(path, tuple(stubs))
        # torch takes whatever is called so for safetensors, and what is read here is none.
        if path.name.endswith(".safetensors"):
            with path.open("rb") as file:
                return torch.load(file, map_location="cpu", weights_only=True)
        return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)


def _asked_for(path: Path, *, zipped: bool) -> set[str]:
    if zipped:
        return set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as program:
        return set(imports_of_file(program))


def _load_old_modules(path: Path, stubs: tuple[str, ...]) -> Any:  # noqa: ANN401
    """Read a file of before 2020 that is no archive: torch's unpickler of weights refuses modules there by their kind.

    Python's own unpickler in Python, unlike the one in C, takes no memory for a place in its memo that it never fills.
    """
    if tarfile.is_tarfile(path):
        raise pickle.UnpicklingError("a tar of the first PyTorch versions")

    class Unpickler(pickle._Unpickler):  # noqa: SLF001
        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
            full = f"{module}.{name}"
            if full in _NEEDED:
                return _NEEDED[full]
            if full.startswith(stubs):
                return Stub
            raise pickle.UnpicklingError(f"GLOBAL {full} is refused")

    def load(file: Any, **options: Any) -> Any:  # noqa: ANN401
        return Unpickler(file, **options).load()

    # torch derives its own unpickler, which finds storages, from the one that it is given.
    module = SimpleNamespace(Unpickler=Unpickler, load=load, __name__="polycli.checkpoints.pickles")
    reader = cast("Callable[..., Any]", torch.load)
    with path.open("rb") as file:
        # An archive would go to the loader of programs; torch looks at the first bytes of what it is given, as we do.
        if file.peek(2)[:2] == b"PK":
            raise pickle.UnpicklingError("an archive")
        # `weights_only` would put torch's unpickler, which cannot read these forms, in place of ours; ours finds the
        # globals of _NEEDED, stands in for the named ones, and refuses every other.
        return reader(file, map_location="cpu", weights_only=False, pickle_module=module)


def imports_of_file(file: IO[bytes] | mmap.mmap) -> Iterator[str]:
    """Every global that the pickles at the start of a file name: of one, or of all five of an old PyTorch file.

    Raises:
        ValueError: an instruction is unknown or cut short.
    """
    numbers: list[object] = []
    yield from imports_of(file, numbers)
    if _MAGIC_NUMBER in numbers:
        for _ in range(_PICKLES_OF_OLD_FILES - 1):
            yield from imports_of(file)


def imports_of(file: IO[bytes] | mmap.mmap, arguments: list[object] | None = None) -> Iterator[str]:
    """Every global that a pickle names; `?` where it computes a name, which no honest file does.

    `arguments`, if given, takes the arguments of its instructions.

    Raises:
        ValueError: an instruction is unknown or cut short.
    """
    pushed: list[str] = ["?", "?"]
    memory: dict[int, str] = {}
    for operation, argument, _ in pickletools.genops(cast("IO[bytes]", file)):
        name = operation.name
        if arguments is not None:
            arguments.append(argument)
        if name in {"GLOBAL", "INST"}:
            yield str(argument).replace(" ", ".")
            pushed.append("?")
        elif name == "STACK_GLOBAL":
            yield ".".join(pushed[-2:])
            pushed.append("?")
        elif name == "MEMOIZE":
            memory[len(memory)] = pushed[-1]
        elif name in {"PUT", "BINPUT", "LONG_BINPUT"}:
            memory[int(str(argument))] = pushed[-1]
        elif name in {"GET", "BINGET", "LONG_BINGET"}:
            pushed.append(memory.get(int(str(argument)), "?"))
        elif name not in {"PROTO", "FRAME"}:
            pushed.append(argument if isinstance(argument, str) else "?")
