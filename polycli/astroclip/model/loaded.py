"""A checkpoint of AstroCLIP that other verbs work with: the model, and what its images and spectra are."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from polycli.astroclip.data.columns import other_unit
from polycli.astroclip.data.description import (
    IN_COMMON,
    ImageDescription,
    SpectrumDescription,
    SurveyDescription,
    mismatches,
    too_little_in_common,
)
from polycli.astroclip.data.scales import Scales, other_scales
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.weights import model_from
from polycli.astroclip.recipe.model import BANDS
from polycli.astroclip.recipe.settings import EncodingSettings
from polycli.console import counted, warn
from polycli.errors import CheckpointError, problems_of
from polycli.workflow.loaded import LoadedCheckpoint, find_checkpoint
from polycli.workflow.untrained import Difference, refuse_untrained

#: What the published checkpoints were trained on: Legacy Survey cutouts and coadded DESI spectra.
PUBLISHED_IMAGES = ImageDescription(bands=BANDS, size=(152, 152))
PUBLISHED_SPECTRA = SpectrumDescription(pixels=7781, first=3600.0, last=9824.0, step=0.8)
DATA_HINT = "prepare the data as the checkpoint's was, with select.bands or resample in the recipe"


@dataclass(frozen=True, kw_only=True)
class LoadedAstroClip(LoadedCheckpoint):
    """A model in eval mode on the CPU, and where it comes from."""

    model: AstroClip
    #: What its images and spectra are; None for a modality that it does not have.
    image: ImageDescription | None
    spectrum: SpectrumDescription | None
    #: By store of the training: how large its pixels and fluxes were; empty where the checkpoint does not say it.
    scales: Mapping[str, Scales] = field(default_factory=dict)
    #: Whether bands, scales and wavelengths may differ from the training's; None: the verb has no key for it.
    allow_untrained: bool | None = None

    @property
    def stage(self) -> str | None:
        """The stage of pretraining, or `finetune`; None for published files."""
        return None if self.description is None else self.described("stage") or self.description.verb

    def check(self, about: SurveyDescription, what: str) -> None:
        """Make sure that the model can read the modalities that a store has.

        Raises:
            StoreError: bands, pixel scale, wavelengths or units differ, and which; `what` names the store.
        """
        different: list[str] = []
        if self.image is not None and about.image is not None:
            different += mismatches(self._seen(self.image), about.image, what=what)
        if self.spectrum is not None and about.spectrum is not None:
            section = self.model.section.spectrum
            sees_noise = section is not None and "ivar" in section.inputs
            any_grid = section is not None and section.grid == "native"
            ours, theirs = (found if sees_noise else _grid(found) for found in (self.spectrum, about.spectrum))
            different += mismatches(ours, theirs, what=what, any_grid=any_grid)
            if any_grid:
                different += too_little_in_common(self.spectrum, about.spectrum, what=what)
        found = [Difference(sentence, DATA_HINT) for sentence in different]
        refuse_untrained(found, allow=self.allow_untrained)

    def check_ranges(self, ranges: NDArray[np.float64], name_of: Callable[[int], str], what: str) -> None:
        """Make sure that each spectrum, from its first to its last wavelength, has enough in common with the training.

        Raises:
            StoreError: one has not, and how many others; `what` names the store, and `name_of` the object of a row.
        """
        if self.spectrum is None:
            return
        trained = (self.spectrum.first, self.spectrum.last)
        shared = np.minimum(ranges[:, 1], trained[1]) - np.maximum(ranges[:, 0], trained[0])
        share = np.maximum(shared, 0) / np.maximum(np.ptp(ranges, axis=1), trained[1] - trained[0])
        few = np.flatnonzero(share < IN_COMMON)
        if len(few):
            first, place = ranges[few[0]], int(few[0])
            others = "overlaps" if len(few) == 1 else f"and {counted(len(few) - 1, 'other', 'others')} overlap"
            sentence = (
                f"{what}: the spectrum of {name_of(place)}, {first[0]:g} to {first[1]:g} A, {others} by less than half "
                f"with the training's, {trained[0]:g} to {trained[1]:g} A"
            )
            hint = "prepare the others into a store of their own"
            refuse_untrained([Difference(sentence, hint)], allow=self.allow_untrained)

    def check_scales(self, found: Scales, what: str) -> None:
        """Make sure that pixels and fluxes are about as large as those of the training; warn where they are less so.

        A model that trains on (`allow_untrained` is None) may learn another scale: there it is a warning alone.

        Raises:
            StoreError: they are beyond what another survey could explain; `what` names the data.
        """
        bands = {name: scale for name, scale in found.image.items() if name in self._bands}
        read = Scales(image=bands, spectrum=None if self.spectrum is None else found.spectrum)
        others = other_scales(read, self.scales.values())
        refused = [other for other in others if other.is_beyond_surveys and self.allow_untrained is not None]
        for other in others:
            if other not in refused:
                warn(f"{other.sentence(what)}; if that is no other depth but another unit, {other.hint}")
        differences = [Difference(other.sentence(what), other.hint) for other in refused]
        refuse_untrained(differences, allow=self.allow_untrained)

    def check_units(self, units: Mapping[str, str], what: str) -> None:
        """Make sure that numbers with which the head's answers are compared have the units that it learnt.

        Raises:
            StoreError: a column's unit is another; `what` names the store.
        """
        learnt = self.described("units") if self.description is not None else None
        said = learnt if isinstance(learnt, dict) else {}
        found = [
            Difference(
                f"{what}: column {name} is in {units[name]}, and the model learnt it in {unit}",
                "prepare the data with the column in that unit",
            )
            for name, unit in said.items()
            if other_unit(str(unit), units.get(name, ""))
        ]
        refuse_untrained(found, allow=self.allow_untrained)

    @property
    def _bands(self) -> set[str]:
        return set() if self.image is None else {*self._seen(self.image).bands}

    def _seen(self, image: ImageDescription) -> ImageDescription:
        """Images with the bands that the encoder sees, whatever more the stores had that it was trained on."""
        section = self.model.section.image
        return image if section is None else image.model_copy(update={"bands": section.bands})


def load_checkpoint(
    path: Path,
    *,
    quiet: bool = False,
    allow_untrained: bool | None = None,
    **sizes: Any,  # noqa: ANN401  # as `load_model`
) -> LoadedAstroClip:
    """Find the checkpoint that `path` means, say which and why unless `quiet`, and load it.

    `allow_untrained` is what a verb's key of that name says; None where it has none.

    Raises:
        CheckpointError: it is absent, truncated, dangerous, of another family or no checkpoint at all.
    """
    found = find_checkpoint(path, family="astroclip", quiet=quiet)
    model = model_from(found.model_file, found.description, sizes)
    image, spectrum, scales = _data(found, model)
    return LoadedAstroClip(
        **vars(found), model=model, image=image, spectrum=spectrum, scales=scales, allow_untrained=allow_untrained
    )


def load_for(path: Path, settings: EncodingSettings) -> LoadedAstroClip:
    """The checkpoint that eval, predict or embed works with, with what their settings say of it."""
    given = settings.model.model_dump(exclude_none=True)
    return load_checkpoint(path, allow_untrained=settings.allow_untrained, **given)


def _data(
    found: LoadedCheckpoint, model: AstroClip
) -> tuple[ImageDescription | None, SpectrumDescription | None, dict[str, Scales]]:
    said = found.described("data")
    if not isinstance(said, dict):
        said = {}
    try:
        image = PUBLISHED_IMAGES if said.get("image") is None else ImageDescription.model_validate(said["image"])
        spectrum = (
            PUBLISHED_SPECTRA if said.get("spectrum") is None else SpectrumDescription.model_validate(said["spectrum"])
        )
        scales = {name: Scales.model_validate(scale) for name, scale in (said.get("scales") or {}).items()}
    except ValidationError as error:
        raise CheckpointError(f"{found.model_file}: its description is not sound: {problems_of(error)}") from error
    return (
        None if model.section.image is None else image,
        None if model.section.spectrum is None else spectrum,
        scales,
    )


def _grid(spectrum: SpectrumDescription) -> SpectrumDescription:
    """Returns the grid without the source of its variances, which a model that sees none does not need to match."""
    return spectrum.model_copy(update={"ivar": "measured"})
