"""Embeds some rows again and compares them with what is published: the same columns, and the same vectors.

Whole batches are drawn, because a vector depends on its batch in the last digits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycli.errors import CheckpointError, StoreError
from polycli.store.embeddings.hats_reading import HatsRows
from polycli.store.embeddings.manifest import ROWS
from polycli.store.embeddings.plan import SourcePlan
from polycli.store.embeddings.reading import EmbeddingRows
from polycli.workflow.embedding.quarantine import Quarantine, embedded
from polycli.workflow.embedding.rows import Batch, Opened, Rows

if TYPE_CHECKING:
    import pyarrow as pa

#: A vector agrees where it differs by less than this share of its length: sums in another order, on another machine,
#: change a float32 network by some 1e-6; float16 has three digits.
_AGREES = {"float32": 1e-4, "float16": 2e-3}


@dataclass(frozen=True)
class Agreement:
    """The outcome of a comparison in which all rows agreed."""

    rows: int
    #: Rows whose vectors are equal bit for bit.
    equal: int
    #: The largest difference of a vector, as a share of its length.
    largest: float

    def __str__(self) -> str:
        return (
            f"{self.rows} rows embedded again agree, {self.equal} bit for bit; the largest difference is "
            f"{self.largest:.1e} of a vector's length"
        )


def compare_sample(path: Path, manifest: Mapping[str, Any], opened: Opened[Batch], *, rows: int) -> Agreement:
    """Embed a random sample of at least so many rows again, as far as there are any, and compare.

    Args:
        path: the embeddings.
        manifest: what they say of themselves.
        opened: the model and data that they are said to be of, or some of these data.
        rows: how many rows to embed.

    Raises:
        CheckpointError: the model is another one.
        StoreError: the data are not in these embeddings, or a row does not agree.
    """
    model = manifest["provenance"]["model_hash"]
    if opened.header.provenance["model_hash"] != model:
        raise CheckpointError(
            f"{opened.header.provenance.get('checkpoint')}: is another model than that of {path}: "
            f"{opened.header.provenance['model_hash'][:12]}, {model[:12]} was expected",
            hint=f"these embeddings are of {manifest['provenance'].get('checkpoint')}",
        )
    sources = [SourcePlan.model_validate(source) for source in manifest.get("sources") or ()]
    starts = np.cumsum([0, *(source.rows or 0 for source in sources)])
    there = {source.identity: index for index, source in enumerate(sources)}
    for each in opened.rows:
        if each.identity not in there:
            raise StoreError(
                f"{path}: was not made of {each.name} as it is now: it holds {', '.join(s.name for s in sources)}",
                hint="give the store or files as they were embedded",
            )
    published = HatsRows(path) if path.suffix == ".hats" else EmbeddingRows(path)
    draw = np.random.default_rng(0)
    done = equal = 0
    largest = 0.0
    for each in opened.rows:
        index = there[each.identity]
        wanted = -(-rows // len(opened.rows))
        for first, batch in _batches(each, sources[index], wanted, draw):
            aside = Quarantine()
            tables = embedded(each, [batch], int(starts[index]) + first, lambda _: None, aside)
            if tables is None:
                continue
            made = tables[ROWS]
            known = _published(published, made, int(starts[index]) + first, manifest, path)
            differences = _differences(made, known, path)
            done, equal = done + len(made), equal + int((differences == 0).sum())
            largest = max(largest, float(differences.max()))
    return Agreement(done, equal, largest)


def _batches(
    rows: Rows[Batch], source: SourcePlan, wanted: int, draw: np.random.Generator
) -> Iterator[tuple[int, Batch]]:
    """Some whole batches at random, each with the index of its first row."""
    total = source.rows or 0
    count = -(-total // source.batch_rows)
    chosen = np.sort(draw.permutation(count)[: max(1, -(-wanted // source.batch_rows))])
    if rows.take is not None:
        for number in chosen.tolist():
            first = number * source.batch_rows
            yield first, rows.take(first, min(first + source.batch_rows, total))
        return
    for number, batch in enumerate(rows.stream):
        if number in chosen:
            yield number * source.batch_rows, batch


def _published(
    published: EmbeddingRows | HatsRows, made: pa.Table, first: int, manifest: Mapping[str, Any], path: Path
) -> pa.Table:
    """The published rows that stand for these: at their index, or before it by as many as were put aside until then.

    A HATS collection is not in the order of the data, and is asked by id and position.
    """
    columns = [name for name in made.column_names if name not in manifest["vectors"]]
    for shift in range(1 if isinstance(published, HatsRows) else int(manifest.get("quarantined") or 0) + 1):
        if first - shift < 0:
            break
        if isinstance(published, HatsRows):
            known = published.find(made, columns)
        else:
            known = published.read(first - shift, first - shift + len(made))
        # zarr has no unknown integers; there a value stands for none.
        gaps = path.suffix == ".zarr"
        if all(_same(made[name], known[name], gaps=gaps) for name in columns if name in known.column_names):
            return known
    names = ", ".join(str(value) for value in made[columns[0]].to_pylist()[:2]) if columns else "some"
    raise StoreError(f"{path}: its rows for {names}, ... have other columns than the data now", hint="make it again")


def _same(one: pa.ChunkedArray, other: pa.ChunkedArray, *, gaps: bool) -> bool:
    """Whether values are equal, unknown ones too; with `gaps`, anything may stand for an unknown one."""

    def plain(values: Sequence[Any]) -> list[Any]:
        return [None if value != value or value == "" else value for value in values]  # noqa: PLR0124  # NaN.

    first, second = plain(one.to_pylist()), plain(other.to_pylist())
    pairs = zip(first, second, strict=False)
    return len(first) == len(second) and all(a == b or (gaps and a is None) for a, b in pairs)


def _differences(made: pa.Table, known: pa.Table, path: Path) -> NDArray[np.float64]:
    """Returns the largest difference of the vectors of each row, as a share of their lengths.

    Raises:
        StoreError: a row differs by more than rounding.
    """
    worst = np.zeros(len(made))
    for name in [name for name in made.column_names if _is_vector(made, name)]:
        new, old = _vectors(made, name), _vectors(known, name)
        # HATS has float16 whatever the model gives, rounded once.
        new = new.astype(old.dtype)
        kind = str(new.dtype)
        length = np.linalg.norm(new.astype(np.float64), axis=1)
        apart = np.linalg.norm(new.astype(np.float64) - old.astype(np.float64), axis=1) / np.maximum(length, 1e-30)
        row = int(apart.argmax())
        if not apart[row] <= _AGREES[kind]:
            first = made.column_names[0]
            raise StoreError(
                f"{path}: {name} of {first} {made[first][row]} differs by {apart[row]:.2g} of its length from what the "
                "checkpoint gives",
                hint="the vectors were changed, or made otherwise: make them again",
            )
        worst = np.maximum(worst, apart)
    return worst


def _is_vector(table: pa.Table, name: str) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_fixed_size_list(table[name].type))


def _vectors(table: pa.Table, name: str) -> NDArray[Any]:
    flat = table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return np.asarray(flat).reshape(len(table), -1)
