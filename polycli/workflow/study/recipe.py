"""The recipe of a study: stores to prepare, a grid of runs, evaluations, tables and claims."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, field_validator, model_validator

from polycli.errors import UserError
from polycli.families import family_names, find_family
from polycli.sections import Section

Scalar = bool | int | float | str
_FOLDER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,99}")
_LONGEST_PART = 60
_PART_OF_NAME = re.compile(rf"[^/\\\x00-\x1f\x7f]{{0,{_LONGEST_PART}}}")


def _family(name: str) -> str:
    try:
        return find_family(name).name
    except UserError as error:
        raise ValueError(error.message) from None


FamilyName = Annotated[
    str, AfterValidator(_family), Field(json_schema_extra=lambda schema: schema.update(enum=list(family_names())))
]


class StoreSection(Section):
    """One `polycli prepare`; its result lies in DIR/stores/NAME."""

    source: str
    recipe: str | None = None
    inputs: tuple[str, ...] = ()
    set: tuple[str, ...] = Field((), description="KEY=VALUE, as --set takes them")


def _of_a_folder_name(values: dict[str, tuple[Scalar, ...]]) -> dict[str, tuple[Scalar, ...]]:
    for key, options in values.items():
        for value in options:
            if not _PART_OF_NAME.fullmatch(str(value)):
                raise ValueError(
                    f"the value {value!r} of {key} becomes a part of a folder's name, which has no slashes, no line "
                    f"breaks and at most {_LONGEST_PART} letters"
                )
    return values


class MatchTimeSection(Section):
    """Train as long, in seconds, as a reference run took, instead of as many steps."""

    steps_of: str = Field(description="runs with equal grid values here say how long a step takes")
    reference: dict[str, Scalar] = Field(
        description="grid values, seed apart, of the run there whose time is the budget"
    )
    reference_of: str | None = Field(None, description="the entry of that run, where it is another than `steps_of`")


class RunSection(Section):
    """One `polycli pretrain` or `finetune` for each combination of the grid, in DIR/runs/NAME-VALUES."""

    verb: Literal["pretrain", "finetune"] = "pretrain"
    recipe: str
    stores: tuple[str, ...] = Field(description="names under `stores`, or paths")
    checkpoint: str | None = Field(None, description="for finetune: the entry under `runs` that it starts from")
    grid: Annotated[dict[str, tuple[Scalar, ...]], AfterValidator(_of_a_folder_name)] = Field(
        {}, description="every combination is one run; `seed` is what tables pool"
    )
    set: tuple[str, ...] = Field(
        (), description="KEY=VALUE; {name} is the grid's value, {run:ENTRY} that entry's folder"
    )
    choices: dict[str, dict[str, tuple[str, ...]]] = Field(
        {}, description="by key of the grid and its value: KEY=VALUE, behind those of `set`, that the value stands for"
    )
    nproc: PositiveInt | None = None
    match_time: MatchTimeSection | None = None

    @model_validator(mode="after")
    def _choices_are_of_the_grid(self) -> RunSection:
        for key, options in self.choices.items():
            values = {str(value) for value in self.grid.get(key, ())}
            if values != options.keys():
                raise ValueError(
                    f"choices.{key} has {', '.join(options)}; the values of {key} in the grid are "
                    f"{', '.join(sorted(values)) or 'none'}"
                )
        return self

    def combinations(self) -> list[dict[str, Scalar]]:
        """Every combination of the grid's values, the last key fastest."""
        return [dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values())]


def folder_name(entry: str, values: Mapping[str, Scalar]) -> str:
    """The folder of one combination of grid values of an entry under `runs` or `evaluations`."""
    return "-".join([entry, *map(str, values.values())])


class EvaluationSection(Section):
    """One `polycli eval` of every run of an entry, in DIR/evaluations/NAME-VALUES."""

    run: str
    stores: tuple[str, ...]
    split: Literal["train", "validation", "test"] = "test"
    set: tuple[str, ...] = ()


class TableSection(Section):
    """One row per combination of grid values other than the seed: medians over seeds, with the smallest and largest."""

    title: str
    of: str | tuple[str, ...] = Field(
        description="an entry under `evaluations` or `runs`, or several with the same keys in their grids"
    )
    columns: dict[str, str] = Field(
        description="heading to the place of a value, such as scores/datasets/NAME/mae, or mean(PLACE) or "
        "geometric_mean(PLACE) where a step of PLACE is *, which stands for all that are there"
    )
    caption: str = ""

    @property
    def entries(self) -> tuple[str, ...]:
        """The entries whose runs are the rows."""
        return (self.of,) if isinstance(self.of, str) else self.of


class ComparisonSection(Section):
    """Several entries along one key of their grids: a table of ratios to one of them and, along counts, a figure."""

    title: str
    lines: dict[str, str] = Field(description="by name of the line: an entry under `evaluations` or `runs`")
    reference: str = Field(description="the line that the others are compared with; its grid has the key")
    key: str = Field(description="what rows differ by; a line whose grid has no such key has the same runs everywhere")
    value: str = Field(description="the place of a value, as in a table; {key} is a value of `key` or `where`")
    where: dict[str, Scalar] = Field({}, description="grid values of the runs that are compared")
    worth: bool = Field(False, description="`key` counts samples: say how many of the reference's are as good")
    y_label: str = Field("error", description="what the figure's axis says")
    claim: str | None = Field(None, description="the sentence that all others are below the reference at every point")
    caption: str = ""

    @model_validator(mode="after")
    def _reference_is_a_line(self) -> ComparisonSection:
        if self.reference not in self.lines or len(self.lines) < 2:
            raise ValueError(f"`reference` is one of two or more `lines`, which are {', '.join(self.lines)}")
        return self


