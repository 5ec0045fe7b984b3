"""`polycli predict xval`: records with nulls or empty cells in, the same records with values and intervals out.

Records stream: memory does not grow with their number. The output appears when all of it is written.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from polycli.console import counted, rank, result, say, warn
from polycli.errors import CheckpointError, SourceError
from polycli.json_records import to_object
from polycli.outputs import Output
from polycli.paths import expand_paths
from polycli.recipes import default_recipe
from polycli.requests import JsonDocument, PredictRequest
from polycli.xval.data.digits import Digits
from polycli.xval.model.loaded import LoadedNumformer, load_checkpoint
from polycli.xval.numbers.saturation import Saturation
from polycli.xval.predicting.files import FILLED_RECORDS, Answer, Asked, Extras, FilledRecord, fill_in, writer_for
from polycli.xval.predicting.inputs import Wanted, counting, fitting, open_inputs
from polycli.xval.recipe.settings import PredictSettings
from polycli.xval.records.classes import Column, columns_of
from polycli.xval.records.key_order import as_it_came, in_order
from polycli.xval.records.keypaths import TOP, KeyPatterns, child_path, refuse_unknown
from polycli.xval.records.records import Records
from polycli.xval.records.structure import NUM
from polycli.xval.records.values import Record
from polycli.xval.scoring.classes.answers import class_answers
from polycli.xval.scoring.fill import Answers, Filler, Floats
from polycli.xval.scoring.intervals import Intervals, intervals_of
from polycli.xval.scoring.record_answers import Judge


@dataclass(frozen=True)
class Blanks:
    """The key paths of nulls that are filled in, and how."""

    #: Patterns of those of numbers.
    patterns: tuple[str, ...]
    #: Columns of classes, by the token of their key.
    columns: Mapping[int, Column]
    #: The mark in free text that stands for a number.
    gap: str | None

    @property
    def wanted(self) -> Wanted:
        """Returns what the model is asked for, as records are written."""
        return Wanted(self.patterns, {column.path: column.blank for column in self.columns.values()}, self.gap)

    @cached_property
    def asked(self) -> Asked:
        """Returns where answers are put."""
        classes = frozenset(column.path for column in self.columns.values())
        return Asked(KeyPatterns(self.patterns), classes, self.gap)


@dataclass(frozen=True)
class Manner:
    """The way in which answers are written: their digits and intervals; and a count of the numbers that are given."""

    digits: Digits
    intervals: Intervals
    met: Saturation


def run(request: PredictRequest) -> JsonDocument | None:
    """Fill in what is null in the records of the data, where the model has learned numbers.

    Raises:
        UserError: checkpoint, data and settings do not fit each other, or the output exists; nothing was written.
    """
    settings = default_recipe("xval", "predict", request.overrides, schema=PredictSettings)
    if rank() > 0:
        return None  # One process writes.
    output = Output(request.output, FILLED_RECORDS, settings.overwrite, inputs=(request.checkpoint, *request.data))
    output.refuse()
    loaded = load_checkpoint(request.checkpoint)
    blanks = blanks_of(loaded, settings.keys, settings.gap)
    data = open_inputs(
        expand_paths(request.data),
        reading=settings,
        tokenization=loaded.tokenization,
        split=request.split,
        limit=request.limit,
        batch_records=settings.batch_records,
    )
    loaded.check_units(data.units, str(request.data[0]), allow=settings.allow_untrained)
    units = {**loaded.units, **data.units}
    filler = Filler(loaded.model, loaded.tokenization, settings.batch_tokens, "valid")
    judge = None if loaded.judge is None else Judge(loaded.judge, filler)
    if judge is not None:
        say(f"the model was finetuned for {judge.head.target} alone: that is filled in, and no other null")
    records = filled = left_out = 0
    reading = loaded.tokenization.reading
    digits = reading.digits if reading is not None and settings.digits == "column" else Digits()
    intervals = _intervals(loaded, settings)
    manner = Manner(digits, intervals, Saturation(loaded.tokenization.scaling))
    with output.writing() as unfinished:
        with unfinished.open("w", encoding="utf-8", newline="") as file, counting(data.count, "filling in") as advance:
            extras, quote = _extras(loaded, blanks, intervals), settings.quote_formulas
            suffix, headers = request.output.suffix, data.headers
            writer = writer_for(suffix, file, units, extras, headers=headers, quote_formulas=quote)
            for given in data.batches:
                batch, encoded = fitting(given, loaded.tokenization, blanks.wanted)
                left_out += len(given) - len(batch)
                if judge is not None:
                    done_of = _judged(judge, batch, units)
                else:
                    answers = answer(filler, encoded, blanks, manner) if batch else []
                    done_of = _answered(filler, batch, answers, blanks, units)
                for done in done_of:
                    writer.write(done)
                    filled += len(done.filled)
                records += len(batch)
                advance(len(given))
            writer.close()
        if not records:
            raise SourceError(
                f"{request.data[0]}: there are no records{' that the model could read' if left_out else ''}",
                hint="split them into smaller records" if left_out else None,
            )
    if loaded.tokenization.encoding.name == "xval":
        manner.met.say()
    if not filled:
        warn("no record has a null where the model can say something: nothing was filled in")
    document = {
        "output": str(request.output),
        **to_object(loaded.provenance()),
        "records": records,
        "filled": filled,
        "left_out": left_out,
        "interval": intervals.level,
        "calibrated": intervals.calibrated,
    }
    if not request.json:
        more = f", {counted(left_out, 'record', 'records')} left out" if left_out else ""
        say(f"{counted(records, 'record', 'records')}{more}, {counted(filled, 'value', 'values')} filled in")
        result(str(request.output))
    return document


def blanks_of(loaded: LoadedNumformer, keys: Sequence[str], gap: str | None) -> Blanks:
    """Nulls of the patterns that are asked for, or of all key paths where the model has learned numbers or classes.

    Raises:
        RecipeError: a pattern fits no such key path.
    """
    language = loaded.tokenization.language
    # A number without `<` or `>` has no limit: that null is a fact, and nothing to fill in.
    signs = {child_path(TOP, key) for key in loaded.tokenization.limit_keys.values()}
    classes = {path: values for path, values in loaded.tokenization.classes.items() if path not in signs}
    columns = columns_of(classes, language.vocabulary)
    refuse_unknown(keys, [*language.key_paths, *(column.path for column in columns.values())], where="keys")
    wanted = KeyPatterns(keys)
    return Blanks(
        # A key path is its own pattern: what is special in a pattern is escaped in a path.
        tuple(path for path in language.key_paths if not keys or wanted.match(path)),
        {token: column for token, column in columns.items() if not keys or wanted.match(column.path)},
        gap,
    )


def _answered(
    filler: Filler,
    batch: Sequence[Record],
    answers: Sequence[Sequence[Answer]],
    blanks: Blanks,
    units: Mapping[str, str],
) -> Iterator[FilledRecord]:
    for record, mine in zip(batch, answers, strict=True):
        # Answers come in the order in which the model reads a record; the user gets it back as it came.
        seen = in_order(record.value, filler.tokenization.key_order)
        done = fill_in(record.id, seen, iter(mine), blanks.asked, units)
        yield replace(done, value=as_it_came(done.value, record.value))


def _judged(judge: Judge, batch: Sequence[Record], units: Mapping[str, str]) -> Iterator[FilledRecord]:
    """The head's answer where the value that it was trained for is null or absent."""
    questions = [judge.question(record) for record in batch]
    target = KeyPatterns([judge.head.target])
    for record, question, output in zip(batch, questions, judge.outputs(questions), strict=True):
        value, probability = judge.answer(output)
        unknown = question.known is None
        answers = iter([Answer(value, None, probability)] if unknown else [])
        yield fill_in(
            record.id,
            (question.record if unknown else record).value,
            answers,
            Asked(target if unknown else KeyPatterns([])),
            units,
        )


