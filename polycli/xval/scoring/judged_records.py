"""A model with a head, scored: one answer for each of the chosen records, beside learners on the same columns."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from polycli.console import warn
from polycli.errors import StoreError
from polycli.report.bootstrap import Bootstrap
from polycli.xval.model.loaded import LoadedNumformer
from polycli.xval.recipe.settings import EvalSettings
from polycli.xval.records.decode import decode_records
from polycli.xval.records.values import Record
from polycli.xval.scoring.baselines import is_table
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.head_scores import columns_of, head_scores
from polycli.xval.scoring.hidden_numbers import Subset
from polycli.xval.scoring.record_answers import Judge, Question, plain_numbers
from polycli.xval.scoring.score_records import JudgedScores


def score_head(loaded: LoadedNumformer, subset: Subset, settings: EvalSettings) -> JudgedScores:
    """The scores of a model with a head: one answer for each record that has the value.

    Raises:
        StoreError: no record has it.
    """
    if loaded.judge is None:
        raise ValueError("the model has no head")
    asked = Judge(loaded.judge, Filler(loaded.model, loaded.tokenization, settings.batch_tokens))
    store = subset.store
    scored = _questions(asked, subset, subset.rows)
    learned = _questions(asked, subset, store.rows("train")[: settings.baseline_rows])
    learned = [question for question in learned if asked.learned(question.known)]
    if asked.head.kind == "regression":
        # A class that never trained can be answered wrongly; text in place of a number cannot be answered at all.
        count = len(scored)
        scored = [question for question in scored if asked.learned(question.known)]
        if len(scored) < count:
            warn(
                f"{store.name}: {asked.head.target} is not a number in {count - len(scored)} records, "
                "which are left out"
            )
    if not scored or not learned:
        raise StoreError(f"{store.path}: no record has a value at {asked.head.target}, which the model answers for")
    columns = None
    if settings.baselines and is_table(store.read(subset.rows)):
        tables = [[plain_numbers(question.record.value) for question in part] for part in (learned, scored)]
        columns = columns_of(tables[0], tables[1])
    entry = head_scores(
        asked.head,
        [question.known for question in scored],
        asked.outputs(scored),
        [question.known for question in learned],
        columns=columns,
        bootstrap=Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed),
    )
    return JudgedScores(head=entry, records=len(scored), records_available=subset.available)


def _questions(asked: Judge, subset: Subset, rows: NDArray[np.int64]) -> list[Question]:
    records = subset.store.read(rows)
    values = decode_records(records, subset.store.vocabulary)
    questions = [asked.question(Record(name, value)) for name, value in zip(records.ids, values, strict=True)]
    return [question for question in questions if question.known is not None]
