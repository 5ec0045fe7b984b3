"""`polycli eval xval`: a checkpoint and stores to scores, figures and a report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from polycli.console import progress, rank, result, say, warn
from polycli.errors import StoreError
from polycli.recipes import default_recipe
from polycli.report.bootstrap import Bootstrap
from polycli.report.folder import evaluation_folder, finite_json, write_scores
from polycli.report.table import as_text
from polycli.requests import EvalRequest, JsonDocument, Split
from polycli.workflow.evaluated_stores import evaluated_stores, output_folder
from polycli.workflow.overlap import ScoredRows, check_overlap, warn_of_shared_validation
from polycli.xval.data.pool import language_of
from polycli.xval.data.store import RecordStore
from polycli.xval.model.loaded import LoadedNumformer, load_checkpoint
from polycli.xval.recipe.model import ObjectiveSection
from polycli.xval.recipe.settings import EvalSettings
from polycli.xval.records.decode import decode_records
from polycli.xval.records.records import Records
from polycli.xval.records.units import known_units, refuse_other_units
from polycli.xval.records.values import Record
from polycli.xval.scoring.baselines import is_table, simple_answers, table_answers
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.head_scores import columns_of, head_scores
from polycli.xval.scoring.record_answers import Judge, Question, plain_numbers
from polycli.xval.scoring.report import Illustration, write_report
from polycli.xval.scoring.summarise import Examined, scores_of
from polycli.xval.scoring.sweep import run_sweep
from polycli.xval.scoring.tables import overview
from polycli.xval.scoring.turns import passes_of
from polycli.xval.training.masking import record_seeds


@dataclass(frozen=True)
class Subset:
    """The records of a store that are scored."""

    store: RecordStore
    rows: NDArray[np.int64]
    #: How many the split has.
    available: int


def run(request: EvalRequest) -> JsonDocument | None:
    """Score a checkpoint on the records of a split, beside means, the last value and, for tables, simple learners.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, or the checkpoint was trained on what it
            would be tested on; nothing was written.
    """
    settings = default_recipe("xval", "eval", request.overrides, schema=EvalSettings)
    if rank() > 0:
        return None  # Scores are made by one process.
    loaded = load_checkpoint(request.checkpoint)
    opened = evaluated_stores(request.data, family="xval", model_file=loaded.model_file, run=loaded.run)
    stores = [RecordStore(store) for store in opened]
    learned = known_units(loaded.tokenization.units, loaded.run)
    for store in stores:
        refuse_other_units(store.units, learned, source=str(store.path))
    subsets = [_subset(store, loaded, request.split, request.limit, settings) for store in stores]
    scored = [ScoredRows(subset.store.store, subset.rows) for subset in subsets]
    seen = check_overlap(scored, loaded, rows_are="records", allow=request.allow_overlap)
    warn_of_shared_validation(scored, loaded, request.split, rows_are="records")
    output = output_folder(request, loaded.run)
    scores: JsonDocument = {
        "split": request.split,
        **loaded.provenance(),
        "store_hash": {subset.store.name: subset.store.store.manifest.store_hash for subset in subsets},
        "overlap": seen.document("records"),
        "settings": settings.model_dump(mode="json", exclude={"family", "verb"}),
        "datasets": {},
    }
    with evaluation_folder(output) as unfinished:
        pictures = {}
        for subset in subsets:
            name = subset.store.name
            if loaded.judge is not None:
                scores["datasets"][name] = judge(loaded, subset, settings)
            else:
                scores["datasets"][name], pictures[name] = score(loaded, subset, settings)
        scores = finite_json(scores)
        if settings.report:
            write_report(scores, pictures, unfinished)
        write_scores(scores, unfinished)
    say(f"scores: {output / 'scores.json'}")
    if settings.report:
        say(f"report: {output / 'report.html'}")
    if not request.json:
        result("\n\n".join(as_text(table) for table in overview(scores["datasets"])))
    return scores


def score(loaded: LoadedNumformer, subset: Subset, settings: EvalSettings) -> tuple[JsonDocument, Illustration]:
    """All scores of one dataset, and what its figures show."""
    store, bootstrap = subset.store, Bootstrap(samples=settings.bootstrap_samples, seed=settings.seed)
    records = read_records(store, subset.rows, loaded)
    share = hidden_share(loaded, settings)
    seeds = record_seeds(settings.seed, store.name, subset.rows, 0, purpose="eval")
    passes = passes_of(records, seeds, groups=settings.groups, share=share, keys=settings.keys)
    filler = Filler(loaded.model, loaded.tokenization, settings.batch_tokens)
    with progress(int((passes >= 0).sum()), f"{store.name}: numbers") as bar:
        answers = filler.once(records, passes, bar.advance)
    methods = {"model": answers.values, **simple_answers(records, passes, store.statistics)}
    learning = store.rows("train")[: settings.baseline_rows]
    if settings.baselines and is_table(records) and len(learning) > 1:
        training = read_records(store, learning, loaded)
        methods |= table_answers(training, records, passes, share=share or 0.0, seed=settings.seed)
    examined = _examined(subset, records, passes, methods, quantiles=answers.quantiles, loaded=loaded)
    sweep = run_sweep(filler, records, settings.sweep, store.statistics)
    if settings.sweep.vary is not None and sweep is None:
        warn(f"{store.name}: no record has {settings.sweep.vary} once, and what sweep.predict names: nothing is swept")
    document = {
        **scores_of(examined, store.hold_out, bootstrap),
        "records_available": subset.available,
        "tokens_per_number": loaded.tokenization.encoding.tokens_per_number,
        "hidden_share": share,
        "units": store.units,
        "sweep": None if sweep is None else sweep.document(),
    }
    return document, Illustration(examined, sweep)


def judge(loaded: LoadedNumformer, subset: Subset, settings: EvalSettings) -> JsonDocument:
    """The scores of a model with a head: one answer for each record that has the value.

    Raises:
        StoreError: no record has it.
    """
    assert loaded.judge is not None  # noqa: S101  # asked before
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
            warn(f"{store.name}: {asked.head.target} is no number in {count - len(scored)} records, which are left out")
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
    return {"head": entry, "records": len(scored), "records_available": subset.available}


def _questions(asked: Judge, subset: Subset, rows: NDArray[np.int64]) -> list[Question]:
    records = subset.store.read(rows)
    values = decode_records(records, subset.store.vocabulary)
    questions = [asked.question(Record(name, value)) for name, value in zip(records.ids, values, strict=True)]
    return [question for question in questions if question.known is not None]


def hidden_share(loaded: LoadedNumformer, settings: EvalSettings) -> float | None:
    """How much of a record is hidden at once; None: one number at a time."""
    if settings.masking == "single" or (loaded.model.section.causal and not loaded.tokenization.encoding.continuous):
        return None
    return settings.share or loaded.mask_probability or ObjectiveSection().mask_probability


def read_records(store: RecordStore, rows: NDArray[np.int64], loaded: LoadedNumformer) -> Records:
    """Records in the model's language.

    Raises:
        StoreError: the store has keys that the model does not know.
    """
    language = loaded.tokenization.language
    missing = [path for path in store.key_paths if path not in set(language.key_paths)]
    if missing:
        raise StoreError(
            f"{store.path}: the model knows no number at {missing[0]}"
            + (f", nor at {len(missing) - 1} other key paths of the data" if len(missing) > 1 else ""),
            hint="finetune on such data first: it learns tokens for new keys",
        )
    return language.reader(language_of(store))(store.read(rows))


def _examined(
    subset: Subset,
    records: Records,
    passes: NDArray[np.int64],
    methods: dict[str, NDArray[np.float64]],
    *,
    quantiles: NDArray[np.float64],
    loaded: LoadedNumformer,
) -> Examined:
    asked = (passes >= 0) & np.isfinite(records.numbers)
    owners = np.repeat(np.arange(len(records)), records.number_lengths)
    return Examined(
        record=owners[asked],
        key=records.number_keys[asked].astype(np.int64),
        truth=records.numbers[asked],
        answers={name: values[asked] for name, values in methods.items()},
        quantiles=quantiles[asked],
        levels=loaded.model.section.quantiles,
        held_out=subset.store.held_out(subset.rows),
        key_paths=records.key_paths,
        statistics=subset.store.statistics,
    )


def _subset(
    store: RecordStore, loaded: LoadedNumformer, split: Split, limit: int | None, settings: EvalSettings
) -> Subset:
    """The records to score, after everything that could stop it has been looked at."""
    rows = store.rows(split)
    if len(rows) == 0:
        raise StoreError(
            f"{store.path}: no record is in the split {split}; there are {dict(store.store.manifest.splits)}",
            hint="choose another --split, or prepare the store from more records",
        )
    most = min(settings.max_records, limit or settings.max_records, len(rows))
    # Evenly spread, so that held-out records are among them as often as among all.
    chosen = rows[(np.arange(most, dtype=np.int64) * 2 + 1) * len(rows) // (2 * most)]
    tokenization = loaded.tokenization
    lengths = tokenization.lengths(store.lengths()[chosen], store.number_counts()[chosen])
    fits = lengths <= tokenization.context
    if not fits.all():
        warn(
            f"{store.name}: {int((~fits).sum())} of {len(chosen)} records are longer than the model's context of "
            f"{tokenization.context} tokens (up to {int(lengths.max())}) and are left out"
        )
    if not fits.any():
        raise StoreError(
            f"{store.path}: no record fits the model's context of {tokenization.context} tokens",
            hint="prepare again with longer_than_context=split",
        )
    return Subset(store, chosen[fits], len(rows))