def _intervals(loaded: LoadedNumformer, settings: PredictSettings) -> Intervals:
    """The intervals of a model that fills in numbers; one with a head has none."""
    if loaded.judge is not None:
        asked = {
            "bands.use=must": settings.bands.use == "must",
            "bands.file": settings.bands.file is not None,
            "interval": settings.interval is not None,
        }
        if any(asked.values()):
            raise CheckpointError(
                f"{loaded.model_file}: answers for whole records, which no calibration has intervals for",
                hint=f"leave out --set {next(key for key, given in asked.items() if given)}",
            )
        return Intervals(loaded.tokenization.scaling, {}, None, calibrated=False)
    return intervals_of(loaded, settings.interval, settings.bands)


def _extras(loaded: LoadedNumformer, blanks: Blanks, intervals: Intervals) -> Extras:
    """Chooses the columns that a table has beside the values that are filled in."""
    if loaded.judge is None:
        classes = {column.path: column.values for column in blanks.columns.values()}
        nulls = blanks.asked.nulls
        return Extras.of(nulls, interval=intervals.level is not None, probability=False, classes=classes)
    head = loaded.judge.head
    return Extras.of(KeyPatterns([head.target]), interval=False, probability=head.kind == "classification")


def answer(filler: Filler, records: Records, blanks: Blanks, manner: Manner) -> list[list[Answer]]:
    """Returns the answers to each record's nulls, in their order; the numbers that are given are counted."""
    manner.met.add(records.numbers, records.number_keys, records.key_paths)
    missing, paths = np.isnan(records.numbers), records.key_paths
    answers = _sequential(filler, records, missing) if filler.model.section.causal else filler.fill(records, missing)
    bounds = manner.intervals.around(answers, records)
    token_of = np.flatnonzero(records.token_ids == NUM)
    owners = np.repeat(np.arange(len(records)), records.number_lengths)
    found: list[list[tuple[int, Answer]]] = [[] for _ in range(len(records))]
    for number in np.flatnonzero(missing).tolist():
        path = paths[records.number_keys[number]]
        said = _answer(answers, number, bounds, manner.digits, path)
        found[owners[number]].append((int(token_of[number]), said))
    for each in class_answers(filler, records, blanks.columns):
        order = np.argsort(-each.probabilities, kind="stable")
        shares = {each.column.values[place]: float(each.probabilities[place]) for place in order.tolist()}
        said = Answer(each.value, None, float(each.probabilities[each.best]), shares)
        found[each.record].append((each.token, said))
    return [[said for _, said in sorted(mine, key=itemgetter(0))] for mine in found]


