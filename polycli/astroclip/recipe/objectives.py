"""The recipe sections of stage `image`: by which objective an encoder learns, and how. Pure pydantic, no torch."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from polycli.sections import Section


class ObjectiveSection(Section):
    """Stage `image`: the objective; the section of the same name has its settings."""

    kind: Literal["moco", "dinov2", "masked"] = Field(
        "moco",
        description="moco: tell two views of an image from other images; dinov2: foretell what a slower copy of the "
        "network says of other crops and of hidden patches; masked: reconstruct hidden patches",
    )


class MocoSection(Section):
    """Objective `moco`: momentum contrast, version 2 (Chen et al. 2020), as Stein et al. 2021 train it."""

    momentum: float = Field(0.996, ge=0, lt=1, description="of the encoder that makes the keys, per optimizer step")
    temperature: PositiveFloat = 0.2
    queue_size: PositiveInt = Field(65536, description="keys of earlier steps to tell an image from")
    projection: PositiveInt = Field(128, description="length of the vectors that are compared")


class Dinov2Section(Section):
    """Objective `dinov2`: self-distillation (Oquab et al. 2023) with the values of AstroDINO (Parker et al. 2024).

    Two large crops are of `model.image.size`. The teacher, a moving average of the student, is what is exported.
    """

    local_crops: NonNegativeInt = Field(8, description="small crops of each image, which the student alone sees")
    local_size: PositiveInt = Field(60, description="pixels along one side of a small crop; nothing is resized")
    local_reach: NonNegativeInt | None = Field(
        None,
        description="how far, in pixels, the middle of a small crop may lie from that of the cutout; published: "
        "anywhere, where most small crops miss the galaxy",
    )
    prototypes: PositiveInt = Field(65536, description="classes that student and teacher tell apart")
    head_width: PositiveInt = Field(2048, description="width of the heads' hidden layers")
    bottleneck: PositiveInt = Field(256, description="length of the unit vectors that prototypes are compared with")
    separate_heads: bool = Field(False, description="a head of its own for patches, as DINOv2's largest models have")
    centring: Literal["centre", "sinkhorn"] = Field(
        "centre",
        description="what keeps the teacher from naming one prototype for all: its moving mean is taken off, or "
        "Sinkhorn and Knopp's iterations share out each micro-batch of all processes evenly",
    )
    centre_momentum: float = Field(0.9, ge=0, lt=1, description="of the moving mean, per optimizer step")
    student_temperature: PositiveFloat = 0.1
    teacher_temperature: PositiveFloat = Field(0.07, description="after the warm-up")
    first_teacher_temperature: PositiveFloat = Field(0.04, description="in the first step; rises linearly")
    teacher_warmup_steps: NonNegativeInt = Field(37500, description="steps to the full teacher's temperature")
    momentum: float = Field(0.992, ge=0, le=1, description="of the teacher's weights, in the first step")
    final_momentum: float = Field(1.0, ge=0, le=1, description="likewise in the last step; between them a cosine")
    freeze_last_layer_steps: NonNegativeInt = Field(1250, description="first steps in which prototypes stay in place")
    koleo_weight: NonNegativeFloat = Field(0.1, description="of the KoLeo regulariser, which spreads the vectors")
    patch_weight: NonNegativeFloat = Field(1.0, description="of the loss over hidden patches (iBOT)")
    masked_images: float = Field(0.5, ge=0, le=1, description="probability that patches of a large crop are hidden")
    least_masked: float = Field(0.1, ge=0, le=1, description="share of the patches that is hidden then, at least")
    most_masked: float = Field(0.5, ge=0, le=1, description="likewise at most")

    @model_validator(mode="after")
    def _sound(self) -> Dinov2Section:
        if self.least_masked > self.most_masked:
            raise ValueError(f"least_masked {self.least_masked:g} is more than most_masked {self.most_masked:g}")
        if self.final_momentum < self.momentum:
            raise ValueError(f"final_momentum {self.final_momentum:g} is below momentum {self.momentum:g}")
        return self


class MaskedImageSection(Section):
    """Objective `masked`: a masked autoencoder (He et al. 2022); the encoder sees the patches alone that are left."""

    hidden: float = Field(0.75, gt=0, lt=1, description="share of the patches that is hidden")
    decoder_width: PositiveInt = 512
    decoder_depth: PositiveInt = 8
    decoder_heads: PositiveInt = 16
    standardise: bool = Field(
        False,
        description="reconstruct each patch less its mean and over its deviation, as He et al. do; how bright a patch "
        "is then does not count",
    )

    @model_validator(mode="after")
    def _divisible(self) -> MaskedImageSection:
        if self.decoder_width % self.decoder_heads:
            raise ValueError(
                f"decoder_width {self.decoder_width} is not divisible by decoder_heads {self.decoder_heads}"
            )
        return self
