"""Recipe sections for the sources of `prepare xval` that make or parse their own records.

Pure pydantic: `polycli recipes check` must answer at once.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, NonNegativeInt, PositiveFloat, PositiveInt, model_validator

from polycli.sections import Section

#: Records that are made up, at most: as many as no training looks at.
MOST_RECORDS = 10**9
#: Columns of a table that is made up, at most: each is a key.
MOST_COLUMNS = 1000


def _ordered(bounds: tuple[float, float]) -> tuple[float, float]:
    low, high = bounds
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise ValueError(f"a range from low to high was expected, found [{low:g}, {high:g}]")
    return bounds


def _bound_orbit(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] < 0 or bounds[1] >= 1:
        raise ValueError(f"eccentricities from 0 to below 1 were expected, found [{bounds[0]:g}, {bounds[1]:g}]")
    return bounds


def _above_zero(bounds: tuple[float, float]) -> tuple[float, float]:
    if bounds[0] <= 0:
        raise ValueError(f"values above 0 were expected, found {bounds[0]:g}")
    return bounds


Range = Annotated[tuple[float, float], AfterValidator(_ordered)]
Count = Annotated[PositiveInt, Field(le=10**6)]
Counts = Annotated[tuple[Count, Count], AfterValidator(_ordered)]


class PlanetScale(Section):
    """Factors on the orbital elements before they are written, so that all numbers are of order one."""

    m: PositiveFloat = 1e5
    a: PositiveFloat = 1.0
    e: PositiveFloat = 20.0


class PlanetsSection(Section):
    """`--source planets`: simulated planetary systems, drawn as in the paper."""

    systems: PositiveInt = Field(1000, le=MOST_RECORDS, description="records to make")
    seed: NonNegativeInt = 0
    planets: Counts = Field((2, 5), description="fewest and most planets of a system")
    steps: Counts = Field((30, 59), description="fewest and most positions of each planet")
    duration: Counts = Field((15, 24), description="time from the first position to the last; 2 pi is a year at a = 1")
    outermost_axis: Annotated[Range, AfterValidator(_above_zero)] = Field(
        (1.5, 3.0), description="semi-major axes are evenly spaced from 1 to a value drawn here"
    )
    mass: Annotated[Range, AfterValidator(_above_zero)] = Field(
        (1e-5, 5e-5), description="of a planet, in masses of the star"
    )
    eccentricity: Annotated[Range, AfterValidator(_bound_orbit)] = (0.0, 0.1)
    aligned: float = Field(0.3, ge=0, le=1, description="share of systems in which all planets start at pericentre")
    scale: PlanetScale = PlanetScale()
    substeps: PositiveInt = Field(8, le=10_000, description="integration steps of sixth order between two positions")
    digits: PositiveInt | None = Field(
        None, le=17, description="significant digits of every number; all of float64 if absent"
    )


class ArithmeticSection(Section):
    """`--source arithmetic`: products, trees of sums and products, operations over many decades, or a wide table."""

    task: Literal["products", "trees", "decades", "table"] = "products"
    records: PositiveInt = Field(10_000, le=MOST_RECORDS)
    seed: NonNegativeInt = 0
    digits: PositiveInt = Field(3, le=7, description="of each factor (products) or operand (trees)")
    decimals: NonNegativeInt = Field(0, description="how many of the digits stand behind the decimal point")
    operands: Counts = Field((2, 4), description="fewest and most operands of a tree")
    signed: bool = Field(False, description="operands may be negative")
    decades: Annotated[tuple[int, int], AfterValidator(_ordered)] = Field(
        (-4, 4), description="of task decades: powers of ten between which operands lie, evenly in their logarithm"
    )

    columns: Annotated[PositiveInt, Field(le=MOST_COLUMNS)] = Field(
        24, description="of task table: numbers of a record, which follow from three that are not told, and noise"
    )

    @model_validator(mode="after")
    def _decimals_are_digits(self) -> ArithmeticSection:
        if self.decimals > self.digits:
            raise ValueError(f"decimals is {self.decimals}, at most digits = {self.digits} was expected")
        return self


class TemperatureSection(Section):
    """`--source temperature`: series of a gridded field at some of its points, read or synthetic."""

    records: PositiveInt = Field(10_000, le=MOST_RECORDS)
    seed: NonNegativeInt = 0
    variable: str = Field("t2m", description="name of the variable, over time, latitude and longitude")
    stations: Counts = Field((60, 90), description="fewest and most points of a record")
    steps: Counts = Field((8, 16), description="fewest and most times of a record")
    time_stride: PositiveInt = Field(1, description="use every n-th time of the field")
    block_days: PositiveFloat = Field(
        16.0, description="records lie inside blocks of so many days, and a block is in one split"
    )
    synthetic_days: PositiveInt = Field(
        730, le=10**6, description="length of the synthetic field, where there is no input"
    )
    synthetic_grid: Counts = Field((24, 48), description="latitudes and longitudes of the synthetic field")


def _delimiter(text: str) -> str:
    if text != "whitespace" and len(text) != 1:
        raise ValueError(f"one character, or whitespace, was expected, found {text!r}")
    return text


Delimiter = Annotated[str, AfterValidator(_delimiter)]


#: Cells that mean that there is no value, where nothing else is said.
USUAL_MARKS = ("", "NA", "N/A", "NaN", "nan", "null", "None")


class TableSection(Section):
    """The settings of `--source table`: CSV and Parquet."""

    record: Literal["row", "file"] = Field("row", description="what becomes a record; a file becomes lists by column")
    id_column: str | None = Field(None, description="whose values name the records; FILE:ROW if absent")
    row_numbers: Literal["name", "keep"] = Field(
        "name",
        description="a column id, index or the like of CSV that counts rows: names records, or is kept as numbers",
    )
    delimiter: Delimiter | None = Field(
        None, description="of CSV: a character, or whitespace; found by looking if absent"
    )
    comment: str | None = Field(
        None,
        min_length=1,
        max_length=4,
        description="what begins lines that are no rows; # or % of the first one if absent",
    )
    skip: NonNegativeInt = Field(0, le=10**6, description="lines above the header of CSV that are left out")
    units_row: bool | None = Field(
        None, description="whether the row below the header holds units; found by looking if absent"
    )
    decimal: Literal[".", ",", "auto"] = Field("auto", description="decimal mark of CSV; auto decides by column")
    thousands: Literal[",", ".", " ", "'"] | None = Field(
        None, description="what stands between groups of three digits, as in 1,234,567; such cells are text if absent"
    )
    sheet: str | None = Field(None, description="of Excel files; the first if absent")
    numbers: Literal["required", "optional"] = Field(
        "required", description="whether a table in which nothing is a number is refused"
    )
    encoding: Literal["auto", "utf-8", "latin-1", "cp1252"] = Field(
        "auto", description="auto: by a byte-order mark, else UTF-8, else that of Windows, which is said"
    )
    missing: tuple[str, ...] = Field(
        USUAL_MARKS,
        description="cells that mean that there is no value, besides empty ones; ... among them stands for the usual",
    )
    columns: dict[str, Literal["number", "decimal-comma", "text"]] = Field(
        {}, description="by header: how a column is read, where auto reports that it cannot tell"
    )
    units: bool = Field(True, description="take units off headers, `mass (kg)`, and off the cells of whole columns")
    limits: Literal["text", "value"] = Field("text", description="`<0.05`: text, or the number beside a key KEY_limit")
    uncertainties: Literal["text", "value"] = Field(
        "value", description="`1.2±0.1`: text, or the number beside a key KEY_error"
    )

    @property
    def marks(self) -> frozenset[str]:
        """Cells that mean that there is no value: an empty one always, whatever else is named."""
        return frozenset(("", *self.missing, *(USUAL_MARKS if "..." in self.missing else ())))


class TextSection(Section):
    """`--source text`: free text in which numbers are found by a grammar."""

    record: Literal["line", "paragraph", "file"] = Field("line", description="what becomes a record")
    encoding: Literal["utf-8", "latin-1", "cp1252"] = "utf-8"
