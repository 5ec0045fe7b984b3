"""Classes that a model fills in, scored: each known one is hidden alone, and answered for with its probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from polycli.report.bootstrap import Bootstrap
from polycli.xval.model.loaded import LoadedNumformer
from polycli.xval.predicting.inputs import Wanted, encode
from polycli.xval.recipe.settings import EvalSettings
from polycli.xval.records.classes import Column, columns_of
from polycli.xval.records.decode import decode_records
from polycli.xval.records.values import Record, Value
from polycli.xval.scoring.baselines import MOST_COLUMNS
from polycli.xval.scoring.classes.answers import class_answers
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.hidden_numbers import Subset, drawn_rows
from polycli.xval.scoring.record_answers import plain_numbers
from polycli.xval.scoring.score_records import ClassScores, WithInterval
from polycli.xval.scoring.text_columns import ABSENT, text_columns
from polycli.xval.training.labels import take

Floats = NDArray[np.float64]
#: Classes up to which gradient boosting is fitted: it grows a tree for each of them in each round.
MOST_BOOSTED = 20
#: No probability counts as less, so that one mistake does not make a log loss infinite.
LEAST_PROBABILITY = 1e-6
#: Records that are answered for at a time.
_AT_A_TIME = 512


def class_scores(loaded: LoadedNumformer, subset: Subset, settings: EvalSettings) -> dict[str, ClassScores] | None:
    """The scores of each column of classes that the records have; None where the model knows none, or keys are chosen.

    Beside the model stand the shares that classes have in training, of which the largest is the answer, and gradient
    boosting on the other columns. A value that the model has no choice of is left out, and counted.
    """
    columns = columns_of(loaded.tokenization.classes, loaded.tokenization.language.vocabulary)
    if settings.keys or not columns:
        return None
    filler = Filler(loaded.model, loaded.tokenization, settings.batch_tokens, "valid")
    learning = drawn_rows(subset.store.rows("train"), settings.baseline_rows, seed=settings.seed)
    training, scored = _records(subset, learning), _records(subset, subset.rows)
    bootstrap = Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)
    found: dict[str, ClassScores] = {}
    for column in columns.values():
        learned, asked = _Known.of(training, column), _Known.of(scored, column)
        if len(learned.places) and len(asked.places):
            shares = {"model": _answered(filler, asked.rest, columns, column)}
            shares["most frequent"] = np.tile(_shares(learned.places, len(column.values)), (len(asked.places), 1))
            boosted = _boosted(learned, asked, len(column.values)) if settings.baselines else None
            if boosted is not None:
                shares["gradient boosting"] = boosted
            found[column.path] = _scores(asked, shares, len(column.values), bootstrap)
    return found or None


class _Known:
    """Records that have a class, without it, and its places among the candidates."""

    def __init__(self, rest: Sequence[Record], places: Sequence[int], unknown: int) -> None:
        self.rest, self.places, self.unknown = list(rest), np.array(places, dtype=np.int64), unknown

    @classmethod
    def of(cls, records: Sequence[Record], column: Column) -> _Known:
        candidates = {(type(value), value): place for place, value in enumerate(column.values)}
        rest, places, unknown = [], [], 0
        for record in records:
            without, value = take(record.value, column.path)
            place = candidates.get((type(value), value)) if isinstance(value, str | bool) else None
            if place is not None:
                rest.append(Record(record.id, without, record.group))
                places.append(place)
            unknown += place is None and isinstance(value, str | bool)
        return cls(rest, places, unknown)


def _records(subset: Subset, rows: NDArray[np.int64]) -> list[Record]:
    found = subset.store.read(rows)
    values = decode_records(found, subset.store.vocabulary)
    return [Record(*named) for named in zip(found.ids, values, strict=True)]


def _answered(
    filler: Filler, records: Sequence[Record], columns: Mapping[int, Column], column: Column
) -> NDArray[np.float64]:
    """(records, classes): the model's probabilities, with all else of a record given, as `predict` asks for them."""
    wanted = Wanted(filler.tokenization.language.key_paths, {one.path: one.blank for one in columns.values()})
    parts: list[Floats] = []
    for start in range(0, len(records), _AT_A_TIME):
        encoded = encode(records[start : start + _AT_A_TIME], filler.tokenization, wanted)
        answers = class_answers(filler, encoded, columns)
        parts += [answer.probabilities for answer in answers if answer.column.path == column.path]
    return np.stack(parts)


def _shares(places: NDArray[np.int64], classes: int) -> Floats:
    """The shares of classes in training; one more of each is counted, so that none is impossible."""
    counts = np.bincount(places, minlength=classes) + 1.0
    return np.asarray(counts / counts.sum(), dtype=np.float64)


def _boosted(learned: _Known, asked: _Known, classes: int) -> Floats | None:
    """Probabilities by gradient boosting on all other columns; None where there are none, or too many of anything."""
    values: list[list[Value]] = [[record.value for record in part.rest] for part in (learned, asked)]
    texts = text_columns(*values)
    rows = [[plain_numbers(value) for value in part] for part in values]
    names = list(dict.fromkeys(name for row in rows[0] for name in row))
    met = np.unique(learned.places)
    if classes > MOST_BOOSTED or len(met) < 2 or not 0 < len(names) + texts.training.shape[1] <= MOST_COLUMNS:
        return None
    from sklearn.ensemble import HistGradientBoostingClassifier

    tables = []
    for part, codes in zip(rows, (texts.training, texts.asked), strict=True):
        numbers = np.array([[row.get(name, np.nan) for name in names] for row in part], dtype=np.float64)
        tables.append(np.hstack([numbers.reshape(len(part), -1), np.where(codes == ABSENT, np.nan, codes)]))
    categories = np.arange(tables[0].shape[1]) >= len(names)
    learner: Any = HistGradientBoostingClassifier(random_state=0, categorical_features=categories)
    chances = learner.fit(tables[0], learned.places).predict_proba(tables[1])
    found = np.zeros((len(asked.places), classes))
    found[:, met] = chances
    return found


def _scores(asked: _Known, shares: Mapping[str, Floats], classes: int, bootstrap: Bootstrap) -> ClassScores:
    rows = np.arange(len(asked.places))
    hits = {name: (values.argmax(axis=1) == asked.places).astype(np.float64) for name, values in shares.items()}
    losses = {
        name: -np.log(np.maximum(values[rows, asked.places], LEAST_PROBABILITY)) for name, values in shares.items()
    }
    return ClassScores(
        records=len(rows),
        classes=classes,
        unknown=asked.unknown,
        accuracy=_means(hits, bootstrap),
        log_loss=_means(losses, bootstrap),
    )


def _means(values: Mapping[str, Floats], bootstrap: Bootstrap) -> WithInterval:
    means = {name: float(part.mean()) for name, part in values.items()}
    return WithInterval(by_method=means, interval=bootstrap.mean(values["model"]).tolist())
