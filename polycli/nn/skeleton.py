"""Modules without values: shapes and names for counting and for weights that are read from a file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, TypeVar

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from polycli.errors import UserError

Model = TypeVar("Model", bound=nn.Module)
_FILLS = frozenset({torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.fill_, torch.Tensor.zero_})


@contextmanager
def skeleton() -> Iterator[None]:
    """Puts the modules that are made inside on the meta device, uninitialised.

    Without the second part the first random initialisation on that device imports TorchDynamo, which takes seconds.

    Raises:
        UserError: the sizes are beyond what can be counted.
    """
    try:
        with torch.device("meta"), uninitialised():
            yield
    except (RuntimeError, OverflowError) as error:
        if "overflow" not in str(error) and "too large" not in str(error):
            raise
        raise UserError(f"a network of these sizes is beyond all measure: {str(error).splitlines()[0]}") from error


@contextmanager
def fake_model(make: Callable[[], Model]) -> Iterator[Model]:
    """Give the model that `make` makes, on tensors that have shapes but no memory; what runs inside computes shapes.

    The tensors say that they are on the CPU, so that autocast and attention do what they do there.
    """
    from torch._subclasses.fake_tensor import FakeTensorMode

    with skeleton():
        model = make()
    with FakeTensorMode(allow_non_fake_inputs=True):
        yield model.to_empty(device="cpu")


def has_values(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds numbers that can be looked at, and not a shape alone."""
    from torch._subclasses.fake_tensor import is_fake

    return not tensor.is_meta and not is_fake(tensor)


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
        kwargs: dict[str, object] | None = None,
    ) -> Any:  # noqa: ANN401  # torch's signature.
        """Run `func`, unless it fills a tensor that is there."""
        kwargs = kwargs or {}
        if func in _FILLS or getattr(func, "__module__", "") == torch.nn.init.__name__:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **kwargs)
