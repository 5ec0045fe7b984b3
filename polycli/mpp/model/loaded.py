"""A checkpoint of MPP that eval, predict and embed work with: the network, and how it takes frames from data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from polycli.console import note
from polycli.errors import CheckpointError, UserError, problems_of
from polycli.json_records import IF_GIVEN
from polycli.mpp.model.baselines.vit import VideoTransformer
from polycli.mpp.model.network import Network
from polycli.mpp.model.regression import ParameterAViT
from polycli.mpp.model.trained import TrainedPhysics, trained_physics
from polycli.mpp.model.weights import model_from
from polycli.mpp.recipe.networks import NetworkSection
from polycli.mpp.recipe.settings import FramesSection, UnsaidSection
from polycli.mpp.recipe.training import DataSection
from polycli.report.scores import Provenance
from polycli.workflow.loaded import LoadedCheckpoint, evaluation_device, find_checkpoint


@dataclass(frozen=True, kw_only=True)
class ForecasterProvenance(Provenance):
    """The origin of what a model of frames says."""

    #: How many frames it sees, and every how manieth frame of the data that is.
    history: int
    time_stride: int
    #: What it is told beside the frames, such as `dt`; absent where that is nothing.
    told: tuple[str, ...] | None = field(default=None, metadata=IF_GIVEN)


@dataclass(frozen=True, kw_only=True)
class LoadedNetwork(LoadedCheckpoint):
    """A network in eval mode on its device, and where it comes from."""

    model: Network
    history: int
    time_stride: int
    #: By dataset of the training; empty where nothing says it.
    trained: Mapping[str, TrainedPhysics]
    #: Whether it was trained to forecast, and not to fill in hidden tubes alone.
    forecasts: bool = True

    def refuse_unless_it_forecasts(self) -> None:
        """Raise CheckpointError where the checkpoint fills in hidden tubes and was never trained to forecast."""
        if not self.forecasts:
            raise CheckpointError(
                f"{self.model_file}: it was pretrained to fill in hidden tubes, and forecasts nothing yet",
                hint="polycli finetune mpp --checkpoint makes a forecaster of it; embed takes it as it is",
            )

    @property
    def section(self) -> NetworkSection:
        """Its sizes and the fields that it knows."""
        return self.model.section

    @property
    def parameter_model(self) -> ParameterAViT | None:
        """The network, where it has a head that predicts parameters; None where it has none."""
        return self.model if isinstance(self.model, ParameterAViT) else None

    def provenance(self) -> ForecasterProvenance:
        """Records where scores and forecasts come from: the checkpoint, and the frames that its model sees."""
        return ForecasterProvenance(
            **vars(super().provenance()),
            history=self.history,
            time_stride=self.time_stride,
            told=tuple(self.section.told) or None,
        )


def load_checkpoint(
    path: Path, frames: FramesSection, unsaid: UnsaidSection | None = None, *, quiet: bool = False
) -> LoadedNetwork:
    """Find the checkpoint that `path` means, say which and why unless `quiet`, and load it.

    What `frames` and `unsaid` give holds in place of what the checkpoint says.

    Raises:
        CheckpointError: it is absent, truncated, dangerous, of another family or no checkpoint at all.
    """
    found = find_checkpoint(path, family="mpp", quiet=quiet)
    sizes = {} if unsaid is None else unsaid.model_dump(exclude_none=True)
    model = model_from(found.model_file, found.description, sizes).requires_grad_(requires_grad=False)
    known = _frames(found)
    if not quiet and known is None and (frames.history is None or frames.time_stride is None):
        note(
            f"the checkpoint does not say how it was trained: history {DataSection().history} and time_stride 1, "
            "unless --set data.history=N and data.time_stride=N"
        )
    known = known or FramesSection()
    history = frames.history or known.history or DataSection().history
    try:
        model.section.check_history(history)
    except ValueError as error:
        raise UserError(f"data.history is {error}") from error
    trained = trained_physics(found)
    if not quiet and not trained and found.description is not None:
        note(
            "the checkpoint does not say which fields, time steps and units it was trained on, as those of earlier "
            "versions do not: whether data are like those is not compared"
        )
    return LoadedNetwork(
        **vars(found),
        model=model.to(evaluation_device()),
        history=history,
        time_stride=frames.time_stride or known.time_stride or DataSection().time_stride,
        trained=trained,
        forecasts=found.described("objective") != "tubes" and not _is_published_video(found, model),
    )


def _is_published_video(found: LoadedCheckpoint, model: Network) -> bool:
    """Whether weights are those of a VideoMAE of another project, which say nothing of themselves."""
    return found.description is None and isinstance(model, VideoTransformer)


def _frames(found: LoadedCheckpoint) -> FramesSection | None:
    """History and stride of the training, from model.json or else from the run's recipe; None where neither says."""
    said = found.described("data")
    if said is None and found.run is not None:
        said = found.recipe_section("data")
    if not isinstance(said, dict):
        return None
    try:
        return FramesSection.model_validate({key: said.get(key) for key in FramesSection.model_fields})
    except ValidationError as error:
        raise CheckpointError(f"{found.model_file}: its description is not sound: {problems_of(error)}") from error