def _sequential(filler: Filler, records: Records, missing: NDArray[np.bool_]) -> Answers:
    """A causal model needs what stands before a null: of each record the first null is filled, then the next."""
    owners = np.repeat(np.arange(len(records)), records.number_lengths)
    count = np.concatenate([[0], np.cumsum(missing)]).astype(np.int64)
    turn = np.where(missing, count[:-1] - count[records.number_offsets[:-1]][owners], -1)
    values, quantiles = (
        np.full(len(missing), np.nan),
        np.full((len(missing), len(filler.model.section.quantiles)), np.nan),
    )
    for number in range(int(turn.max(initial=-1)) + 1):
        found = filler.fill(records, turn == number)
        values[turn == number], quantiles[turn == number] = (
            found.values[turn == number],
            found.quantiles[turn == number],
        )
        records = replace(records, numbers=np.where(turn == number, found.values, records.numbers))
    return Answers(values, quantiles)


def _answer(answers: Answers, number: int, bounds: tuple[Floats, Floats], digits: Digits, path: str) -> Answer:
    low, high = (float(side[number]) for side in bounds)
    # Beyond float64 after scaling back: no bound that JSON could write.
    interval = digits.bounds(path, (low, high)) if np.isfinite(low) and np.isfinite(high) else None
    return Answer(digits.value(path, float(answers.values[number])), interval)
