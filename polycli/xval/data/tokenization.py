"""Makes the tokenization of a model from a recipe and stores, keeps it in model.json, and reads it back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.console import first_few, warn
from polycli.errors import CheckpointError, StoreError
from polycli.json_records import JsonObject
from polycli.xval.data.classes import read_classes
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.pool import Language, language_of
from polycli.xval.data.reading import Reading, read_reading, reading_of
from polycli.xval.data.store import RecordStore
from polycli.xval.numbers import Encoding, covering_exponents, encoding_from_json, make_encoding, saturation
from polycli.xval.numbers.fixed_point import FixedPoint, digits_for
from polycli.xval.numbers.scaling import SPAN, Scaling, make_scaling
from polycli.xval.numbers.statistics import NumberStatistics
from polycli.xval.recipe.model import ModelSection
from polycli.xval.recipe.training import ScalingSection
from polycli.xval.records.structure import END, MASK, NUM, PAD
from polycli.xval.records.units import joined_units
from polycli.xval.records.vocabulary import Vocabulary

_ROWS_AT_A_TIME = 4096
#: Key paths that a warning shows.
_SHOWN = 5


def tokenization_for(
    model: ModelSection, scaling: ScalingSection | None, stores: Sequence[RecordStore]
) -> Tokenization:
    """The tokenization of a model that starts from nothing.

    Raises:
        StoreError: the stores recommend different scalings, and the recipe none; or state different units; or have
            numbers that are beyond float32 as they are scaled.
        RecipeError: the encoding would have too many tokens for this data, or a pattern of the scaling fits no key.
    """
    first, *others = sorted(stores, key=lambda store: store.name)
    language = language_of(first).joined(language_of(store) for store in others)
    section = scaling if scaling is not None else _recommended(stores)
    scaler = make_scaling(section, language.key_paths, merged_statistics(stores))
    refuse_overflow(scaler, stores)
    if model.encoding == "xval":
        warn_of_saturation(scaler, stores)
    units = joined_units((str(store.path), store.units) for store in (first, *others))
    return Tokenization(
        language,
        encoding_for(model, scaler, stores),
        scaler,
        model.context,
        ends=model.causal,
        units=units,
        reading=reading_of(stores),
    )


@dataclass(frozen=True, kw_only=True)
class TokenizationDocument:
    """The part of model.json from which `read_tokenization` rebuilds a tokenization."""

    vocabulary: JsonObject
    key_paths: Sequence[str]
    encoding: JsonObject
    scaling: JsonObject
    #: By key path.
    units: Mapping[str, str]
    #: How the data were read; None where the stores do not say.
    reading: Reading | None
    #: By key path the values of what has few of them.
    classes: Mapping[str, Sequence[object]]
    #: The ids of the special tokens.
    special: Mapping[str, int]


def describe_tokenization(tokenization: Tokenization) -> TokenizationDocument:
    """Returns the part of model.json from which `read_tokenization` rebuilds a tokenization."""
    return TokenizationDocument(
        vocabulary=tokenization.language.vocabulary.to_json(),
        key_paths=list(tokenization.language.key_paths),
        encoding=tokenization.encoding.to_json(),
        scaling=tokenization.scaling.to_json(),
        units=dict(tokenization.units),
        reading=tokenization.reading,
        classes={path: list(values) for path, values in tokenization.classes.items()},
        special={"end": END, "mask": MASK, "pad": PAD, "num": NUM},
    )


def read_tokenization(document: Mapping[str, Any], model: ModelSection, *, source: str) -> Tokenization:
    """Rebuilds what `describe_tokenization` wrote; `document` is all of model.json, `source` its name.

    Raises:
        CheckpointError: it says nothing of this, or nothing sound.
    """
    try:
        language = Language(Vocabulary.from_json(document["vocabulary"]), tuple(map(str, document["key_paths"])))
        encoding, scaling = encoding_from_json(document["encoding"]), Scaling.from_json(document["scaling"])
        units = {str(path): str(unit) for path, unit in document.get("units", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(
            f"{source}: it does not say how the model reads records ({error} is missing or unsound)",
            hint="a run of polycli, or an export of one, was expected",
        ) from error
    return Tokenization(
        language,
        encoding,
        scaling,
        model.context,
        ends=model.causal,
        units=units,
        reading=read_reading(document, source=source),
        classes=read_classes(document, source=source),
    )


def encoding_for(model: ModelSection, scaling: Scaling, stores: Sequence[RecordStore]) -> Encoding:
    """The encoding that a recipe names; where it gives no exponents, with those of all numbers in the stores.

    Raises:
        StoreError: the exponents that it gives do not cover the numbers.
    """
    if not model.continuous and model.quantiles:
        warn(f"model.quantiles: {model.encoding} writes numbers as text, of which no quantiles are learned")
    if model.continuous and model.encoding != "fone":
        return make_encoding(model.encoding)
    exponents = model.exponents
    if exponents is None:
        exponents = _covering(scaling, stores)
        if model.encoding == "fone" and exponents is not None:
            exponents = digits_for(exponents)
    encoding = make_encoding(model.encoding, exponents)
    if model.exponents is not None:
        refuse_uncovered(encoding, scaling, stores, hint="leave model.exponents out, which then cover the data")
    if isinstance(encoding, FixedPoint):
        warn_of_rounding(encoding, scaling, stores)
    return encoding


def section_for(model: ModelSection, tokenization: Tokenization) -> ModelSection:
    """The section of the network: with the digits that the data chose, where its layers have one for each."""
    if model.encoding != "fone":
        return model
    return model.model_copy(update={"exponents": tokenization.encoding.exponents})


def refuse_uncovered(encoding: Encoding, scaling: Scaling, stores: Sequence[RecordStore], *, hint: str) -> None:
    """Return if the encoding can write all numbers of all stores: better before training than in the middle of it.

    Raises:
        StoreError: a number is larger or smaller than it can write.
    """
    if encoding.exponents is None:
        return
    low, high = encoding.exponents
    for store in stores:
        needed = _covering(scaling, [store])
        if needed is not None and (needed[1] > high or (needed[0] < low and not encoding.fixed_point)):
            raise StoreError(
                f"{store.path}: its scaled numbers reach from 1e{needed[0]} to 1e{needed[1]}, "
                f"{encoding.name} writes 1e{low} to 1e{high}",
                hint=hint,
            )


def refuse_overflow(scaling: Scaling, stores: Sequence[RecordStore]) -> None:
    """Return if all numbers are within float32 as they are scaled, which need not be as prepare was told to scale them.

    Raises:
        StoreError: a key path has larger ones; the model could not compute with them.
    """
    for store in stores:
        for path, known in store.about.coverage.keys.items():
            # Scalers rise, so the smallest and the largest number tell of all.
            ends = np.array([known.min, known.max], dtype=np.float64)
            scaled = scaling.apply(ends, np.zeros(2, dtype=np.int32), (path,))
            beyond = np.abs(scaled) > np.finfo(np.float32).max
            if beyond.any():
                raise StoreError(
                    f"{store.path}: {path} has {float(ends[beyond][0])!r}, which is beyond float32 when it is scaled "
                    f"({scaling.of(path).kind})",
                    hint="another scaling of this key path: scaling.keys takes affine and asinh",
                )


def warn_of_saturation(scaling: Scaling, stores: Sequence[RecordStore]) -> None:
    """Say which numbers are trained on as they are, or far out of the others, and are too large for plain xVal."""
    large: dict[str, float] = {}
    shares: dict[str, float] = {}
    for store in stores:
        for path, known in store.about.coverage.keys.items():
            kind, ends = scaling.of(path).kind, np.array([known.min, known.max])
            if not (np.abs(scaling.apply(ends, np.zeros(2, dtype=np.int32), (path,))) > SPAN).any():
                continue
            if kind == "none":
                large[path] = max(large.get(path, 0.0), abs(known.min), abs(known.max))
            elif kind == known.scaler and known.saturated:  # The share was counted under this scaling.
                shares[path] = max(shares.get(path, 0.0), known.saturated)
    saturation.warn_of_saturation(shares, scaling)
    if large:
        beyond = [f"{path} (up to {size:.3g})" for path, size in large.items()]
        warn(
            f"numbers that are not scaled, beyond {SPAN:g}, where plain xVal hardly tells them apart: "
            f"{first_few(beyond, _SHOWN)}; --set 'scaling={{default: auto}}' scales them by key path"
        )


def warn_of_rounding(encoding: FixedPoint, scaling: Scaling, stores: Sequence[RecordStore]) -> None:
    """Say which share of the numbers is so small that the last digit rounds it to 0."""
    met = gone = 0
    for values in _scaled_numbers(scaling, stores):
        nonzero = values[np.isfinite(values) & (values != 0)]
        met, gone = met + len(nonzero), gone + int((encoding.digits_below(nonzero) == 0).sum())
    if gone:
        warn(
            f"fone has digits from 1e{encoding.exponents[1]} to 1e{encoding.exponents[0]}, so that {gone:,} of "
            f"{met:,} numbers (scaled) become 0; model.exponents chooses other digits"
        )


def _covering(scaling: Scaling, stores: Sequence[RecordStore]) -> tuple[int, int] | None:
    """The powers of ten of all numbers; None where there is none but zeros."""
    # A block of zeros alone says nothing.
    covered = [covering_exponents(scaled) for scaled in _scaled_numbers(scaling, stores) if scaled.any()]
    return (min(low for low, _ in covered), max(high for _, high in covered)) if covered else None


def merged_statistics(stores: Sequence[RecordStore]) -> dict[str, NumberStatistics]:
    """Maps each key path to statistics of the training splits of all stores together."""
    found: dict[str, list[NumberStatistics]] = {}
    for store in stores:
        for path, statistics in store.statistics.items():
            found.setdefault(path, []).append(statistics)
    return {path: _merged(parts) for path, parts in found.items()}


def _merged(parts: Sequence[NumberStatistics]) -> NumberStatistics:
    if len(parts) == 1:
        return parts[0]
    counts = np.array([part.count for part in parts], dtype=np.float64)
    means, deviations = np.array([part.mean for part in parts]), np.array([part.std for part in parts])
    mean = float(np.average(means, weights=counts))
    return NumberStatistics(
        count=int(counts.sum()),
        mean=mean,
        std=float(np.sqrt(np.average(deviations**2 + (means - mean) ** 2, weights=counts))),
        min=min(part.min for part in parts),
        max=max(part.max for part in parts),
        smallest=min((part.smallest for part in parts if part.smallest), default=0.0),
        largest=max(part.largest for part in parts),
        low_decade=min(part.low_decade for part in parts),
    )


def _recommended(stores: Sequence[RecordStore]) -> ScalingSection:
    first = stores[0]
    for store in stores[1:]:
        if store.scaling != first.scaling:
            raise StoreError(
                f"the stores {first.name} and {store.name} recommend different scalings",
                hint="say one in the recipe: scaling: {default: affine}",
            )
    return first.scaling


def _scaled_numbers(scaling: Scaling, stores: Sequence[RecordStore]) -> Iterator[NDArray[np.float64]]:
    """All numbers of all rows, whatever their split, some records at a time."""
    for store in stores:
        rows = np.arange(store.store.manifest.rows, dtype=np.int64)
        for start in range(0, len(rows), _ROWS_AT_A_TIME):
            records = store.read(rows[start : start + _ROWS_AT_A_TIME])
            yield scaling.apply(records.numbers, records.number_keys, records.key_paths)
