"""The numbers that a training tells its network: which ones, from which stores, and their scales."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from polycli.errors import RecipeError, UserError
from polycli.mpp.data.about import physics_of
from polycli.mpp.data.parameters import parameter_names, parameters_of_rows
from polycli.mpp.data.windows import split_rows
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.conditioning import DT
from polycli.mpp.model.network import Network
from polycli.mpp.recipe.networks import NetworkSection
from polycli.mpp.recipe.training import DataSection, ModelSection, PretrainRecipe
from polycli.mpp.training.targets import target_of
from polycli.store.reader import Store


def with_parameters(recipe: PretrainRecipe, stores: Sequence[Store]) -> PretrainRecipe:
    """The recipe with the names of the stores' parameters in it, where the network is told parameters without names.

    Raises:
        RecipeError: the network is to be told parameters, and no store has any.
    """
    section = named(recipe.model, stores)
    return recipe if section is recipe.model else recipe.model_copy(update={"model": section})


def named(section: NetworkSection, stores: Sequence[Store]) -> NetworkSection:
    """The section with the names of the stores' parameters in it, where it asks for them; else itself."""
    if not isinstance(section, ModelSection) or "parameters" not in section.conditions or section.parameters:
        return section
    names = _names(stores)
    if not names:
        raise RecipeError(
            "model.conditions names parameters, and no store has any", hint="--set 'model.conditions=[dt]'"
        )
    return section.model_copy(update={"parameters": names})


def take_scales(network: Network, stores: Sequence[Store], data: DataSection, *, only: Sequence[str] = ()) -> None:
    """Set the scales of what a network is told from the training trajectories of stores; `only` limits it to some."""
    conditioning = network.conditioning if isinstance(network, AViT) else None
    if conditioning is None:
        return
    values: dict[str, list[float]] = {}
    for store in stores:
        about = physics_of(store.manifest, store.path)
        values.setdefault(DT, []).extend(about.dt * stride for stride in data.strides)
        for name, found in parameters_of_rows(store, split_rows(store, "train", data)).items():
            values.setdefault(name, []).extend(found[np.isfinite(found)].tolist())
    wanted = {name: found for name, found in values.items() if name in (only or conditioning.names) and found}
    logarithms = {name: name == DT or target_of(name, np.array(found)).logarithm for name, found in wanted.items()}
    conditioning.take_scales(wanted, logarithms)


def told_also(
    network: Network, conditions: Sequence[Literal["dt", "parameters"]], stores: Sequence[Store], data: DataSection
) -> Network:
    """The network, told these numbers too from now on; it answers as before until it has learnt what they mean.

    Raises:
        UserError: it is no AViT.
    """
    if not isinstance(network, AViT):
        raise UserError("init.conditions is for checkpoints of an AViT; other networks are told nothing")
    section = network.section
    both = tuple(name for name in ("dt", "parameters") if name in {*section.conditions, *conditions})
    names = section.parameters
    if "parameters" in both:
        names = (*names, *(name for name in _names(stores) if name not in names))
    new = [name for name in ((DT,) if "dt" in both else ()) + names if name not in section.told]
    if not new:
        return network
    network.tell(section.model_copy(update={"conditions": both, "parameters": names}))
    take_scales(network, stores, data, only=new)
    return network


def _names(stores: Sequence[Store]) -> tuple[str, ...]:
    ordered = sorted(stores, key=lambda store: store.name)
    found = [name for store in ordered for name in parameter_names(physics_of(store.manifest, store.path))]
    return tuple(name for name in dict.fromkeys(found) if name != DT)
