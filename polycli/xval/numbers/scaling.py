"""Scales numbers by key path, and takes it back: none, affine or asinh. The store stays raw; a run keeps its scalers.

All arithmetic is in float64; the model's float32 comes after it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, FiniteFloat, ValidationError

from polycli.errors import CheckpointError, problems_of
from polycli.json_records import JsonObject
from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.recipe.training import ScalerKind, ScalerSection, ScalingSection
from polycli.xval.records.keypaths import KeyPatterns, refuse_unknown

#: asinh maps the largest number of the training split here, the edge of xVal's useful range.
SPAN = 5.0
#: Largest size over that where numbers of note begin, above which `auto` is asinh.
MANY_DECADES = 1e3


@dataclass(frozen=True)
class Scaler:
    """One scaler. Affine: y = (x - shift) / scale. Asinh: y = asinh((x - shift) / softness) / scale. None: y = x."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    kind: ScalerKind = "none"
    shift: FiniteFloat = 0.0
    scale: FiniteFloat = 1.0
    softness: FiniteFloat = 1.0


class _Document(BaseModel):
    default: Scaler
    keys: dict[str, Scaler]


class Scaling:
    """The scalers of all key paths. Key paths that it does not know are scaled by `default`."""

    def __init__(self, scalers: Mapping[str, Scaler], default: Scaler = Scaler()) -> None:
        self.scalers = dict(scalers)
        self.default = default

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Scaling) and (self.scalers, self.default) == (other.scalers, other.default)

    __hash__ = None  # type: ignore[assignment]  # holds a dict

    def of(self, path: str) -> Scaler:
        """The scaler of a key path."""
        return self.scalers.get(path, self.default)

    def apply(
        self, values: NDArray[np.float64], number_keys: NDArray[np.int32], key_paths: Sequence[str]
    ) -> NDArray[np.float64]:
        """Scaled numbers; `number_keys` are places in `key_paths`. NaN stays NaN; float32 may be exceeded."""
        shift, scale, softness, curved = self._constants(number_keys, key_paths)
        with np.errstate(over="ignore"):
            moved = (values - shift) / np.where(curved, softness, scale)
            if curved.any():
                moved = np.where(curved, np.arcsinh(moved) / scale, moved)
        return moved

    def invert(
        self, values: NDArray[np.float64], number_keys: NDArray[np.int32], key_paths: Sequence[str]
    ) -> NDArray[np.float64]:
        """Numbers in their own units from scaled ones: `apply` taken back, to the rounding of float64."""
        shift, scale, softness, curved = self._constants(number_keys, key_paths)
        values = np.asarray(values, dtype=np.float64)
        with np.errstate(over="ignore"):
            moved = values * scale
            if curved.any():
                moved = np.where(curved, np.sinh(np.where(curved, moved, 0.0)) * softness, moved)
            return moved + shift

    def extended(self, other: Scaling) -> Scaling:
        """These scalers, and those of `other` for key paths that are not known here."""
        return Scaling({**other.scalers, **self.scalers}, self.default)

    def to_json(self) -> JsonObject:
        """Returns the scalers as they stand in model.json."""
        return {
            "default": asdict(self.default),
            "keys": {path: asdict(scaler) for path, scaler in self.scalers.items()},
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Scaling:
        """Rebuilds a scaling from what `to_json` wrote.

        Raises:
            CheckpointError: it is no such document.
        """
        try:
            known = _Document.model_validate(document)
        except ValidationError as error:
            raise CheckpointError(f"the scaling of the numbers cannot be read: {problems_of(error)}") from error
        return cls(known.keys, known.default)

    def _constants(
        self, number_keys: NDArray[np.int32], key_paths: Sequence[str]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Shift, scale, softness, and whether it is asinh, for each number."""
        chosen = [self.of(path) for path in key_paths]
        table = np.array([(s.shift, s.scale, s.softness) for s in chosen], dtype=np.float64).reshape(-1, 3)
        curved = np.array([s.kind == "asinh" for s in chosen], dtype=np.bool_)
        shift, scale, softness = (table[number_keys, column] for column in range(3))
        return shift, scale, softness, curved[number_keys]


def make_scaling(
    section: ScalingSection, key_paths: Sequence[str], statistics: Mapping[str, NumberStatistics]
) -> Scaling:
    """The scalers that a recipe asks for, with constants from statistics of the training split where it gives none.

    Raises:
        RecipeError: a pattern fits no key path.
    """
    refuse_unknown(section.keys, key_paths, where="scaling.keys")
    patterns = KeyPatterns(section.keys)
    scalers = {}
    for path in key_paths:
        pattern = patterns.first(path)
        wanted = section.default if pattern is None else section.keys[pattern]
        known = statistics.get(path)
        if not isinstance(wanted, ScalerSection):
            wanted = ScalerSection(kind=automatic(known) if wanted == "auto" else wanted)
        scalers[path] = _scaler(wanted, known)
    return Scaling(scalers)


def automatic(known: NumberStatistics | None) -> ScalerKind:
    """Chooses the scaler that `auto` stands for: asinh for numbers of many decades, else affine.

    The smallest hundredth of the sizes is left aside, so that a few numbers near zero do not make a bell curve one of
    many decades.
    """
    if known is None or not known.largest:
        return "affine"
    return "asinh" if known.largest > MANY_DECADES * 10.0 ** (known.low_decade + 1) else "affine"


def _scaler(section: ScalerSection, known: NumberStatistics | None) -> Scaler:
    """Constants for one key path; one without training numbers, or with equal ones, keeps its units."""
    if section.kind == "none":
        return Scaler()
    if section.kind == "affine":
        shift = section.shift if section.shift is not None else (known.mean if known else 0.0)
        scale = section.scale if section.scale is not None else (known.std if known else 0.0)
        return Scaler("affine", shift, scale or 1.0)
    shift = section.shift or 0.0
    reach = max(abs(known.max - shift), abs(known.min - shift)) if known else 0.0
    # More decades than float64 has between them are curved in the upper 300.
    least = max(1.0, reach) * 1e-300
    softness = section.softness or (max(10.0**known.low_decade, least) if known and known.largest else 1.0)
    scale = section.scale or (math.asinh(reach / softness) / SPAN if reach else 0.0)
    return Scaler("asinh", shift, scale or 1.0, softness)
