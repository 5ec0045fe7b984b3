"""Describes arrays of one's own, in a recipe or by `--set`: axes, fields, time, boundaries, and the store's name."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, PositiveFloat, model_validator

from polycli.mpp.recipe.physics import Boundary
from polycli.sections import Section

Axis = Literal["trajectory", "time", "x", "y", "field"]
Extent = tuple[tuple[float, float], tuple[float, float]]


class ArraysSection(Section):
    """Everything that the source `arrays` cannot see in a file of numbers.
    Nothing of it is guessed: messages propose lines.
    """

    array: str | None = Field(
        None, description="name of the array in a file of several; '*/u' where each trajectory has a group of its own"
    )
    axes: tuple[Axis, ...] = Field(
        (),
        description="what each axis of the array is, in its own order; trajectory and field may be absent; of several "
        "arrays, those without an axis field leave it out",
    )
    fields: tuple[str, ...] | dict[str, str] = Field(
        (),
        description="names along the axis `field`, or by name the array of each: {my.height: h, my.speed: v}; v:0 is "
        "the first entry along the axis `field` of v",
    )
    units: dict[str, str] = Field({}, description="units by field name; those in the file where absent")
    dt: PositiveFloat | None = Field(None, description="time between frames of the file; from its times where absent")
    time: str | None = Field(None, description="array of times; `time` or `t` where absent, none where empty")
    boundary: dict[Literal["x", "y"], Boundary] = Field({}, description="boundary conditions by axis; both are needed")
    extent: Extent | None = Field(
        None, description="lowest and highest x, lowest and highest y; from coordinates in the file, else 0 to 1"
    )
    coordinates: dict[Literal["x", "y"], str] = Field(
        {},
        description="arrays of coordinates; `x` and `y`, or the dimensions', where absent; none where empty",
    )
    parameters: dict[str, float | str] = Field(
        {},
        description="by parameter: a constant, the name of an array with a number for each trajectory, or an attribute "
        "of a group, '@nu' or '*/@nu'",
    )
    split: str | None = Field(
        None, description="name of an array with train, validation or test for each trajectory; by hash if absent"
    )

    @model_validator(mode="after")
    def _check_axes(self) -> Self:
        if self.axes:
            twice = sorted({axis for axis in self.axes if self.axes.count(axis) > 1})
            if twice:
                raise ValueError(f"axes names {' and '.join(twice)} twice")
            missing = [axis for axis in ("time", "x", "y") if axis not in self.axes]
            if missing:
                raise ValueError(f"axes has no {' and no '.join(missing)}; only trajectory and field may be absent")
        if len(set(self.fields)) < len(self.fields):
            raise ValueError("fields names a field twice")
        return self


class WellSection(Section):
    """How files in the schema of The Well are read where they leave a choice."""

    boundary: dict[Literal["x", "y"], Boundary] = Field({}, description="in place of what masks and types say")
    fields: dict[str, str] = Field(
        {}, description="names of fields in place of DATASET.NAME: {density: compressible_ns.density}"
    )
    constant_fields: Literal["repeat", "leave_out"] = Field(
        "repeat", description="fields without time: in every frame, for the model sees nothing else, or not at all"
    )
    split: Literal["folders", "hash"] = Field(
        "folders", description="by the folders train, valid and test where there are any, or by content hash"
    )


class DatasetSection(Section):
    """The name of the store that prepare makes."""

    name: str | None = Field(
        None, description="name of the store; the source gives one if absent, and several datasets need theirs"
    )


class PdebenchSection(Section):
    """Everything that the source `pdebench` cannot see in its files."""

    boundary: Boundary | None = Field(
        None,
        description="along both axes, of all files; if absent, that of the system, or of `periodic` or `trans` in the "
        "name of a compressible file",
    )
