"""Reads pickles that name classes of other projects: those become inert stubs, everything else is refused by name.

Lightning packs hyper-parameters with the weights, whole modules among them. Nothing of theirs is imported or run: a
stub swallows what its object was made of. All that is really called rebuilds tensors and plain containers.
"""

from __future__ import annotations

import collections
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import torch

#: What a pickle of tensors needs, by the names that Python 2 and 3 give it.
_NEEDED: dict[str, Any] = {
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
        """Likewise for what it held."""

    def __setitem__(self, key: object, value: object) -> None:
        """Likewise for the entries of a mapping."""

    def append(self, value: object) -> None:
        """Likewise for those of a list."""

    def extend(self, values: object) -> None:
        """As `append`."""


class RefusedGlobalError(pickle.UnpicklingError):
    """A pickle asks for something that is neither needed for tensors nor stubbed."""

    def __init__(self, name: str) -> None:
        super().__init__(f"global {name} is refused")
        self.name = name


def load_with_stubs(path: Path, stubs: Sequence[str]) -> Any:  # noqa: ANN401  # what strangers put into a file
    """What a PyTorch file holds, on the CPU, with a `Stub` for every object of a package that `stubs` begins with.

    Raises:
        RefusedGlobalError: the file asks for another global; nothing in it was run.
        Exception: as `torch.load`, for a damaged file.
    """
    prefixes = tuple(stubs)

    class Unpickler(pickle.Unpickler):
        def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401
            full = f"{module}.{name}"
            if full in _NEEDED:
                return _NEEDED[full]
            if full.startswith(prefixes):
                return Stub
            raise RefusedGlobalError(full)

    def load(file: Any, **options: Any) -> Any:  # noqa: ANN401
        return Unpickler(file, **options).load()

    # torch derives its own unpickler, which finds storages, from the one that it is given. With `weights_only` it takes
    # none: what may be named is decided by `find_class` above, which knows the names of tensors alone.
    module = SimpleNamespace(Unpickler=Unpickler, load=load, __name__="polycli.checkpoints.unpickler")
    reader = cast("Callable[..., Any]", torch.load)
    return reader(path, map_location="cpu", weights_only=False, pickle_module=module)
