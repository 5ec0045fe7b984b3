"""The part of a finetuning's recipe about predicting parameters of the physics, such as a viscosity or a force."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from polycli.sections import WIDEST, Section

Width = Annotated[PositiveInt, Field(le=WIDEST)]


class HeadSection(Section):
    """The target of a finetuning besides the next frame: parameters of a trajectory, from its pooled tokens."""

    kind: Literal["none", "regression"] = Field("none", description="none goes on predicting the next frame")
    targets: tuple[str, ...] = Field(
        (), description="parameters or constants of the stores, such as force or viscosity, that are predicted"
    )
    logarithm: Literal["auto"] | tuple[str, ...] = Field(
        "auto",
        description="targets that are learnt as log10; auto takes those that are positive and whose largest training "
        "value is at least 30 times the smallest",
    )
    hidden: tuple[Width, ...] = Field((64,), description="widths of the hidden layers; () is a linear head")
    dropout: float = Field(0.0, ge=0, lt=1)
    statistics: bool = Field(
        False,
        description="also see the mean, spread and rate of change of each field, which the network normalises away",
    )

    @model_validator(mode="after")
    def _sound(self) -> HeadSection:
        if self.kind == "none":
            if self.targets:
                raise ValueError("targets are predicted by a head, and head.kind is none; head.kind=regression")
            return self
        if not self.targets:
            raise ValueError("head.kind is regression, and head.targets names nothing to predict")
        if twice := sorted({name for name in self.targets if self.targets.count(name) > 1}):
            raise ValueError(f"head.targets names {twice[0]} twice")
        strange = [name for name in self.logarithm if name not in self.targets] if self.logarithm != "auto" else []
        if strange:
            raise ValueError(f"head.logarithm names {strange[0]}, which is not among head.targets")
        return self
