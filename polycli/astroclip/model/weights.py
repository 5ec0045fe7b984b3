"""Models from checkpoints: our own, and the published ones, whose sizes are read off their tensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.published_names import infer_section, our_names
from polycli.astroclip.recipe.model import ModelSection
from polycli.astroclip.recipe.votes import AS_WRITTEN
from polycli.checkpoints.exported import ModelDescription, description_of
from polycli.checkpoints.metadata import read_metadata, says_nothing
from polycli.checkpoints.resolve import resolve_checkpoint
from polycli.checkpoints.tensors import read_packed
from polycli.errors import CheckpointError, problems_of
from polycli.nn.skeleton import skeleton
from polycli.nn.weights import assign_tensors

#: Packages whose objects the public files pickle beside the weights.
STUBS = ("astroclip.", "dinov2.", "torch.nn.")
#: What `load_model` takes besides sections: sizes that tensors do not tell, by their place in the model section.
SIZES = {
    "vit_heads": ("image", "num_heads"),
    "spectrum_heads": ("spectrum", "num_heads"),
    "n_head": ("heads", "num_heads"),
    "section_step": ("spectrum", "section_step"),
    "image_tokens": ("heads", "image_tokens"),
    "image_residual": ("heads", "image_residual"),
}
_PARTS = ("image", "spectrum", "heads")


def load_model(path: str | Path, **sizes: Any) -> AstroClip:  # noqa: ANN401  # numbers, or the keys of a section
    """A model in eval mode, float32, on the CPU, from anything that CHECKPOINT may be.

    Args:
        path: a run, a checkpoint in it, a safetensors file with or without its model.json, or a file of the original
            projects (AstroCLIP, AstroDINO, SpecFormer, Stein et al.'s MoCo), whose sizes are inferred from its tensors.
        sizes: what shall hold instead of what the checkpoint says or implies: `vit_heads`, `spectrum_heads` and
            `n_head` (of the cross-attention), which tensors do not tell; `num_heads` for a file of one encoder; others
            of `SIZES`; or `image`, `spectrum`, `heads` with keys of those sections as a mapping.

    Returns:
        The model; `.section` says what it is. A published file of one modality has that encoder alone.

    Raises:
        CheckpointError: the file is absent, truncated, dangerous, of another family, or no checkpoint at all; or a
            tensor is missing, unknown, of another shape or not finite.
        TypeError: `sizes` has a key that there is not.

    Example:
        >>> import torch
        >>> from polycli.astroclip import load_model, open_objects
        >>> store = open_objects("mock.zarr")
        >>> model = load_model("galaxies/model.safetensors")  # or a run, as "runs/astroclip_demo"
        >>> with torch.no_grad():
        ...     rgb = model.image_input(torch.from_numpy(store.read_images([0, 1, 2])))
        ...     vectors = model.embed_image(rgb)
        >>> vectors.shape
        torch.Size([3, 16])
    """
    resolved = resolve_checkpoint(Path(path))
    return model_from(resolved.model_file, description_of(resolved, family="astroclip"), sizes)


def model_from(file: Path, description: ModelDescription | None, sizes: Mapping[str, Any]) -> AstroClip:
    """The network in a file of weights, with what its model.json says of it; as `load_model` otherwise.

    Raises:
        CheckpointError: as `load_model`; or nothing says what the encoders read, which weights of an earlier polycli
            without their model.json do not.
    """
    known = {*SIZES, *_PARTS, "num_heads"}
    if unknown := sorted(set(sizes) - known):
        raise TypeError(f"load_model has no size {unknown[0]!r}; there are {', '.join(sorted(known))}")
    if description is None and not sizes and says_nothing(read_metadata(file)):
        raise CheckpointError(
            f"{file}: weights without the model.json that says how many heads their encoders have and what they read",
            hint="keep model.json beside them, as `polycli export` does; eval, predict and embed take --set "
            "model.vit_heads=N, model.spectrum_heads=N and model.n_head=N, load_model(path, vit_heads=N) the same",
        )
    packed = read_packed(file, stubs=STUBS)
    tensors = our_names(packed.tensors)
    said = {} if description is not None else _said(packed.settings)
    section = _section(file, tensors, None if description is None else description.model, {**said, **sizes})
    with skeleton():
        model = AstroClip(section)
    _assign(file, model, tensors)
    return model.eval()


def _said(settings: Mapping[str, int | float | str]) -> dict[str, int]:
    """Sizes among the settings that a public file brings along."""
    names = ("num_heads", "vit_heads", "spectrum_heads", "n_head")
    return {name: int(settings[name]) for name in names if str(settings.get(name, "")).isdigit()}


def _section(
    file: Path, tensors: Mapping[str, Tensor], described: Mapping[str, object] | None, sizes: Mapping[str, Any]
) -> ModelSection:
    try:
        section = dict(described) if described is not None else infer_section(tensors)
        if not any(section.get(name) for name in ("image", "spectrum")):
            raise CheckpointError(
                f"{file}: not an AstroCLIP model, nor SpecFormer, a DINOv2 ViT or a MoCo ResNet-50; its {len(tensors)} "
                f"tensors include {min(tensors)}"
            )
        return ModelSection.model_validate(_with_sizes(section, sizes), context=AS_WRITTEN)
    except (ValidationError, KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
        reason = problems_of(error) if isinstance(error, ValidationError) else error
        raise CheckpointError(f"{file}: its sizes are not those of an AstroCLIP model ({reason})") from error


def _with_sizes(section: Mapping[str, Any], sizes: Mapping[str, Any]) -> dict[str, object]:
    changed = {name: dict(part) if part else part for name, part in section.items()}
    given: list[tuple[str, str, Any]] = [(*SIZES[name], value) for name, value in sizes.items() if name in SIZES]
    if "num_heads" in sizes:
        alone = [name for name in ("image", "spectrum") if changed.get(name)]
        given += [(name, "num_heads", sizes["num_heads"]) for name in alone if len(alone) == 1]
    given += [(part, key, value) for part in _PARTS for key, value in dict(sizes.get(part) or {}).items()]
    for part, key, value in given:
        if changed.get(part):
            changed[part][key] = value
    return changed


def _assign(file: Path, model: AstroClip, tensors: dict[str, Tensor]) -> None:
    """Give the model its tensors, less those that conversions may lack."""
    for name, value in model.state_dict().items():
        # Nothing of ours reads a mask token, and the counter of BatchNorm is no weight.
        if name not in tensors and name.endswith((".mask_token", ".num_batches_tracked")):
            tensors[name] = torch.zeros(value.shape, dtype=value.dtype)
    assign_tensors(file, model, tensors)
