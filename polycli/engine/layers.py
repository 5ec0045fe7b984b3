"""Layer-wise learning rates: how deep each parameter lies in a model, and the part of the rate that it takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import nn

from polycli.engine.task import Task
from polycli.errors import RecipeError
from polycli.sections import OptimSection


def depths_in_order(model: nn.Module, blocks: Sequence[nn.Module]) -> dict[str, int]:
    """The depth of each parameter of a model that is a chain: embeddings, `blocks` one after the other, heads.

    Parameters of block i, counted from 0, have the depth i + 1. What the model registers before its first block has
    the depth 0, and what it registers after that, blocks aside, one more than the last block.

    >>> chain = nn.Sequential(nn.Embedding(5, 2), nn.Linear(2, 2, bias=False), nn.Linear(2, 1, bias=False))
    >>> depths_in_order(chain, [chain[1]])
    {'0.weight': 0, '1.weight': 1, '2.weight': 2}
    """
    numbers = {id(one): number for number, block in enumerate(blocks, start=1) for one in block.parameters()}
    depths: dict[str, int] = {}
    others = 0
    for name, parameter in model.named_parameters():
        number = numbers.get(id(parameter))
        if number is not None:
            others = len(blocks) + 1
        depths[name] = others if number is None else number
    return depths


def rate_factors(depths: Mapping[str, int], decay: float) -> dict[str, float]:
    """The part of the learning rate that each parameter takes: `decay` to the power of the layers above its own.

    >>> rate_factors({"embed": 0, "block": 1, "head": 2}, 0.5)
    {'embed': 0.25, 'block': 0.5, 'head': 1.0}
    """
    deepest = max(depths.values())
    return {name: decay ** (deepest - depth) for name, depth in depths.items()}


def factors_of(task: Task, optim: OptimSection) -> dict[str, float] | None:
    """The part of the learning rate by parameter of `task.model`; None where all take the whole rate.

    Raises:
        RecipeError: the recipe asks for layer-wise rates, and the task's model is no chain of layers.
    """
    if optim.layer_decay is None:
        return None
    depths = task.depths()
    if depths is None:
        raise RecipeError(
            f"optim.layer_decay {optim.layer_decay:g}: {task.verb} {task.family} with this recipe has no layers in one "
            "order, so none is deeper than another",
            hint="leave optim.layer_decay out",
        )
    return rate_factors(depths, optim.layer_decay)
