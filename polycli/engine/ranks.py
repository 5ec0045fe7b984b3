"""Things on which all ranks must agree: results of rank 0, flags that any rank may raise, objects of every rank.

They travel through a gloo group of their own, so that they need no GPU and cannot mix with gradients.
"""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, TypeVar, cast
from weakref import WeakKeyDictionary

from polycli.errors import PolycliError
from polycli.launch import World

T = TypeVar("T")
#: By default group, and not longer than it: a gloo group's threads end with its last reference.
_control_groups: MutableMapping[Any, Any] = WeakKeyDictionary()


def on_rank_zero(world: World, function: Callable[[], T]) -> T:
    """Call `function` on rank 0 and give its result, or its error, to all ranks.

    A `PolycliError` is raised on rank 0, which says it; the other ranks exit quietly with the same code.
    """
    if world.size == 1:
        return function()
    outcome: list[Any] = [None, None]
    error: Exception | None = None
    if world.rank == 0:
        try:
            outcome[0] = function()
        except Exception as caught:  # noqa: BLE001  # It is raised below, once the other ranks know.
            error = caught
            outcome[1] = getattr(caught, "exit_code", PolycliError.exit_code)
    _broadcast(outcome)
    if error is not None:
        raise error
    if outcome[1] is not None:
        raise SystemExit(outcome[1])
    return cast("T", outcome[0])


def together(world: World, function: Callable[[], T]) -> T:
    """Call `function` on every rank; where it fails on any, all end with the error of the first rank that failed.

    A rank that ended alone would leave the others waiting for it. Rank 0 says the error, whoever met it.
    """
    if world.size == 1:
        return function()
    result: T | None = None
    failure: Exception | None = None
    try:
        result = function()
    except Exception as error:  # noqa: BLE001  # It is raised below, once the other ranks know.
        failure = error
    told = gather(world, None if failure is None else _told(failure))
    speaker = next((rank for rank, error in enumerate(told) if error is not None), None)
    if speaker is None:
        return cast("T", result)
    # What nobody expected leaves its traceback where it happened.
    if failure is not None and speaker == world.rank and (speaker == 0 or not isinstance(failure, PolycliError)):
        raise failure
    said = cast("PolycliError", told[speaker])
    if world.rank == 0:
        raise said
    raise SystemExit(said.exit_code)


def _told(error: Exception) -> PolycliError:
    """An error in a form that every rank can be sent."""
    return error if isinstance(error, PolycliError) else PolycliError(f"{type(error).__name__}: {error}")


def gather(world: World, value: T) -> list[T]:
    """Every rank's value, by rank, on all ranks."""
    if world.size == 1:
        return [value]
    from torch import distributed

    values: list[Any] = [None] * world.size
    distributed.all_gather_object(values, value, group=_control_group())
    return values


def everyone(world: World, numbers: Sequence[float]) -> list[list[float]]:
    """Every rank's numbers, by rank, on all ranks, as cheaply as can be; all ranks give equally many."""
    if world.size == 1:
        return [list(numbers)]
    import torch
    from torch import distributed

    own = torch.tensor(numbers, dtype=torch.float64)
    gathered = [torch.empty_like(own) for _ in range(world.size)]
    distributed.all_gather(gathered, own, group=_control_group())
    return [tensor.tolist() for tensor in gathered]


def largest(world: World, number: int) -> int:
    """The largest of all ranks' numbers: 1 where any rank raised a flag."""
    if world.size == 1:
        return number
    import torch
    from torch import distributed

    flag = torch.tensor([number])
    distributed.all_reduce(flag, op=distributed.ReduceOp.MAX, group=_control_group())
    return int(flag.item())


def wait_for_all(world: World) -> None:
    """Return once every rank has come here."""
    if world.size > 1:
        from torch import distributed

        distributed.barrier(group=_control_group())


def _broadcast(values: list[Any]) -> None:
    from torch import distributed

    distributed.broadcast_object_list(values, src=0, group=_control_group())


def _control_group() -> Any:  # noqa: ANN401  # torch's process groups have no public type.
    """The default group where it is gloo, else a second one beside it; made once per default group."""
    from torch import distributed

    default = distributed.group.WORLD
    if distributed.get_backend() == "gloo":
        return default
    if default not in _control_groups:
        _control_groups[default] = distributed.new_group(backend="gloo")
    return _control_groups[default]
