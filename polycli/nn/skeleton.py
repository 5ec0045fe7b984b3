"""Modules without values: shapes and names for counting and for weights that are read from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_FILLS = frozenset({torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_})


@contextmanager
def skeleton() -> Iterator[None]:
    """What is made inside lies on the meta device and is not initialised.

    Without the second part the first random initialisation on that device imports TorchDynamo, which takes seconds.
    """
    with torch.device("meta"), uninitialised():
        yield


def uninitialised() -> AbstractContextManager[object]:
    """Modules that are made inside keep whatever is in their memory, on any device."""
    return _NoInitialisation()


class _NoInitialisation(TorchFunctionMode):
    """Leaves tensors as they are where they would be filled."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # torch's signature.
        """Run `func`, unless it fills a tensor that is there."""
        kwargs = kwargs or {}
        if func in _FILLS or getattr(func, "__module__", "") == torch.nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
