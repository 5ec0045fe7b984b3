"""The start of a finetuning: the checkpoint's network with a place for each new field, and its settings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch

from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import counted, note
from polycli.errors import StoreError, UserError
from polycli.mpp.data.about import physics_of
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.kinds import make_network
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.network import Network
from polycli.mpp.model.new_fields import with_new_fields
from polycli.mpp.model.trained import TrainedPhysics, say_other_physics
from polycli.mpp.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.mpp.training.conditions import take_scales, told_also
from polycli.mpp.training.freeze import freeze
from polycli.store.reader import Store


@dataclass(frozen=True)
class Start:
    """A network that is ready to train: all fields in its vocabulary, frozen where the recipe says so."""

    network: Network
    #: The finetuning written as a pretraining: the checkpoint's sizes and context in it.
    settings: PretrainRecipe
    trained_on: Mapping[str, TrainedOn]
    #: By dataset: the physics of the checkpoint's training.
    trained: Mapping[str, TrainedPhysics]
    #: Fields of the stores that no training has met yet, whether the checkpoint has a place for them or not.
    new_fields: tuple[str, ...] = ()


def start_from(loaded: LoadedNetwork, recipe: FinetuneRecipe, stores: Sequence[Store]) -> Start:
    """The network of a checkpoint made ready for the fields of some stores.

    Raises:
        StoreError: the checkpoint knows no field of the stores, and the recipe refuses that.
        UserError: `init.map` names fields that are not there.
    """
    physics = {store.name: physics_of(store.manifest, store.path) for store in stores}
    wanted = [field for about in physics.values() for field in about.fields]
    scratch = recipe.init.weights == "scratch"
    new_fields = () if scratch else _say_new_fields(wanted, loaded, recipe)
    network = with_new_fields(
        loaded.model, wanted, start=recipe.init.new_fields, from_fields=recipe.init.map, seed=recipe.train.seed
    )
    if recipe.data.mixed_micro_batches and not network.mixes:
        raise UserError(f"data.mixed_micro_batches is for checkpoints of an AViT, not of kind {network.section.kind}")
    if scratch:
        note("init.weights is scratch: the checkpoint gives sizes and fields, and none of its weights")
        torch.manual_seed(recipe.train.seed)  # the same weights on every rank
        network = make_network(network.section)
    if recipe.init.drop_path is not None:
        if not isinstance(network, AViT):
            raise UserError("init.drop_path is for checkpoints of an AViT; other networks have no drop path")
        network.section = network.section.model_copy(update={"drop_path": recipe.init.drop_path})
    if recipe.init.absolute_position is not None:
        if not isinstance(network, AViT):
            raise UserError("init.absolute_position is for checkpoints of an AViT; other networks have their own ways")
        network.tell_positions(recipe.init.absolute_position)
    # What the recipe does not say about the context is as the checkpoint was trained.
    context = {key: getattr(loaded, key) for key in ("history", "time_stride")}
    given = {key: value for key, value in context.items() if key not in recipe.data.model_fields_set}
    data = recipe.data.model_copy(update=given)
    if scratch:
        take_scales(network, stores, data)
    if recipe.init.conditions:
        network = told_also(network, recipe.init.conditions, stores, data)
    freeze(network.train(), recipe.freeze)
    stride = given.get("time_stride", recipe.data.time_stride)
    trained = {} if scratch else loaded.trained
    for name, about in physics.items():
        say_other_physics(trained, name, about, time_stride=stride)
    settings = PretrainRecipe(
        family="mpp",
        verb="pretrain",
        model=network.section,
        data=data,
        objective=recipe.objective,
        optim=recipe.optim,
        schedule=recipe.schedule,
        train=recipe.train,
        engine=recipe.engine,
        log=recipe.log,
    )
    return Start(network, settings, {} if scratch else loaded.trained_on, trained, new_fields)


def _say_new_fields(wanted: Iterable[str], loaded: LoadedNetwork, recipe: FinetuneRecipe) -> tuple[str, ...]:
    """Say which of the wanted fields are strange to the checkpoint, and return them."""
    known = loaded.section.fields
    new = [field for field in dict.fromkeys(wanted) if field not in known]
    met = dict.fromkeys(field for part in loaded.trained.values() for field in part.fields)
    # A name in the vocabulary is not enough: what no training has met is as strange to the model as a new field.
    idle = [field for field in dict.fromkeys(wanted) if met and field in known and field not in met]
    allowed = recipe.init.map or recipe.init.unmatched == "allow"
    if idle and set(wanted) == {*new, *idle} and not allowed:
        raise StoreError(
            f"the checkpoint was trained on none of the fields {', '.join((*idle, *new))}; it was trained on "
            f"{', '.join(met)}",
            hint="--set init.unmatched=allow learns all of them anew",
        )
    named = [field for field in known if not field.startswith("unused.")]
    if new and set(wanted) == set(new) and not allowed:
        raise StoreError(
            f"the checkpoint knows none of the fields {', '.join(new)}; it knows {', '.join(named)}",
            hint="--set 'init.map={NEW: KNOWN}' starts fields as copies of known ones; --set init.unmatched=allow "
            "learns all of them anew",
        )
    if idle:
        note(f"{len(idle)} fields have a place in the checkpoint that no training has met: {', '.join(idle)}")
    if new:
        sources = [f"{field} from {recipe.init.map.get(field, recipe.init.new_fields)}" for field in new]
        note(f"{counted(len(new), 'field', 'fields')} new to the checkpoint, starting so: {', '.join(sources)}")
    return (*new, *idle)
