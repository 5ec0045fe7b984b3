"""Predicts the value of whole records by a model with a head: a number in its own units, or a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.xval.model.heads import HeadDescription, RecordModel
from polycli.xval.predicting.inputs import encode
from polycli.xval.records.keypaths import TOP, child_path
from polycli.xval.records.values import Record, Value
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.pooling import vectors_of
from polycli.xval.training.labels import is_class, is_measured, take

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """A record without the value that is asked for, and that value, None where it is not known."""

    record: Record
    known: Any


@dataclass(frozen=True)
class Judge:
    """A model with its head, and how it reads records."""

    model: RecordModel
    filler: Filler

    @property
    def head(self) -> HeadDescription:
        """The description of the head that answers."""
        return self.model.head

    def question(self, record: Record) -> Question:
        """The record as the model reads it: null where the answer belongs."""
        rest, known = take(record.value, self.head.target)
        plain = isinstance(known, bool | int | float | str)
        return Question(Record(record.id, rest, record.group), known if plain else None)

    def learned(self, value: Value) -> bool:
        """Whether it is a value that the model could have learned from: a number, or a class that it knows."""
        return is_measured(value) if self.head.kind == "regression" else is_class(value, self.head.classes)

    def outputs(self, questions: Sequence[Question]) -> Floats:
        """(records, outputs): values in their own units, or probabilities of the classes.

        Raises:
            SourceError: a record is too long for the model.
        """
        records = encode([question.record for question in questions], self.filler.tokenization)
        pooled = torch.from_numpy(vectors_of(self.filler, records, numbers=False).records)
        device = next(self.model.parameters()).device
        with torch.no_grad():
            answers = self.model.record_head(pooled.to(device)).double().cpu()
        if self.head.kind == "classification":
            return np.asarray(answers.softmax(dim=-1).numpy(), dtype=np.float64)
        return np.asarray(answers.numpy() * self.head.scale + self.head.shift, dtype=np.float64)

    def answer(self, output: Floats) -> tuple[Value, float | None]:
        """Value and, of a class, its probability."""
        if self.head.kind == "regression":
            return float(output[0]), None
        best = int(output.argmax())
        return self.head.classes[best], float(output[best])


def plain_numbers(value: Value, path: str = TOP) -> dict[str, float]:
    """The numbers of a record that is a row of a table, by key path; lists and texts are left out."""
    if isinstance(value, Mapping):
        return {
            name: number
            for key, part in value.items()
            for name, number in plain_numbers(part, child_path(path, key)).items()
        }
    return {path: float(value)} if isinstance(value, int | float) and not isinstance(value, bool) else {}
