"""The optimizers that recipes may name: AdamW from torch, Adan and D-Adapt Adan from pytorch_optimizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from polycli.errors import MissingDependencyError, RecipeError
from polycli.sections import OptimSection

#: How many betas each optimizer takes, and tensors of a parameter's size in its state (for plans of memory).
BETAS = {"adamw": 2, "adan": 3, "dadapt_adan": 3}
STATES = {"adamw": 2, "adan": 4, "dadapt_adan": 5}


#: In a parameter group: the part of the scheduled learning rate that it takes; the whole rate where absent.
FACTOR = "lr_scale"


def parameter_groups(
    model: nn.Module, weight_decay: float, factors: Mapping[str, float] | None = None
) -> list[dict[str, Any]]:
    """Two groups: weights, which decay, and one-dimensional parameters (biases, norms, scales), which do not.

    With `factors`, the part of the learning rate by name of the parameter, two groups for each of them, the largest
    factor first.
    """
    trained = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    if factors is None:
        return _by_dimensions([parameter for _, parameter in trained], weight_decay)
    layers = sorted({factors[name] for name, _ in trained}, reverse=True)
    return [
        {**group, FACTOR: layer}
        for layer in layers
        for group in _by_dimensions([parameter for name, parameter in trained if factors[name] == layer], weight_decay)
    ]


def _by_dimensions(trained: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, Any]]:
    groups = [
        {"params": [parameter for parameter in trained if parameter.ndim >= 2], "weight_decay": weight_decay},
        {"params": [parameter for parameter in trained if parameter.ndim < 2], "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def build_optimizer(section: OptimSection, model: nn.Module, factors: Mapping[str, float] | None = None) -> Optimizer:
    """The optimizer of a recipe over a model's parameters; `factors` as in `parameter_groups`."""
    check_betas(section)
    groups = parameter_groups(model, section.weight_decay, factors)
    options: dict[str, Any] = {"lr": section.learning_rate, "eps": section.epsilon}
    if section.betas is not None:
        options["betas"] = section.betas
    if section.name == "adamw":
        return torch.optim.AdamW(groups, **options)
    return _from_library(section.name)(groups, **options)


def check_betas(section: OptimSection) -> None:
    """`RecipeError` where the recipe gives an optimizer a number of betas that it does not take."""
    expected = BETAS[section.name]
    if section.betas is not None and len(section.betas) != expected:
        raise RecipeError(f"optim.betas has {len(section.betas)} values, {section.name} takes {expected}")


def _from_library(name: str) -> Callable[..., Optimizer]:
    try:
        from pytorch_optimizer import Adan, DAdaptAdan
    except ImportError as error:
        raise MissingDependencyError(
            f"optim.name {name} needs the package pytorch-optimizer", hint="pip install pytorch-optimizer"
        ) from error
    if name == "dadapt_adan":
        return DAdaptAdan  # type: ignore[no-any-return]

    class GroupwiseAdan(Adan):  # type: ignore[misc]
        """Adan whose step counters count right under ZeRO.

        ZeRO steps one parameter group at a time with the others emptied, and Adan counts a step for every group that
        it sees, empty or not.
        """

        param_groups: list[dict[str, Any]]

        @torch.no_grad()
        def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:
            groups = self.param_groups
            self.param_groups = [group for group in groups if _has_gradients(group["params"])]
            try:
                return super().step(closure)  # type: ignore[no-any-return]
            finally:
                self.param_groups = groups

    return GroupwiseAdan


def _has_gradients(parameters: Iterable[Tensor]) -> bool:
    return any(parameter.grad is not None for parameter in parameters)
