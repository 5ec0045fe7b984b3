"""The encoders that an alignment began from: what it is compared with, and what still reconstructs hidden stretches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.model.specformer import token_count
from polycli.astroclip.recipe.settings import EvalSettings
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.scoring.encode import Modality
from polycli.astroclip.scoring.reconstruction import fitting
from polycli.console import note
from polycli.errors import CheckpointError


def unaligned_encoders(loaded: LoadedAstroClip, settings: EvalSettings) -> dict[Modality, LoadedAstroClip]:
    """The encoders before their alignment, by modality: those of the settings, else those that the run began from.

    Raises:
        CheckpointError: one cannot be read, or has no encoder of that modality, or the model itself has none.
    """
    given = settings.unaligned.model_dump()
    began: dict[str, Any] = loaded.recipe_section("init")
    found: dict[Modality, LoadedAstroClip] = {}
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
            continue
        if given[name] is None and not Path(path).exists():
            note(f"{path}: the run began from this {name} encoder, which is not there: not compared")
            continue
        found[name] = load_checkpoint(Path(path), quiet=True, allow_untrained=settings.allow_untrained)
        if getattr(found[name], name) is None:
            raise CheckpointError(
                f"unaligned.{name}: {found[name].model_file} has no {name} encoder",
                hint=f"give a checkpoint of stage {name}",
            )
    return found


def masking_of(loaded: LoadedAstroClip, settings: EvalSettings) -> MaskingSection | None:
    """Returns how the training hid parts of spectra; None for models that reconstruct nothing."""
    model = loaded.model.section
    if model.spectrum is None or loaded.spectrum is None or model.heads is not None or model.properties is not None:
        return None
    masking = settings.masking or MaskingSection.model_validate(loaded.recipe_section("masking"))
    return fitting(masking, token_count(model.spectrum, loaded.spectrum.pixels))
