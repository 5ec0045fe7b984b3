"""Records of a training on objects in data.json and model.json: the stores that it uses, and the network itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from polycli.astroclip.data.description import ImageDescription, SpectrumDescription
from polycli.astroclip.data.scales import Scales
from polycli.astroclip.recipe.model import ModelSection
from polycli.astroclip.recipe.training import MaskingSection
from polycli.checkpoints.trained_on import TrainedOn
from polycli.json_records import IF_GIVEN


@dataclass(frozen=True, kw_only=True)
class StoreUse:
    """How many objects of one store train and validate, as data.json has it."""

    path: str
    store_hash: str
    training: int
    validation: int


@dataclass(frozen=True, kw_only=True)
class Modalities:
    """Descriptions of images and spectra; None for a modality that the model does not see."""

    image: ImageDescription | None
    spectrum: SpectrumDescription | None
    #: By store of the training: how large its pixels and fluxes are. Models of earlier versions do not say it.
    scales: Mapping[str, Scales] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class BeganFrom:
    """The checkpoint that a finetuning began from: its file of weights and their SHA-256."""

    checkpoint: str
    model_hash: str


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """The additions to model.json."""

    #: image, spectrum, align or finetune.
    stage: str
    model: ModelSection
    data: Modalities
    trained_on: Mapping[str, TrainedOn]
    #: Of the stage image: the objective, where it is not momentum contrast.
    objective: str | None = field(default=None, metadata=IF_GIVEN)
    #: Of the stage spectrum: how stretches were hidden, which eval repeats.
    masking: MaskingSection | None = field(default=None, metadata=IF_GIVEN)
    #: Of a finetuning.
    frozen: bool | None = field(default=None, metadata=IF_GIVEN)
    began_from: BeganFrom | None = field(default=None, metadata=IF_GIVEN)
    #: Of a finetuning: the units of the numbers that it learnt, where the stores state them.
    units: Mapping[str, str] | None = field(default=None, metadata=IF_GIVEN)
