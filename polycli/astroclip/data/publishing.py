"""Turns staged blocks into a store: what is rejected and why, splits, statistics of the training rows, the manifest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column, array_names
from polycli.astroclip.data.description import SurveyDescription, property_names
from polycli.astroclip.data.judging.flags import counts_of, first_of_each
from polycli.astroclip.data.sky.splitting import split_objects
from polycli.astroclip.data.staging import BLOCK, MOMENTS, BlockTask, block_task
from polycli.astroclip.data.survey import Survey
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.console import warn
from polycli.errors import SourceError
from polycli.json_records import JsonObject
from polycli.store.blocks import BlockBuilder, ColumnSpec, StagedRows
from polycli.store.hashing import canonical_hash
from polycli.store.manifest import LeftOut, SourceFile
from polycli.workflow import left_out

#: One spectrum to a chunk: rows are read at random.
_SPECTRUM_CHUNK = 32 * 2**10


@dataclass(frozen=True)
class Plan:
    """A survey on its way to `target`. The fingerprint is of everything that decides the store's content."""

    survey: Survey
    target: Path
    recipe: PrepareRecipe
    sources: tuple[SourceFile, ...]
    options: JsonObject
    fingerprint: str

    @classmethod
    def of(
        cls,
        survey: Survey,
        target: Path,
        recipe: PrepareRecipe,
        sources: Sequence[SourceFile],
        options: Mapping[str, Any],
    ) -> Plan:
        """The plan for a survey; equal sources and options give an equal fingerprint, wherever files lie."""
        fingerprint = canonical_hash(
            {
                "layout": 3,
                "name": survey.name,
                "about": about(survey).model_dump(mode="json"),
                "objects": len(survey),
                "ids": canonical_hash([str(value) for value in survey.ids.tolist()]),
                "sources": [source.model_dump(mode="json") for source in sources],
                "options": dict(options),
            }
        )
        return cls(survey, target, recipe, tuple(sources), dict(options), fingerprint)

    @property
    def keys(self) -> list[str]:
        """The names of the blocks that the work is cut into."""
        return [f"{number:08d}" for number in range(-(-len(self.survey) // BLOCK))]

    def task(self, key: str) -> BlockTask:
        """Returns the work of one block."""
        whole = BlockTask(
            target=self.target,
            fingerprint=self.fingerprint,
            key="",
            survey=self.survey,
            limits=self.recipe.quality,
            images=self.recipe.images,
            good_redshifts=self.recipe.select.good_redshifts,
        )
        return block_task(self.survey, int(key), whole)

    def is_staged(self, key: str) -> bool:
        """Whether a block is done."""
        return BlockBuilder(self.target, fingerprint=self.fingerprint).record(key) is not None

    def publish(self) -> Path:
        """Makes the store of the staged rows and returns its path; see the function `publish`."""
        return publish(self)


def about(survey: Survey) -> SurveyDescription:
    """Describes a survey as the manifest does."""
    properties: list[Column] = [*survey.columns, *survey.promised]
    names = property_names([column.name for column in properties])
    return SurveyDescription(
        image=survey.image,
        spectrum=survey.spectrum,
        object_id="text" if survey.ids.dtype == object else "int64",
        id_name=survey.id_name,
        properties=tuple(
            column.describe(name, array)
            for name, array, column in zip(names, array_names(properties), properties, strict=True)
        ),
        pairing=survey.pairing,
    )


def publish(plan: Plan) -> Path:
    """Make the store of a plan whose blocks are all staged.

    Raises:
        SourceError: every object was rejected.
    """
    survey = plan.survey
    builder = BlockBuilder(plan.target, fingerprint=plan.fingerprint)
    rows = builder.rows(plan.keys)
    rejected = [*survey.rejected, *_noted(builder, plan.keys, "rejected"), *rows.duplicates]
    gone = {(left.source, left.id) for left in rows.duplicates}
    flagged = [left for left in _noted(builder, plan.keys, "flagged") if (left.source, left.id) not in gone]
    summarise(survey.name, rejected)
    if not len(rows):
        reasons = left_out.reasons_of(rejected)
        raise SourceError(f"{survey.name}: all {len(survey)} objects were rejected: {reasons}", hint=_way_out(rejected))
    splits, rule = split_objects(
        rows.hex_hashes(), np.asarray(rows.column("ra")), np.asarray(rows.column("dec")), plan.recipe.split
    )
    if len(rows) == 1:
        warn(f"{survey.name}: a single object; it trains, and nothing is left to validate or test on")
    train = rows.where(np.array([split == "train" for split in splits]))
    return builder.publish(
        rows,
        _specs(rows),
        family="astroclip",
        name=survey.name,
        splits=splits,
        split_rule=rule,
        statistics=_statistics(train, survey),
        row_ids_given=survey.ids_given,
        row_axis="object",
        arrays={} if survey.wavelength is None else {"wavelength": survey.wavelength},
        dims={} if survey.wavelength is None else {"wavelength": ("wavelength",)},
        sources=plan.sources,
        rejected=tuple(rejected),
        flagged=tuple(first_of_each(flagged)),
        about=about(survey).model_copy(update={"doubts": counts_of(flagged)}).model_dump(mode="json"),
        options=plan.options,
    )


def _way_out(rejected: Sequence[LeftOut]) -> str | None:
    """Names the keys for cutouts that reach beyond the survey, where such are among what was rejected."""
    if not any("pixels of the image in" in entry.reason for entry in rejected):
        return None
    return (
        "for cutouts that reach beyond the survey: --set images.fill=0 fills margins without numbers, and "
        "--set images.crop=N takes the middle N pixels"
    )


def _noted(builder: BlockBuilder, keys: Sequence[str], what: str) -> list[LeftOut]:
    """Lists what the blocks noted of objects that are `rejected` or `flagged`."""
    return [
        LeftOut(source=source, id=name, reason=reason)
        for key in keys
        for source, name, reason in (builder.record(key) or {}).get(what, [])
    ]


def _specs(rows: StagedRows) -> dict[str, ColumnSpec]:
    """Returns the layout of each staged column in the store; the sums are not published."""
    known = {
        "image": ColumnSpec(("band", "y", "x")),
        "spectrum": ColumnSpec(("wavelength",), chunk_bytes=_SPECTRUM_CHUNK),
        "ivar": ColumnSpec(("wavelength",), chunk_bytes=_SPECTRUM_CHUNK),
        "mask": ColumnSpec(("wavelength",), chunk_bytes=_SPECTRUM_CHUNK // 4),
        "wavelength_range": ColumnSpec(("end",)),
        "wavelengths": ColumnSpec(("wavelength",), chunk_bytes=2 * _SPECTRUM_CHUNK),
    }
    return {name: known.get(name, ColumnSpec()) for name in rows.names if name != MOMENTS}


def _statistics(train: StagedRows, survey: Survey) -> dict[str, dict[str, dict[str, float]]]:
    """Computes statistics of the training rows in float64: pixels by band, fluxes, and columns of floats."""
    moments = train.column(MOMENTS)
    assert isinstance(moments, np.ndarray)  # noqa: S101  # staging wrote it so
    names = list(survey.image.bands) if survey.image is not None else []
    statistics: dict[str, dict[str, dict[str, float]]] = {}
    if names:
        statistics["image"] = {band: _joined(moments[:, index]) for index, band in enumerate(names)}
    if survey.spectrum is not None:
        statistics["spectrum"] = {"flux": _joined(moments[:, -1])}
    columns = {}
    described = [("redshift", "redshift")]
    described += [(found.name, found.array) for found in about(survey).properties if found.kind == "float"]
    for name, array in described:
        values = np.asarray(train.column(array), np.float64)
        known = values[np.isfinite(values)]
        if known.size:
            columns[name] = _summary(known)
    return {**statistics, "columns": columns}


def _joined(sums: NDArray[np.float64]) -> dict[str, float]:
    """Statistics of all rows together, from (rows, 5) sums of each (Chan, Golub, LeVeque 1979)."""
    count, mean, deviation, low, high = sums[sums[:, 0] > 0].T
    total = float(count.sum())
    if not total:
        return {"count": 0.0}
    middle = float((count * mean).sum() / total)
    spread = float(deviation.sum() + (count * np.square(mean - middle)).sum()) / total
    return {
        "mean": middle,
        "std": float(np.sqrt(spread)),
        "rms": float(np.sqrt(spread + middle**2)),
        "min": float(low.min()),
        "max": float(high.max()),
        "count": total,
    }


def _summary(values: NDArray[np.float64]) -> dict[str, float]:
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "count": float(values.size),
    }


def summarise(name: str, entries: Sequence[LeftOut]) -> None:
    """Say which objects of a survey are rejected, and why."""
    left_out.summarise(f"{name}: rejected", entries, kind=_KIND, show=_shown)


_KIND = left_out.beginning(":", " of ")


def _shown(entry: LeftOut) -> str:
    return f"{entry.id} in {entry.source} ({entry.reason})"
