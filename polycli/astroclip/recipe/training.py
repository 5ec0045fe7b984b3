"""The recipes of pretrain and finetune, section by section: typed and closed. Pure pydantic, no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from polycli.astroclip.recipe.model import AugmentationSection, Modality, ModelSection
from polycli.astroclip.recipe.objectives import Dinov2Section, MaskedImageSection, MocoSection, ObjectiveSection
from polycli.sections import (
    CalibrationChoice,
    EngineSection,
    LogSection,
    OptimSection,
    ReadAhead,
    ScheduleSection,
    Section,
    StoreCheck,
    TrainSection,
)


class DataSection(Section):
    """The stores to train on, and how many of their objects."""

    stores: tuple[str, ...] = Field((), description="stores, folders of stores or globs; --data overrides")
    limit: PositiveInt | None = Field(
        None,
        description="train on so many objects of each store, a random choice by train.seed of which smaller ones are "
        "part; --limit overrides",
    )
    validation_objects: PositiveInt = Field(1024, description="objects of each validation")
    workers: ReadAhead = 2
    verify: StoreCheck = "auto"


class MaskingSection(Section):
    """Stage `spectrum`: what is hidden of a spectrum (Parker et al. 2024, section 4.2)."""

    chunks: PositiveInt = Field(6, description="stretches that are hidden, one in each of as many equal regions")
    chunk_length: PositiveInt = Field(
        50,
        description="tokens of one stretch; half a region where a spectrum on wavelengths of its own is too short",
    )
    weight: Literal["none", "ivar"] = Field(
        "none",
        description="every pixel counts alike, as published, or by the share of its variance that is not noise; the "
        "encoder must see the inverse variance for that",
    )


class AlignSection(Section):
    """Stage `align`: InfoNCE between the two vectors of an object.

    Negatives are all other objects of the global batch, on whatever rank they are and however small the micro-batches:
    `train.micro_batch_size` objects are embedded at a time, and again in the backward pass.
    """

    scale: PositiveFloat = Field(15.5, description="factor on cosines, one over the temperature; as published")
    learn_scale: bool = Field(False, description="train the factor, from `scale` on")
    freeze: tuple[Modality, ...] = Field((), description="backbones that stay as they are; heads always train")
    within_image: NonNegativeFloat = Field(
        0.0,
        description="weight of InfoNCE between two views of each image (Mu et al. 2022), by which vectors keep what "
        "images alone tell; published: none",
    )
    within_spectrum: NonNegativeFloat = Field(0.0, description="likewise of spectra")


class InitSection(Section):
    """The checkpoints from which the encoders of stage `align` start; random weights where absent."""

    image: str | None = Field(None, description="checkpoint: a run, an export or a published file")
    spectrum: str | None = Field(None, description="likewise")


class PretrainRecipe(Section):
    """A whole recipe of `polycli pretrain astroclip`."""

    family: Literal["astroclip"]
    verb: Literal["pretrain"]
    stage: Literal["spectrum", "image", "align"]
    model: ModelSection = ModelSection()
    init: InitSection = InitSection()
    masking: MaskingSection = MaskingSection()
    objective: ObjectiveSection = ObjectiveSection()
    moco: MocoSection = MocoSection()
    dinov2: Dinov2Section = Dinov2Section()
    masked_image: MaskedImageSection = MaskedImageSection()
    align: AlignSection = AlignSection()
    augmentation: AugmentationSection = AugmentationSection()
    data: DataSection = DataSection()
    optim: OptimSection = OptimSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection
    engine: EngineSection = EngineSection()
    log: LogSection = LogSection()

    @model_validator(mode="after")
    def _parts_of_the_stage(self) -> PretrainRecipe:
        if self.model.properties is not None:
            raise ValueError("model.properties: properties are for `polycli finetune`")
        if self.objective.kind != "moco":
            self._check_objective()
        if self.stage == "align":
            self._check_alignment()
            return self
        other = "image" if self.stage == "spectrum" else "spectrum"
        if getattr(self.model, self.stage) is None:
            raise ValueError(f"stage {self.stage} trains model.{self.stage}, which is absent")
        if getattr(self.model, other) is not None or self.model.heads is not None:
            extra = other if getattr(self.model, other) is not None else "heads"
            raise ValueError(f"stage {self.stage} does not train model.{extra}; the align stage does")
        if self.stage == "spectrum" and self.model.spectrum is not None and self.model.spectrum.name != "specformer":
            raise ValueError(
                f"stage spectrum trains specformer, and model.spectrum.name is {self.model.spectrum.name}: `polycli "
                "finetune` trains it by labels"
            )
        seen = () if self.model.spectrum is None else self.model.spectrum.inputs
        if self.stage == "spectrum" and self.masking.weight == "ivar" and "ivar" not in seen:
            raise ValueError("masking.weight ivar needs model.spectrum.inputs to name ivar")
        return self

    def _check_objective(self) -> None:
        kind, image = self.objective.kind, self.model.image
        if self.stage != "image":
            raise ValueError(f"objective.kind {kind} is for stage image; the stage is {self.stage}")
        if image is None:
            return
        if image.name != "vit":
            raise ValueError(
                f"objective.kind {kind} hides patches, which model.image.name {image.name} has not: take vit"
            )
        if kind != "dinov2":
            return
        if self.dinov2.local_crops and self.dinov2.local_size % image.patch_size:
            raise ValueError(
                f"dinov2.local_size {self.dinov2.local_size} is not divisible by model.image.patch_size "
                f"{image.patch_size}"
            )
        if self.optim.ema_decay is not None:
            raise ValueError(
                "optim.ema_decay: the teacher of objective.kind dinov2 is an average of the weights already"
            )

    def _check_alignment(self) -> None:
        if self.model.heads is None:
            raise ValueError("stage align trains model.heads, which are absent")
        for name in ("image", "spectrum"):
            if getattr(self.model, name) is None and getattr(self.init, name) is None:
                raise ValueError(f"stage align needs init.{name} (a checkpoint) or model.{name} (sizes)")
            if name in self.align.freeze and getattr(self.init, name) is None:
                raise ValueError(f"align.freeze names {name}, whose weights are random without init.{name}")
        changes = self.augmentation
        turned = 0 < changes.flip < 1 or changes.rotation != "none" or changes.crop == "random"
        if self.align.within_image and not (turned or any((*changes.blur, *changes.noise))):
            raise ValueError(
                "align.within_image compares two views of an image, and nothing makes them differ: "
                "augmentation has no flip, rotation, random crop, blur or noise"
            )
        differ = changes.spectrum_gaps or changes.spectrum_noise or changes.spectrum_scale
        if self.align.within_spectrum and not differ:
            raise ValueError(
                "align.within_spectrum compares two views of a spectrum, and nothing makes them differ: "
                "augmentation.spectrum_gaps, spectrum_noise and spectrum_scale are 0"
            )
        if changes.spectrum_gaps and not self.align.within_spectrum:
            raise ValueError("augmentation.spectrum_gaps is for the views of align.within_spectrum, which is 0")


class FinetuneRecipe(Section):
    """`polycli finetune astroclip`: properties from a checkpoint's embeddings."""

    family: Literal["astroclip"]
    verb: Literal["finetune"]
    checkpoint: str | None = Field(None, description="what to start from; --checkpoint says it")
    model: ModelSection = Field(
        description="`properties`, and the encoders of --checkpoint; without one, those that `image` and `spectrum` "
        "describe, from random weights"
    )
    freeze: bool = Field(
        True, description="leave the encoders as they are; every object is then embedded once, before training"
    )
    augmentation: AugmentationSection = Field(
        AugmentationSection(crop="centre", blur=(0.0,), noise=(0.0,)), description="only where encoders train too"
    )
    data: DataSection = DataSection()
    optim: OptimSection = OptimSection()
    schedule: ScheduleSection = ScheduleSection()
    train: TrainSection
    engine: EngineSection = EngineSection()
    log: LogSection = LogSection()
    calibrate: CalibrationChoice = Field(
        "auto",
        description="at the end, find intervals that hold from the validation objects: where there are 19 that do not "
        "also test, never, or else fail",
    )

    @model_validator(mode="after")
    def _properties(self) -> FinetuneRecipe:
        if self.model.properties is None:
            raise ValueError("model.properties says what to predict, and is absent")
        if self.augmentation.spectrum_gaps:
            raise ValueError("augmentation.spectrum_gaps is for stage align of pretrain")
        if self.begins_anew:
            if self.freeze:
                raise ValueError("freeze keeps encoders as they are, and without a checkpoint they are random")
            if self.model.heads is not None:
                raise ValueError("model.heads are those of an alignment, and without a checkpoint there was none")
        return self

    @property
    def begins_anew(self) -> bool:
        """Whether the encoders begin from random weights, as direct supervision does."""
        described = self.model.image is not None or self.model.spectrum is not None
        return self.checkpoint is None and described
