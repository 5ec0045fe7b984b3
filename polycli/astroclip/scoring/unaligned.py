"""The encoders that an alignment began from: what it is compared with, and what still reconstructs hidden stretches."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.model.specformer import token_count
from polycli.astroclip.recipe.model import Modality
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.scoring.reconstruction import fitting
from polycli.console import note
from polycli.errors import CheckpointError, problems_of


def unaligned_encoders(loaded: LoadedAstroClip, settings: EvalSettings) -> dict[Modality, LoadedAstroClip]:
    """The encoders before their alignment, by modality: those of the settings, else those that the run began from.

    Raises:
        CheckpointError: one cannot be read, or has no encoder of that modality, or the model itself has none.
    """
    given = settings.unaligned.model_dump()
    began = loaded.recipe_section("init")
    found: dict[Modality, LoadedAstroClip] = {}
    alone: list[Modality] = []
    sees: tuple[tuple[Modality, object], ...] = (("image", loaded.image), ("spectrum", loaded.spectrum))
    for name, reads in sees:
        if reads is None and given[name] is not None:
            raise CheckpointError(
                f"unaligned.{name}: {loaded.model_file} has no {name} encoder for {given[name]} to be compared with",
                hint=f"leave unaligned.{name} out",
            )
        if reads is None:
            continue
        path = given[name] or began.get(name)
        if path is None:
            alone += [name] if loaded.run is None and loaded.model.section.heads is not None else []
            continue
        if given[name] is None and not Path(str(path)).exists():
            note(f"{path}: the run began from this {name} encoder, which is not there: not compared")
            continue
        found[name] = load_checkpoint(Path(str(path)), quiet=True, allow_untrained=settings.allow_untrained)
        if getattr(found[name], name) is None:
            raise CheckpointError(
                f"unaligned.{name}: {found[name].model_file} has no {name} encoder",
                hint=f"give a checkpoint of stage {name}",
            )
    if alone:
        note(
            f"{loaded.model_file}: stands outside a run, which would say what the alignment began from: encoders "
            f"before it are not compared, unless {' or '.join(f'--set unaligned.{name}=CHECKPOINT' for name in alone)}"
        )
    return found


def masking_of(loaded: LoadedAstroClip, settings: EvalSettings, pixels: int) -> MaskingSection | None:
    """Returns how the training hid parts of spectra, fit for so many pixels; None for models that reconstruct nothing.

    Raises:
        CheckpointError: the checkpoint says something of it that makes no sense.
    """
    model = loaded.model.section
    if model.spectrum is None or loaded.spectrum is None or model.heads is not None or model.properties is not None:
        return None
    return fitting(settings.masking or _trained_masking(loaded), token_count(model.spectrum, pixels))


def _trained_masking(loaded: LoadedAstroClip) -> MaskingSection:
    """Returns the masking that the weights state or, for earlier versions, the recipe of their run."""
    said = loaded.described("masking") or loaded.recipe_section("masking")
    if not said:
        note(
            f"{loaded.model_file}: does not say how its training hid parts of spectra: the published way is scored, "
            "unless --set masking.chunks=N, masking.chunk_length=N or masking.weight=ivar"
        )
    try:
        return MaskingSection.model_validate(said)
    except ValidationError as error:
        raise CheckpointError(f"{loaded.model_file}: its description is not sound: {problems_of(error)}") from error
