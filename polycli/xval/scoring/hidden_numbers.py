"""A model that fills in numbers, scored: every number of the chosen records is hidden once, and answered for."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from polycli.console import progress, warn
from polycli.errors import StoreError
from polycli.report.bootstrap import Bootstrap
from polycli.workflow.overlap import ScoredRows
from polycli.xval.data.pool import language_of
from polycli.xval.data.reading import order_of_keys
from polycli.xval.data.store import RecordStore
from polycli.xval.model.loaded import LoadedNumformer
from polycli.xval.predicting.inputs import encode, keys_beside_learned
from polycli.xval.recipe.model import ObjectiveSection
from polycli.xval.recipe.settings import EvalSettings
from polycli.xval.records.decode import decode_records
from polycli.xval.records.key_order import in_another_order, with_keys
from polycli.xval.records.records import Records
from polycli.xval.records.values import Record, Value
from polycli.xval.scoring.baselines import is_table, simple_answers, table_answers
from polycli.xval.scoring.exactness import exactness
from polycli.xval.scoring.fill import Answers, Filler
from polycli.xval.scoring.score_records import FillScores
from polycli.xval.scoring.summarise import Examined, scores_of
from polycli.xval.scoring.sweep import Sweep, run_sweep
from polycli.xval.scoring.text_columns import text_columns
from polycli.xval.scoring.turns import turns_of
from polycli.xval.training.masking import record_seeds


@dataclass(frozen=True)
class Subset:
    """The records of a store that are scored."""

    store: RecordStore
    rows: NDArray[np.int64]
    #: How many the split has.
    available: int

    @property
    def scored(self) -> ScoredRows:
        """The store and the rows of it."""
        return ScoredRows(self.store.store, self.rows)


@dataclass(frozen=True)
class Illustration:
    """The data behind the figures of one dataset."""

    examined: Examined
    sweep: Sweep | None


def score_numbers(loaded: LoadedNumformer, subset: Subset, settings: EvalSettings) -> tuple[FillScores, Illustration]:
    """Scores of every number, hidden once and answered for from the rest, and what figures show."""
    store, bootstrap = subset.store, Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)
    records = read_records(store, subset.rows, loaded)
    share = None if settings.masking == "single" else hidden_share(loaded, settings.share)
    seeds = record_seeds(settings.seed, store.name, subset.rows, 0, purpose="eval")
    errors = loaded.tokenization.error_keys
    turn_of = turns_of(records, seeds, groups=settings.groups, share=share, keys=settings.keys, errors=errors)
    filler = Filler(loaded.model, loaded.tokenization, settings.batch_tokens)
    with progress(int((turn_of >= 0).sum()), f"{store.name}: numbers") as bar:
        answers = filler.once(records, turn_of, bar.advance)
    methods = {"model": answers.values, **simple_answers(records, turn_of, store.statistics)}
    learning = drawn_rows(store.rows("train"), settings.baseline_rows, seed=settings.seed)
    if settings.baselines and is_table(records) and len(learning) > 1:
        training = read_records(store, learning, loaded)
        # Signs of limits are hidden from simple learners, too: each gives its number away.
        signs = {*loaded.tokenization.limit_keys.values()}
        texts = text_columns(*(_without(_values(store, rows), signs) for rows in (learning, subset.rows)))
        methods |= table_answers(training, records, turn_of, share=share or 0.0, seed=settings.seed, texts=texts)
    patterns = scored_together(store, settings)
    examined = _examined(subset, records, turn_of, methods, answers=answers, loaded=loaded, patterns=patterns)
    sweep = run_sweep(filler, records, settings.sweep, store.statistics)
    if settings.sweep.vary is not None and sweep is None:
        warn(f"{store.name}: no record has {settings.sweep.vary} once, and what sweep.predict names: nothing is swept")
    scores = scores_of(examined, store.hold_out, bootstrap)
    names = np.array(examined.key_names, dtype=object)[examined.key]
    exact = {name: exactness(examined.select(names == name)) for name in scores.keys}
    lengths = loaded.tokenization.lengths(records.token_lengths, records.number_lengths)
    filled = FillScores(
        scores=replace(scores, keys={name: replace(key, exact=exact[name]) for name, key in scores.keys.items()}),
        tokens_per_record=float(lengths.mean()),
        records_available=subset.available,
        tokens_per_number=loaded.tokenization.encoding.tokens_per_number,
        hidden_share=share,
        units=store.units,
        sweep=None if sweep is None else sweep.scores(),
    )
    return filled, Illustration(examined, sweep)


def scored_together(store: RecordStore, settings: EvalSettings) -> tuple[str, ...]:
    """The patterns that settings, hold-outs and units name: key paths that one of them fits are scored together."""
    rules = (rule.pattern for rule in store.hold_out)
    return (*settings.keys, *(pattern for group in settings.groups for pattern in group), *rules, *store.units)


def drawn_rows(rows: NDArray[np.int64], most: int, *, seed: int) -> NDArray[np.int64]:
    """Draws at most so many rows over all of them, because a store may be sorted."""
    if len(rows) <= most:
        return rows
    return np.sort(np.random.default_rng(seed).choice(rows, most, replace=False))


def _values(store: RecordStore, rows: NDArray[np.int64]) -> list[Value]:
    return decode_records(store.read(rows), store.vocabulary)


def _without(values: Sequence[Value], keys: Collection[str]) -> list[Value]:
    return [with_keys(value, lambda key, path: key not in keys) for value in values]  # noqa: ARG005  # called by place


def hidden_share(loaded: LoadedNumformer, share: float | None) -> float | None:
    """Returns the share of a record that is hidden at once, that of the training if absent; None for one at a time."""
    if loaded.model.section.causal and not loaded.tokenization.encoding.continuous:
        return None
    return share or loaded.mask_probability or ObjectiveSection().mask_probability


def read_records(store: RecordStore, rows: NDArray[np.int64], loaded: LoadedNumformer) -> Records:
    """Records as the model reads them: in its language, their keys in the order that it learned, without unknown ones.

    Raises:
        StoreError: the model knows none of the numbers, or not all and does not say how its data were read.
    """
    tokenization, language = loaded.tokenization, loaded.tokenization.language
    known = {path: place for place, path in enumerate(language.key_paths)}
    missing = [path for path in store.key_paths if path not in known]
    if missing and (tokenization.reading is None or len(missing) == len(store.key_paths)):
        raise StoreError(
            f"{store.path}: the model knows no number at {missing[0]}"
            + (f", nor at {len(missing) - 1} other key paths of the data" if len(missing) > 1 else ""),
            hint="finetune on such data first: it learns tokens for new keys",
        )
    new = [key for key in store.vocabulary.keys if key not in language.vocabulary.key_ids]
    own = store.vocabulary.key_ids
    lacking = [key for key, names in keys_beside_learned(tokenization).items() if key in own and {*names} - {*own}]
    if not (missing or new or lacking or in_another_order(order_of_keys([store]), tokenization.key_order)):
        return language.reader(language_of(store))(store.read(rows))
    found = store.read(rows)
    values = decode_records(found, store.vocabulary)
    again = encode([Record(*named) for named in zip(found.ids, values, strict=True)], tokenization)
    places = np.array([known[path] for path in again.key_paths], dtype=np.int32)
    keys = places[again.number_keys] if len(places) else again.number_keys
    return replace(again, number_keys=keys, key_paths=language.key_paths)


def _examined(
    subset: Subset,
    records: Records,
    turn_of: NDArray[np.int64],
    methods: dict[str, NDArray[np.float64]],
    *,
    answers: Answers,
    loaded: LoadedNumformer,
    patterns: tuple[str, ...],
) -> Examined:
    asked = (turn_of >= 0) & np.isfinite(records.numbers)
    owners = np.repeat(np.arange(len(records)), records.number_lengths)
    return Examined(
        record=owners[asked],
        key=records.number_keys[asked].astype(np.int64),
        truth=records.numbers[asked],
        answers={name: values[asked] for name, values in methods.items()},
        quantiles=answers.quantiles[asked],
        levels=loaded.model.section.quantiles,
        held_out=subset.store.held_out(subset.rows),
        key_paths=records.key_paths,
        statistics=subset.store.statistics,
        decimals={} if loaded.tokenization.reading is None else loaded.tokenization.reading.digits.decimals,
        patterns=patterns,
    )
