"""The checkpoints that an alignment starts from, and the recipe with their sizes in it."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.recipe.model import ImageSection, ModelSection, SpectrumSection
from polycli.astroclip.recipe.training import PretrainRecipe
from polycli.console import note
from polycli.errors import CheckpointError, RecipeError, problems_of
from polycli.sections import Section

#: What a recipe may say of an encoder that a checkpoint brings, whatever the checkpoint says of it.
_MAY_DIFFER = {"drop_path", "dropout", "layer_scale", "input"}


def read_initial(recipe: PretrainRecipe, *, quiet: bool = False) -> dict[str, LoadedAstroClip]:
    """Loads the checkpoints that an alignment starts from, by the names of `init.image` and `init.spectrum`.

    Raises:
        CheckpointError: one cannot be read, or is of the other modality alone.
    """
    found: dict[str, LoadedAstroClip] = {}
    if recipe.stage != "align":
        return found
    for modality in ("image", "spectrum"):
        path = getattr(recipe.init, modality)
        if path is None:
            continue
        loaded = load_checkpoint(Path(path), quiet=quiet)
        if getattr(loaded.model.section, modality) is None:
            other = "spectra" if modality == "image" else "images"
            raise CheckpointError(
                f"init.{modality}: {loaded.model_file} is for {other} alone: it has no {modality} encoder",
                hint=f"give a checkpoint of stage {modality} or align",
            )
        found[f"init.{modality}"] = loaded
    return found


def with_initial(recipe: PretrainRecipe, initial: dict[str, LoadedAstroClip]) -> PretrainRecipe:
    """The recipe with the sizes of the checkpoints' encoders in it.

    Raises:
        RecipeError: the recipe says another size than a checkpoint has.
    """
    parts: dict[str, ImageSection | SpectrumSection] = {}
    for place, loaded in initial.items():
        modality = place.removeprefix("init.")
        has, asked = getattr(loaded.model.section, modality), getattr(recipe.model, modality)
        if asked is None:
            parts[modality] = has
            continue
        may_differ = _MAY_DIFFER | ({"inputs"} if _can_see_more(has, asked) else set())
        for name, wanted, found in _differences(asked, has, may_differ):
            if wanted != found:
                raise RecipeError(
                    f"model.{modality}.{name} is {wanted}, the checkpoint of {place} has {found}",
                    hint=f"leave model.{modality} out of the recipe, or name another checkpoint",
                )
        if "input" in asked.model_fields_set and asked.input != has.input:
            note(f"{place}: was trained on the input {has.input}, and sees {asked.input} here, as the recipe says")
        # Templates are the checkpoint's, of which the recipe may name some values.
        said = asked.model_fields_set - {"templates"}
        parts[modality] = has.model_copy(update={name: getattr(asked, name) for name in said})
    try:
        model = ModelSection.model_validate(
            {**recipe.model.model_dump(), **{k: v.model_dump() for k, v in parts.items()}}
        )
    except ValidationError as error:
        raise RecipeError(f"the model does not fit its checkpoints: {problems_of(error)}") from error
    return recipe.model_copy(update={"model": model})


def _differences(asked: Section, has: Section, may_differ: set[str]) -> list[tuple[str, object, object]]:
    """Lists the values that recipe and checkpoint disagree about: name, recipe's value, checkpoint's value."""
    found: list[tuple[str, object, object]] = []
    for name in sorted(asked.model_fields_set - may_differ):
        wanted, there = getattr(asked, name), getattr(has, name)
        if isinstance(wanted, Section) and isinstance(there, Section):
            found += [(f"{name}.{inner}", one, other) for inner, one, other in _differences(wanted, there, set())]
        elif isinstance(wanted, Section) or isinstance(there, Section):
            # Their values, which are many, are not what is wrong.
            found.append((name, "absent" if wanted is None else "there", "absent" if there is None else "there"))
        else:
            found.append((name, wanted, there))
    return found


def _can_see_more(has: ImageSection | SpectrumSection, asked: ImageSection | SpectrumSection) -> bool:
    """Whether an encoder can be given the inputs that are asked for: added weights of a linear stem begin at zero."""
    if not isinstance(has, SpectrumSection) or not isinstance(asked, SpectrumSection):
        return False
    return has.stem == "linear" and set(has.inputs) <= set(asked.inputs)
