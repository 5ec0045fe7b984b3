"""The columns that a head's answers make in a catalogue: means, quantiles, calibrated intervals, samples, classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip
from polycli.astroclip.recipe.model import PropertySection
from polycli.astroclip.recipe.settings import PredictSettings
from polycli.astroclip.scoring.answers import Draws, head_answers
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.morphology.columns import vote_columns
from polycli.astroclip.scoring.posteriors.calibrated import CalibratedIntervals
from polycli.astroclip.scoring.posteriors.distributions import levels_of
from polycli.console import progress
from polycli.errors import RecipeError, StoreError

Columns = dict[str, NDArray[Any]]
Floats = NDArray[np.float64]
#: Levels that differ by less are the same.
_ROUNDING = 1e-9


def quantile_name(column: str, quantile: float) -> str:
    """The name of a quantile's column.

    >>> quantile_name("redshift", 0.16), quantile_name("redshift", 0.025)
    ('redshift_q16', 'redshift_q2.5')
    """
    return f"{column}_q{100 * quantile:g}"


def interval_names(column: str, level: float) -> tuple[str, str]:
    """The names of the two ends of a calibrated interval.

    >>> interval_names("redshift", 0.68)
    ('redshift_low68', 'redshift_high68')
    """
    return f"{column}_low{100 * level:g}", f"{column}_high{100 * level:g}"


def refuse_what_heads_alone_have(settings: PredictSettings, loaded: LoadedAstroClip) -> None:
    """Refuse samples and calibrated intervals of a model without head.

    Raises:
        RecipeError: they are asked for.
    """
    asked = "draws" if settings.draws else "bands" if settings.bands.use == "must" or settings.bands.file else None
    if asked:
        raise RecipeError(
            f"{asked}: {loaded.model_file} has no property head, and neighbours have neither samples nor calibrated "
            "intervals",
            hint="polycli finetune astroclip adds a head",
        )


@dataclass(frozen=True)
class HeadColumns:
    """The columns of a finetuned model's head, in the units of the properties."""

    loaded: LoadedAstroClip
    settings: PredictSettings
    intervals: CalibratedIntervals | None

    def __post_init__(self) -> None:
        """Raise RecipeError where the head cannot give what the settings ask for."""
        section, settings = self._section, self.settings
        if settings.draws and section.posterior != "flow":
            raise RecipeError(
                f"draws={settings.draws}: samples are those of a flow, and this head has the posterior "
                f"{section.posterior}",
                hint="leave draws out, or finetune with --set model.properties.posterior=flow",
            )
        asked = settings.quantiles if "quantiles" in settings.model_fields_set else ()
        if section.posterior == "flow" or not section.regression:
            return
        if absent := [q for q in asked if not any(abs(q - own) < _ROUNDING for own in section.quantiles)]:
            has = f"the quantiles {', '.join(f'{q:g}' for q in section.quantiles)}" if section.quantiles else "a mean"
            raise RecipeError(
                f"quantiles: {absent[0]:g} is asked for, and the head of {self.loaded.model_file} predicts {has}",
                hint="leave quantiles out, or ask for those; a flow (model.properties.posterior=flow) has all",
            )

    def of(
        self, store: ObjectStore, rows: NDArray[np.int64], vectors: dict[str, NDArray[np.float32]] | None = None
    ) -> Columns:
        """The columns for some objects, in their order; `vectors` gets what the head looked at, if it is the embedding.

        Raises:
            StoreError: the store lacks what the head sees.
        """
        section, settings = self._section, self.settings
        if missing := [name for name in section.modalities if getattr(store.about, name) is None]:
            raise StoreError(f"{store.path}: has no {missing[0]}, by which the model predicts")
        encoder = Encoder.of(self.loaded, store, settings)
        asked = self._asked()
        levels = tuple(sorted({*levels_of(section), *asked})) if section.posterior == "flow" else section.quantiles
        draws = Draws(settings.draws, settings.seed) if settings.draws else None
        with progress(len(rows), f"{store.name}: predicting") as bar:
            found = head_answers(encoder, rows, levels=levels, draws=draws, vectors=vectors, advance=bar.advance)
        magnitude = None if self.intervals is None else self.intervals.magnitudes_of(store, rows)
        columns: Columns = {}
        questions = {} if section.votes is None else section.votes.questions
        for name, values in found.items():
            if name in questions:
                continue
            if name in section.classification:
                classes = section.classification[name]
                columns[name] = np.array(classes, dtype=object)[values.argmax(axis=1)]
                columns |= {f"{name}_p_{label}": values[:, place] for place, label in enumerate(classes)}
                continue
            columns |= self._numbers(name, values, levels, asked)
            if self.intervals is not None:
                columns |= self._intervals(name, values, levels, magnitude)
            if values.shape[1] > max(len(levels), 1):
                columns[f"{name}_draws"] = values[:, len(levels) :]
        return columns if section.votes is None else columns | vote_columns(section.votes, found)

    @property
    def units(self) -> dict[str, str]:
        """The units of the columns of numbers, those alone that the model learnt; of more columns than there may be."""
        learnt = self.loaded.described_object("units")
        section, found = self._section, dict[str, str]()
        levels = () if self.intervals is None else self.intervals.levels
        for name in section.regression:
            quantiles = [quantile_name(name, q) for q in (*section.quantiles, *self._asked())]
            ends = [end for level in levels for end in interval_names(name, level)]
            if unit := str(learnt.get(name, "")):
                found |= dict.fromkeys((name, *quantiles, *ends, f"{name}_draws"), unit)
        return found

    def _numbers(
        self, name: str, values: NDArray[np.float32], levels: tuple[float, ...], asked: tuple[float, ...]
    ) -> Columns:
        """The mean of one property, or its quantiles."""
        if not self._section.quantiles:
            return {name: values[:, 0]}
        return {quantile_name(name, q): values[:, levels.index(q)] for q in asked}

    def _intervals(
        self, name: str, values: NDArray[np.float32], levels: tuple[float, ...], magnitude: Floats | None
    ) -> Columns:
        """The ends of the calibrated intervals of one property."""
        section, columns = self._section, Columns()
        # A calibration knows a head by these levels, whatever else is asked for.
        known = values[:, [levels.index(level) for level in levels_of(section)]] if section.quantiles else values
        if self.intervals is not None:
            for level, ends in self.intervals.around(name, section, known, magnitude).items():
                columns |= dict(zip(interval_names(name, level), ends, strict=True))
        return columns

    def _asked(self) -> tuple[float, ...]:
        """The quantiles that become columns."""
        section, given = self._section, self.settings.quantiles
        if "quantiles" not in self.settings.model_fields_set:
            return section.quantiles
        if section.posterior == "flow":
            return given
        return tuple(own for own in section.quantiles if any(abs(own - q) < _ROUNDING for q in given))

    @property
    def _section(self) -> PropertySection:
        return self.loaded.model.property_head().section
