"""A checkpoint that other verbs work with: the model, why this one, and what it was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from polycli import __version__
from polycli.astroclip.data.description import ImageDescription, SpectrumDescription, SurveyDescription, refuse_mismatch
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.weights import load_model
from polycli.astroclip.recipe.model import BANDS
from polycli.checkpoints.exported import ModelDescription, TrainedOn, read_description
from polycli.checkpoints.resolve import ResolvedCheckpoint, resolve_checkpoint
from polycli.console import say
from polycli.errors import CheckpointError, problems_of
from polycli.requests import JsonDocument
from polycli.store.hashing import file_hash

#: What the published checkpoints were trained on: Legacy Survey cutouts and coadded DESI spectra.
PUBLISHED_IMAGES = ImageDescription(bands=BANDS, size=(152, 152))
PUBLISHED_SPECTRA = SpectrumDescription(pixels=7781, first=3600.0, last=9824.0, step=0.8)
DATA_HINT = "prepare the data as the checkpoint's was, with select.bands or resample in the recipe"


@dataclass(frozen=True)
class Subject:
    """A model in eval mode on the CPU, and where it comes from."""

    model: AstroClip
    model_file: Path
    selected_by: str
    model_hash: str
    #: What its images and spectra are; None for a modality that it does not have.
    image: ImageDescription | None
    spectrum: SpectrumDescription | None
    #: By dataset of its training; empty where the checkpoint does not say.
    trained_on: dict[str, TrainedOn]
    #: The stage of pretraining, or `finetune`; None for published files.
    stage: str | None
    #: The run that the checkpoint lies in, if it does.
    run: Path | None

    def provenance(self) -> JsonDocument:
        """What scores, predictions and embeddings must say about where they come from."""
        return {
            "checkpoint": str(self.model_file),
            "selected_by": self.selected_by,
            "model_hash": self.model_hash,
            "version": __version__,
        }

    def check(self, about: SurveyDescription, what: str) -> None:
        """Make sure that the model can read the modalities that a store has.

        Raises:
            StoreError: bands, pixel scale, wavelengths or units differ, and which; `what` names the store.
        """
        if self.image is not None and about.image is not None:
            refuse_mismatch(self.image, about.image, what=what, hint=DATA_HINT)
        if self.spectrum is not None and about.spectrum is not None:
            section = self.model.section.spectrum
            sees_noise = section is not None and "ivar" in section.inputs
            ours, theirs = (found if sees_noise else _grid(found) for found in (self.spectrum, about.spectrum))
            refuse_mismatch(ours, theirs, what=what, hint=DATA_HINT)


def load_subject(path: Path, *, quiet: bool = False, **sizes: Any) -> Subject:  # noqa: ANN401  # as `load_model`
    """Find the checkpoint that `path` means, say which and why, and load it.

    Raises:
        CheckpointError: it is absent, truncated, dangerous, of another family or no checkpoint at all.
    """
    resolved = resolve_checkpoint(path)
    description = None if resolved.description_file is None else read_description(resolved.description_file)
    selected_by = _why(resolved, description)
    if not quiet:
        say(f"checkpoint: {resolved.model_file} ({selected_by})")
    model = load_model(resolved.model_file, **sizes)
    image, spectrum = _data(resolved.model_file, model, description)
    return Subject(
        model=model,
        model_file=resolved.model_file,
        selected_by=selected_by,
        model_hash=file_hash(resolved.model_file),
        image=image,
        spectrum=spectrum,
        trained_on={} if description is None else dict(description.trained_on),
        stage=None if description is None else (description.model_extra or {}).get("stage", description.verb),
        run=None if resolved.checkpoint_dir is None else run_of(resolved.checkpoint_dir),
    )


def run_of(checkpoint: Path) -> Path | None:
    """RUN of RUN/checkpoints/step-00000100, if that is what the checkpoint lies in."""
    run = checkpoint.resolve().parent.parent
    return run if (run / "recipe.yaml").is_file() else None


def _why(resolved: ResolvedCheckpoint, description: ModelDescription | None) -> str:
    """`best of 3 by validation/loss: 0.123 at step 400`."""
    if description is None:
        return resolved.how
    metric = description.metric
    if metric is None:
        return f"{resolved.how}: step {description.step}"
    name = "" if resolved.how.endswith(metric.name) else f"{metric.name} "
    return f"{resolved.how}: {name}{metric.value:.4g} at step {description.step}"


def _data(
    file: Path, model: AstroClip, description: ModelDescription | None
) -> tuple[ImageDescription | None, SpectrumDescription | None]:
    said = (description.model_extra or {}).get("data") if description is not None else None
    if not isinstance(said, dict):
        said = {}
    try:
        image = PUBLISHED_IMAGES if said.get("image") is None else ImageDescription.model_validate(said["image"])
        spectrum = (
            PUBLISHED_SPECTRA if said.get("spectrum") is None else SpectrumDescription.model_validate(said["spectrum"])
        )
    except ValidationError as error:
        raise CheckpointError(f"{file}: its description is not sound: {problems_of(error)}") from error
    return (
        None if model.section.image is None else image,
        None if model.section.spectrum is None else spectrum,
    )


def _grid(spectrum: SpectrumDescription) -> SpectrumDescription:
    """Without what does not decide whether a model that sees no inverse variances can read it."""
    return spectrum.model_copy(update={"ivar": "measured"})
