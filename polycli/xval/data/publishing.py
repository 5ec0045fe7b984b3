"""Turns staged blocks into a store: vocabulary, hold-outs, splits, statistics of the training rows, coverage."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import cast

import numpy as np
from numpy.typing import NDArray

from polycli.console import first_few, warn
from polycli.errors import RecipeError, SourceError
from polycli.json_records import JsonObject, to_object
from polycli.requests import Split
from polycli.store.blocks import BlockBuilder, ColumnSpec, Ragged, StagedRows
from polycli.store.hashing import canonical_hash
from polycli.store.manifest import LeftOut, SourceFile
from polycli.store.splits import describe_split, group_hashes, split_many, split_rows
from polycli.workflow import left_out
from polycli.xval.data.coverage import KeyCoverage, refuse_immense, report_of
from polycli.xval.data.description import CoverageReport, KeyReport, RecordsAbout
from polycli.xval.data.holdout import held_out, kept_out, rules_of
from polycli.xval.data.notes import BlockNote
from polycli.xval.data.relabel import NamedRows, Names
from polycli.xval.data.source import Block, Opened
from polycli.xval.data.staging import StageTask, staged_key
from polycli.xval.numbers.scaling import make_scaling
from polycli.xval.numbers.statistics import NumberStatistics, NumberSums
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.records.keypaths import refuse_unknown
from polycli.xval.records.vocabulary import Vocabulary

#: Key paths that a warning shows.
_SHOWN = 5


@dataclass(frozen=True)
class Plan:
    """A store to be. The fingerprint is of everything that decides its content."""

    target: Path
    opened: Opened
    recipe: PrepareRecipe
    sources: tuple[SourceFile, ...]
    options: JsonObject
    fingerprint: str

    @classmethod
    def of(
        cls, target: Path, opened: Opened, recipe: PrepareRecipe, sources: Sequence[SourceFile], *, source: str
    ) -> Plan:
        """Equal sources, blocks and options give an equal fingerprint, wherever the files lie."""
        decided = {
            "text_keys",
            "hold_out",
            "group_by",
            "duplicates",
            "longer_than_context",
            "context",
            "scaling",
            "split",
        }
        options = {
            "source": source,
            **recipe.model_dump(mode="json", include={*decided, "duplicates", "vocabulary", "coverage"}),
            "of_source": opened.options,
        }
        fingerprint = canonical_hash(
            {
                "layout": 1,
                "name": target.stem,
                "sources": [file.model_dump(mode="json") for file in sources],
                "blocks": [[block.key, block.size] for block in opened.blocks],
                "about": to_object(opened.about),
                "options": options,
            }
        )
        return cls(target, opened, recipe, tuple(sources), options, fingerprint)

    @property
    def keys(self) -> list[str]:
        """One piece of work for each block."""
        return list(self._blocks)

    def task(self, key: str) -> StageTask:
        """Returns the work of one block."""
        return StageTask(self.target, self.fingerprint, self._blocks[key], self.recipe)

    def is_staged(self, key: str) -> bool:
        """Whether a block is read."""
        return BlockBuilder(self.target, fingerprint=self.fingerprint).record(staged_key(self._blocks[key])) is not None

    def publish(self) -> Path:
        """Makes the store of the staged rows and returns its path; see the function `publish`."""
        return publish(self)

    @cached_property
    def _blocks(self) -> dict[str, Block]:
        return {block.key: block for block in self.opened.blocks}


def publish(plan: Plan) -> Path:
    """Make the store of a plan whose blocks are all staged.

    Raises:
        SourceError: no record is left, or numbers are such that the model could not compute with them.
        RecipeError: a key that the recipe names does not exist, or there are more keys than a vocabulary should have.
    """
    builder = BlockBuilder(plan.target, fingerprint=plan.fingerprint)
    keys = [staged_key(block) for block in plan.opened.blocks]
    notes = [cast("BlockNote", note) for key in keys if (note := builder.record(key)) is not None]
    ids_given = any(plan.opened.options.get(key) for key in ("id_key", "id_column"))
    chosen = plan.recipe.duplicates
    staged = builder.rows(keys, drop_duplicates=chosen != "keep", ids_tell=chosen is None and ids_given)
    rejected = [LeftOut(**left) for note in notes for left in note["rejected"]]
    left_out.summarise(
        "left out", [*rejected, *staged.duplicates], kind=_kind, show=lambda left: left.id, rows=("record", "records")
    )
    if not len(staged):
        if not rejected:
            raise SourceError("the input holds no records")
        reasons = left_out.reasons_of(rejected)
        raise SourceError(f"there are no records to publish: {len(rejected)} were rejected: {reasons}")
    id_key = plan.opened.options.get("id_key")
    names = _names(notes, plan.recipe, None if id_key is None else str(id_key))
    rows = NamedRows(staged, names)
    marks, groups = _marks(rows, names, plan.recipe), _groups(rows)
    splits, rule = _splits(rows, marks, groups, plan.recipe)
    statistics, coverage = _statistics(rows, _are(splits, "train"), names, plan.recipe)
    report = report_of(
        notes,
        records=len(rows),
        keys=coverage,
        rejected=len(rejected),
        duplicates=len(staged.duplicates),
        saturation=plan.recipe.coverage.saturation_limit,
    )
    _warn_of_mixed_types(report)
    rules = rules_of(plan.recipe.hold_out)
    about = RecordsAbout(
        vocabulary=Vocabulary(names.keys).to_json(),
        key_paths=names.key_paths,
        hold_out=tuple({"pattern": rule.pattern, "low": rule.low, "high": rule.high} for rule in rules),
        held_out={rule.name: int(marks[:, column].sum()) for column, rule in enumerate(rules)},
        group_by=plan.recipe.group_by,
        text_keys=plan.recipe.text_keys,
        scaling=plan.recipe.scaling,
        coverage=report,
        source=to_object(plan.opened.about),
    )
    columns = {"token_ids": ColumnSpec(), "numbers": ColumnSpec(), "number_keys": ColumnSpec()}
    if groups is not None:
        columns["group"] = ColumnSpec()
    return builder.publish(
        rows,
        columns,
        family="xval",
        name=plan.target.stem,
        splits=splits,
        split_rule=rule,
        row_ids_given=ids_given,
        statistics={"numbers": {path: known.as_dict() for path, known in statistics.items()}},
        row_axis="record",
        arrays={"held_out": marks.astype(np.uint8)},
        dims={"held_out": ("record", "rule")},
        sources=plan.sources,
        rejected=(*rejected, *staged.duplicates),
        about=about.model_dump(mode="json"),
        options=plan.options,
    )


def _warn_of_mixed_types(report: CoverageReport) -> None:
    """Say in one line where numbers and texts stand at the same key path."""
    mixed = [
        f"{path} ({counts['numbers']} numbers, {counts['texts']} texts)" for path, counts in report.mixed_types.items()
    ]
    if mixed:
        warn(f"numbers and texts at the same key paths, both kept as they are: {first_few(mixed, _SHOWN)}")


def _are(splits: Sequence[Split], wanted: Split) -> NDArray[np.bool_]:
    return np.fromiter((split == wanted for split in splits), dtype=np.bool_, count=len(splits))


def _kind(left: LeftOut) -> str:
    return "duplicate" if left.reason.startswith("duplicate of") else left.reason


def _names(notes: Iterable[BlockNote], recipe: PrepareRecipe, id_key: str | None) -> Names:
    """All keys and key paths in the order in which blocks met them, after a look at what the recipe says of them."""
    keys: dict[str, None] = {}
    number_paths: dict[str, None] = {}
    all_paths: dict[str, None] = {}
    for note in notes:
        keys.update(dict.fromkeys(note["keys"]))
        number_paths.update(dict.fromkeys(note["key_paths"]))
        all_paths.update(dict.fromkeys(note["all_paths"]))
    refuse_unknown(recipe.text_keys, list(all_paths), where="text_keys")
    refuse_unknown(recipe.vocabulary.spell_keys, list(all_paths), where="vocabulary.spell_keys")
    # Of the sources that read it; to others the recipe's section means nothing.
    refuse_unknown([id_key] if id_key else [], list(all_paths), where="json_lines.id_key")
    refuse_unknown([recipe.group_by] if recipe.group_by else [], list(all_paths), where="group_by")
    refuse_unknown(recipe.hold_out, list(number_paths), where="hold_out")
    refuse_unknown(recipe.scaling.keys, list(number_paths), where="scaling.keys")
    if len(keys) > recipe.vocabulary.max_keys:
        like = difflib.get_close_matches(next(reversed(keys)), list(keys)[:2000], n=3)
        raise RecipeError(
            f"the data has {len(keys)} different keys, such as {', '.join(map(repr, like))}; "
            f"vocabulary.max_keys is {recipe.vocabulary.max_keys}",
            hint="if keys are names, spell them: --set 'vocabulary.spell_keys=[PATH.*]'; else allow more",
        )
    return Names(list(keys), list(number_paths))


def _marks(rows: StagedRows, names: Names, recipe: PrepareRecipe) -> NDArray[np.bool_]:
    """(records, rules): what each rule holds out."""
    rules = rules_of(recipe.hold_out)
    if not rules:
        return np.zeros((len(rows), 0), dtype=np.bool_)
    parts = []
    for block in rows.blocks("numbers", "number_keys"):
        numbers, codes = block["numbers"], block["number_keys"]
        assert isinstance(numbers, Ragged)  # noqa: S101  # staging wrote it so
        assert isinstance(codes, Ragged)  # noqa: S101
        parts.append(held_out(rules, names.key_paths, numbers.values, codes.values >> 1, numbers.offsets))
    return np.concatenate(parts)


def _groups(rows: StagedRows) -> list[str] | None:
    """The group of every record; None where none has one."""
    column = rows.column("group")
    assert isinstance(column, Ragged)  # noqa: S101  # staging wrote it so
    return column.strings() if len(column.values) else None


def _splits(
    rows: StagedRows, marks: NDArray[np.bool_], groups: list[str] | None, recipe: PrepareRecipe
) -> tuple[list[Split], str]:
    """The split of every record, and the rule in one sentence."""
    section = recipe.split
    if groups is None and not marks.any():
        many = split_many(rows.hashes, validation=section.validation, test=section.test)
        if many is not None:
            return many, describe_split(many, validation=section.validation, test=section.test)
    hashes = rows.hex_hashes()
    if groups is not None:
        # A record without a group is one of its own.
        hashes = [
            of_group if name else own for name, own, of_group in zip(groups, hashes, group_hashes(groups), strict=True)
        ]
    out = kept_out(marks, groups)
    free = [digest for digest, held in zip(hashes, out, strict=True) if not held]
    if not free:
        raise RecipeError(
            "hold_out holds every record out, so that none is left to train on", hint="narrow its intervals"
        )
    chosen = split_rows(free, validation=section.validation, test=section.test)
    if len(set(free)) == 1:
        warn("all records are one group, or there is one alone: it trains, and nothing is left to validate or test on")
    rest = iter(chosen)
    splits: list[Split] = ["test" if held else next(rest) for held in out]
    by = "content" if groups is None else f"group ({recipe.group_by or 'of the source'})"
    rule = describe_split(splits, validation=section.validation, test=section.test, by=by)
    if any(out):
        rule += f"; {sum(out)} records that hold_out names, or of their groups, test"
    return splits, rule


def _statistics(
    rows: StagedRows, train: NDArray[np.bool_], names: Names, recipe: PrepareRecipe
) -> tuple[dict[str, NumberStatistics], dict[str, KeyReport]]:
    """Computes, for each key path, statistics of the training rows and the coverage of all rows.

    Raises:
        SourceError: the model could not compute with the numbers as they would be scaled.
    """
    of_training, of_all = NumberSums(), NumberSums()
    for numbers, keys, owners in _numbers(rows):
        refuse_immense(numbers, keys, names.key_paths)
        mask = train[owners]
        of_training.update(numbers[mask], keys[mask])
        of_all.update(numbers, keys)
    statistics = of_training.statistics(names.key_paths)
    coverage = KeyCoverage(make_scaling(recipe.scaling, names.key_paths, statistics), names.key_paths, recipe.coverage)
    for numbers, keys, _ in _numbers(rows):
        coverage.update(numbers, keys)
    coverage.refuse()
    return statistics, coverage.report(of_all)


def _numbers(rows: StagedRows) -> Iterable[tuple[NDArray[np.float64], NDArray[np.int32], NDArray[np.int64]]]:
    """Numbers, places of their key paths, and the rows that they are of, block after block."""
    start = 0
    for block in rows.blocks("numbers", "number_keys"):
        numbers, codes = block["numbers"], block["number_keys"]
        assert isinstance(numbers, Ragged)  # noqa: S101  # staging wrote it so
        assert isinstance(codes, Ragged)  # noqa: S101
        owners = np.repeat(np.arange(start, start + len(numbers)), numbers.lengths)
        start += len(numbers)
        yield np.asarray(numbers.values), codes.values >> 1, owners