class ClaimSection(Section):
    """A sentence, and the comparison of medians over seeds that makes it true or false."""

    text: str
    of: str = Field(description="an entry under `evaluations` or `runs`")
    value: str = Field(description="the place of a value, as in a table")
    over: str | None = Field(None, description="the place of what it is divided by")
    minus: str | None = Field(None, description="the place of what is taken off it")
    where: dict[str, Scalar] = Field({}, description="grid values of the row that the claim is about")
    at_most: float | None = None
    at_least: float | None = None
    below: dict[str, Scalar] | Literal["others"] | None = Field(None, description="another row, or all others")
    factor: PositiveFloat = Field(1.0, description="with `below`: the other rows' values are multiplied by this first")

    @model_validator(mode="after")
    def _one_comparison(self) -> ClaimSection:
        if sum(test is not None for test in (self.at_most, self.at_least, self.below)) != 1:
            raise ValueError("a claim has one of `at_most`, `at_least` and `below`")
        if self.over is not None and self.minus is not None:
            raise ValueError("a claim has `over` or `minus`, not both")
        return self


class StudyRecipe(Section):
    """A whole recipe of `polycli study FAMILY`."""

    family: FamilyName
    verb: Literal["study"]
    title: str
    about: str = Field("", description="what is asked and how; stands at the top of the report")
    stores: dict[str, StoreSection] = Field({})
    runs: dict[str, RunSection]
    evaluations: dict[str, EvaluationSection] = Field({})
    tables: tuple[TableSection, ...]
    comparisons: tuple[ComparisonSection, ...] = ()
    claims: tuple[ClaimSection, ...] = ()

    def run_of(self, entry: str) -> str:
        """The entry under `runs` that an entry under `evaluations` or `runs` is about."""
        return entry if entry in self.runs else self.evaluations[entry].run

    @field_validator("stores", "runs", "evaluations")
    @classmethod
    def _names_are_names(cls, entries: dict[str, Section]) -> dict[str, Section]:
        for name in entries:
            if not _FOLDER_NAME.fullmatch(name):
                raise ValueError(
                    f"{name!r} becomes the name of a folder: it is of letters, digits and . _ + -, begins with none of "
                    "these signs, and is not a path"
                )
        return entries

    @model_validator(mode="after")
    def _names_exist(self) -> StudyRecipe:
        for name, run in self.runs.items():
            _known(f"runs.{name}.checkpoint", run.checkpoint, self.runs)
            if run.match_time is not None:
                _known(f"runs.{name}.match_time.steps_of", run.match_time.steps_of, self.runs)
                _known(f"runs.{name}.match_time.reference_of", run.match_time.reference_of, self.runs)
        for name, evaluation in self.evaluations.items():
            _known(f"evaluations.{name}.run", evaluation.run, self.runs)
            if name in self.runs and name != evaluation.run:
                raise ValueError(
                    f"evaluations.{name} is of {evaluation.run!r}, and there is another run named {name!r}"
                )
        for table in self.tables:
            for entry in table.entries:
                _known(f"table {table.title!r}: of", entry, {**self.runs, **self.evaluations})
            if len({tuple(self.runs[self.run_of(entry)].grid) for entry in table.entries}) != 1:
                raise ValueError(f"table {table.title!r}: {', '.join(table.entries)} differ in the keys of their grids")
        for comparison in self.comparisons:
            for line, entry in comparison.lines.items():
                where = f"comparison {comparison.title!r}: line {line!r}"
                _known(where, entry, {**self.runs, **self.evaluations})
        for claim in self.claims:
            _known(f"claim {claim.text!r}: of", claim.of, {**self.runs, **self.evaluations})
        return self

    @model_validator(mode="after")
    def _every_folder_is_of_one(self) -> StudyRecipe:
        _refuse_twice("runs", self.runs)
        # Evaluations of a run that is not there are refused above.
        of = {name: self.runs[section.run] for name, section in self.evaluations.items() if section.run in self.runs}
        _refuse_twice("evaluations", of)
        return self


def _refuse_twice(kind: str, entries: Mapping[str, RunSection]) -> None:
    taken: dict[str, tuple[str, dict[str, Scalar]]] = {}
    for entry, run in entries.items():
        for values in run.combinations():
            folder = folder_name(entry, values)
            if folder in taken:
                other, others = taken[folder]
                raise ValueError(
                    f"{kind}.{entry} with {_shown(values)} and {kind}.{other} with {_shown(others)} would lie in one "
                    f"folder, {kind}/{folder}: rename one, or leave one value out"
                )
            taken[folder] = entry, values


def _shown(values: Mapping[str, Scalar]) -> str:
    return ", ".join(f"{key} {value!r}" for key, value in values.items()) or "no grid"


def _known(where: str, name: str | None, names: Mapping[str, Section]) -> None:
    if name is not None and name not in names:
        raise ValueError(f"{where} names {name!r}, and there are {', '.join(names)}")
