"""Models from checkpoints: our own, and the published ones, whose sizes are read off their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from polycli.checkpoints.exported import ModelDescription, description_of
from polycli.checkpoints.metadata import read_metadata, says_nothing
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.checkpoints.tensors import read_state_dict
from polycli.errors import CheckpointError, problems_of
from polycli.mpp.model.baselines.published_video import is_video, read_video
from polycli.mpp.model.kinds import make_network
from polycli.mpp.model.network import Network
from polycli.mpp.model.regression import HEAD_PREFIX, HeadDescription, ParameterAViT
from polycli.mpp.recipe.networks import FnoSection, NetworkSection, UnetSection, VitSection
from polycli.mpp.recipe.physics import PUBLISHED_FIELDS
from polycli.mpp.recipe.training import ModelSection, model_section
from polycli.nn.skeleton import skeleton
from polycli.nn.weights import assign_tensors

#: Present in every AViT, whatever its sizes.
LANDMARKS = ("space_bag.weight", "embed.in_proj.6.weight", "blocks.0.temporal.input_head.weight", "debed.out_bias")
#: The keys of all model sections, in the order of AViT's.
_SECTIONS = (ModelSection, FnoSection, UnetSection, VitSection)
_SIZES = tuple({name: None for section in _SECTIONS for name in section.model_fields})
_FIRST_BIAS = "blocks.0.temporal.rel_pos_bias."


def load_model(path: str | Path, **sizes: Any) -> Network:  # noqa: ANN401  # the keys of model sections
    """A network in eval mode, float32, on the CPU, from anything that CHECKPOINT may be.

    Args:
        path: a run, a checkpoint in it, a safetensors file with or without its model.json, or a file of the original
            project, whose sizes are inferred from its tensors.
        sizes: keys of the recipe's model section that shall hold instead of what the checkpoint says or implies.

    Returns:
        The model; `.section` says what it is. A checkpoint of 12 states without names has the published vocabulary.

    Raises:
        CheckpointError: the file is absent, truncated, dangerous, of another family, or no checkpoint at all.
        TypeError: `sizes` has a key that the model section has not.

    Example:
        >>> import torch
        >>> from polycli.mpp import load_model
        >>> model = load_model("avit/model.safetensors")  # or a run, as "runs/mpp_demo"
        >>> model.section.fields
        ('shallow_water.height', 'shallow_water.velocity_x', 'shallow_water.velocity_y')
        >>> frames = torch.rand(1, 4, 3, 32, 32)  # (batch, time, field, x, y)
        >>> with torch.no_grad():
        ...     following = model(frames, torch.tensor([0, 1, 2]), torch.tensor([[1, 1]]))  # periodic along both axes
        >>> following.shape
        torch.Size([1, 3, 32, 32])
    """
    if unknown := sorted(set(sizes) - set(_SIZES)):
        raise TypeError(f"load_model has no size {unknown[0]!r}; there are {', '.join(_SIZES)}")
    resolved = resolve_checkpoint(Path(path))
    return model_from(resolved.model_file, description_of(resolved, family="mpp"), sizes)


def model_from(file: Path, description: ModelDescription | None, sizes: Mapping[str, Any]) -> Network:
    """The network in a file of weights, with what its model.json says of it; as `load_model` otherwise.

    Raises:
        CheckpointError: as `load_model`; or nothing says whether the network predicts states or changes, which weights
            of an earlier polycli without their model.json do not.
    """
    tensors = read_state_dict(file)
    video = description is None and is_video(tensors)
    if not video and description is None and "predicts" not in sizes and says_nothing(read_metadata(file)):
        raise CheckpointError(
            f"{file}: weights without the model.json that says whether they predict the next state or the change to it",
            hint="keep model.json beside them, or say it: --set model.predicts=change, or state as published; "
            "load_model(path, predicts=...) in Python",
        )
    said = None if description is None else description.model
    if video:
        said, tensors = read_video(file, tensors)
    section = _section(file, tensors, said, sizes)
    head = _head(file, tensors, description)
    with skeleton():
        model = make_network(section) if head is None else ParameterAViT(_axial(file, section), head)
    _assign(file, model, tensors)
    return model.eval()


def infer_section(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
    """The keys of the model section that the tensors of an AViT tell; num_heads among them, unlike in most families."""
    width = tensors["embed.in_proj.6.weight"].shape[0]
    states = tensors["space_bag.weight"].shape[1]
    head_width = tensors["blocks.0.temporal.qnorm.weight"].shape[0]
    blocks = {int(name.split(".")[1]) for name in tensors if name.startswith("blocks.")}
    stages = ("embed.in_proj.0.weight" in tensors, "embed.in_proj.3.weight" in tensors)
    bias = (
        "relative"
        if _FIRST_BIAS + "relative_attention_bias.weight" in tensors
        else "continuous"
        if _FIRST_BIAS + "cpb_mlp.0.weight" in tensors
        else "none"
    )
    return {
        "fields": PUBLISHED_FIELDS if states == len(PUBLISHED_FIELDS) else tuple(f"state.{i}" for i in range(states)),
        "embed_dim": width,
        "num_heads": width // head_width,
        "blocks": len(blocks),
        "patch_size": {(True, True): 16, (True, False): 8, (False, True): 4}.get(stages, 16),
        "position_bias": bias,
        # Along which axes no tensor says: unless a description does, along all.
        "absolute_position": "all" if "position.height" in tensors else "none",
    }


def _section(
    file: Path, tensors: Mapping[str, Tensor], described: Mapping[str, object] | None, sizes: Mapping[str, Any]
) -> NetworkSection:
    if described is not None and described.get("kind", "avit") != "avit":
        return _validated(file, {**described, **sizes})
    if missing := [name for name in LANDMARKS if name not in tensors]:
        raise CheckpointError(
            f"{file}: not an MPP model: {missing[0]} is missing; its {len(tensors)} tensors include {min(tensors)}"
        )
    try:
        return _validated(file, {**(described or infer_section(tensors)), **sizes})
    except (KeyError, IndexError, ZeroDivisionError) as error:
        raise CheckpointError(f"{file}: its sizes are not those of an MPP model ({error})") from error


def _validated(file: Path, values: Mapping[str, Any]) -> NetworkSection:
    try:
        return model_section(values)
    except ValueError as error:
        reason = problems_of(error) if isinstance(error, ValidationError) else error
        raise CheckpointError(f"{file}: its sizes are not those of an MPP model ({reason})") from error


def _axial(file: Path, section: NetworkSection) -> ModelSection:
    """The section of the network below a head, which is an AViT."""
    if isinstance(section, ModelSection):
        return section
    raise CheckpointError(f"{file}: a head that predicts parameters on a network of another kind than avit")


def _head(file: Path, tensors: Mapping[str, Tensor], description: ModelDescription | None) -> HeadDescription | None:
    """The head on the network, as model.json describes it; None where there is none."""
    said = None if description is None else (description.model_extra or {}).get("head")
    if said is None:
        if any(name.startswith(HEAD_PREFIX) for name in tensors):
            raise CheckpointError(
                f"{file}: holds a head that predicts parameters, and nothing says which",
                hint="keep model.json beside it",
            )
        return None
    try:
        return HeadDescription.model_validate(said)
    except ValidationError as error:
        raise CheckpointError(f"{file}: what it says of its head is not sound: {problems_of(error)}") from error


def _assign(file: Path, model: Network, tensors: dict[str, Tensor]) -> None:
    """Give the model its tensors, less those that conversions of the published weights may lack."""
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:  # Nothing reads it.
            tensors.setdefault(name, torch.zeros(parameter.shape))
    assign_tensors(file, model, tensors)
