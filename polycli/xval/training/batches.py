"""Stores to batches: which records a step takes, in which micro-batches, and with what hidden.

All of it is a pure function of (seed, step). Records are gone through in a shuffled order without end. As many of them
as make `data.bucket_batches` global batches are sorted by length and dealt out to batches of like length, which are
then taken in a shuffled order (`polycli.xval.training.dealing`). Nothing is dropped, and a record is padded to little
more than its own length.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from polycli.checkpoints.trained_on import TrainedOn
from polycli.console import warn
from polycli.engine.batches.order import shuffled
from polycli.engine.batches.plan import check_division
from polycli.engine.task import Batch, World
from polycli.errors import StoreError
from polycli.requests import Split
from polycli.sections import TrainSection
from polycli.workflow.overlap import trained_entry
from polycli.xval.data.collate import Tokenization, collate_causal, collate_masked
from polycli.xval.data.pool import Pool, RecordPool, Rows
from polycli.xval.data.store import RecordStore
from polycli.xval.recipe.model import DataSection, ObjectiveSection
from polycli.xval.records.classes import Column, columns_of
from polycli.xval.records.keypaths import refuse_unknown
from polycli.xval.records.limits import without_limits
from polycli.xval.records.records import Records
from polycli.xval.records.structure import NUM
from polycli.xval.training.blanks import blank_classes
from polycli.xval.training.dealing import FEWEST_BATCHES, bucket_of, deal
from polycli.xval.training.described import PoolPart, StoreUse
from polycli.xval.training.key_shuffling import shuffle_keys
from polycli.xval.training.masking import MaskCount, Masking, Words, record_seeds

SPLITS_USED: tuple[Split, Split] = ("train", "validation")


class Reader(Protocol):
    """Makes batches of records, whatever the model is to say of them."""

    @property
    def pool(self) -> Pool:
        """The records that are read."""
        ...

    def read(self, numbers: Rows, seeds: Words) -> Batch:
        """The batch of some records, each with the seed of what is random about it."""
        ...

    def count(self, numbers: Rows, seeds: Words) -> MaskCount:
        """Counts the tokens and numbers, or the records, that the model is asked about in these records."""
        ...


class Step:
    """The records of one global batch, and how much of them is hidden: the means of the loss are over all of it."""

    def __init__(self, reader: Reader, numbers: Rows, seeds: Words) -> None:
        self.reader, self.numbers, self.seeds = reader, numbers, seeds
        self._lock = threading.Lock()

    def count(self) -> MaskCount:
        """Predicted tokens and numbers of the whole global batch; readers of one step share it."""
        with self._lock:
            return self._count

    @cached_property
    def _count(self) -> MaskCount:
        return self.reader.count(self.numbers, self.seeds)


@dataclass
class RecordBatch:
    """Some records of a step, not yet read: a micro-batch."""

    step: Step
    places: slice
    weight: float
    samples: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.samples = tuple(self.step.reader.pool.sample(int(number)) for number in self.numbers)

    @property
    def numbers(self) -> Rows:
        """The records, by their numbers in the pool."""
        return self.step.numbers[self.places]

    def load(self) -> Batch:
        """Read it: what `collate` gives, with the key of every number target and the divisors of the loss."""
        batch = self.step.reader.read(self.numbers, self.step.seeds[self.places])
        count, share = self.step.count(), len(self.numbers) / len(self.step.numbers)
        batch["divisors"] = torch.tensor([max(count.tokens, 1) * share, max(count.numbers, 1) * share])
        return batch


@dataclass(frozen=True)
class FillInReader:
    """Reads records and hides what is to be filled in, or, where causal, asks for every next token."""

    pool: RecordPool
    tokenization: Tokenization
    masking: Masking
    causal: bool
    #: Whether each reading of a record has its keys in another order.
    shuffles: bool = False
    #: By the token of their key: columns whose values are hidden whole; none where single tokens alone are hidden.
    columns: Mapping[int, Column] = field(default_factory=dict)

    def read(self, numbers: Rows, seeds: Words) -> Batch:
        """The batch of some records; `number_keys` (M,) says under which key path each number target stands."""
        if self.causal:
            records = self._records(numbers, seeds)
            batch, targets = collate_causal(records, self.tokenization)
        else:
            records, hidden = self._hidden(numbers, seeds)
            batch, targets = collate_masked(records, hidden, self.tokenization)
        batch["number_keys"] = torch.from_numpy(records.number_keys[targets].astype(np.int64))
        return batch

    def count(self, numbers: Rows, seeds: Words) -> MaskCount:
        """Counts the tokens and numbers that are predicted in these records."""
        lengths, number_lengths = self.pool.lengths[numbers], self.pool.number_lengths[numbers]
        if self.causal:
            tokens = self.tokenization.lengths(lengths, number_lengths) - 1
            return MaskCount(int(tokens.sum()), int(number_lengths.sum()))
        if self.masking.everything and not self.columns and not self.tokenization.limit_keys:
            count = self.masking.count(lengths, number_lengths, seeds)
        else:
            records, hidden = self._hidden(numbers, seeds)
            count = MaskCount(int(hidden.sum()), int(hidden[records.token_ids == NUM].sum()))
        more = count.numbers * (self.tokenization.encoding.tokens_per_number - 1)
        return MaskCount(count.tokens + more, count.numbers)

    def _records(self, numbers: Rows, seeds: Words) -> Records:
        records = self.pool.read(numbers)
        return shuffle_keys(records, seeds) if self.shuffles else records

    def _hidden(self, numbers: Rows, seeds: Words) -> tuple[Records, NDArray[np.bool_]]:
        """Some records and which of their tokens are hidden; a limit is null where its number is hidden."""
        records, hidden = self._drawn(self._records(numbers, seeds), seeds)
        limits = self.tokenization.limit_keys
        if not limits:
            return records, hidden
        of_numbers, key_ids = hidden[records.token_ids == NUM], self.tokenization.language.vocabulary.key_ids
        records, kept, nulls = without_limits(records, of_numbers, limits, key_ids)
        return records, hidden[kept] & ~nulls

    def _drawn(self, records: Records, seeds: Words) -> tuple[Records, NDArray[np.bool_]]:
        """Some records, of which classes may be cut, and which of their tokens are drawn."""
        if not self.columns:
            return records, self.masking.draw(records, seeds)
        probability, whole = self.masking.probability, self.masking.values
        blanked = blank_classes(records, self.columns, seeds, probability, others_shown=whole)
        return blanked.records, blanked.settle(self.masking.draw(blanked.records, seeds))


@dataclass(frozen=True)
class ValidationPart:
    """One rank's share of the records that validate: chunk c of them goes to rank c modulo the number of ranks."""

    batches: tuple[RecordBatch, ...]
    #: How many records of each batch are real; the rest are repeats, so that all ranks call forward equally often.
    real: tuple[int, ...]


class RecordBatches:
    """The order of training, and the fixed records of validation."""

    def __init__(
        self, training: Reader, held_back: Reader, tokenization: Tokenization, *, data: DataSection, train: TrainSection
    ) -> None:
        """Raise StoreError where no record trains."""
        self.training, self.held_back, self.tokenization = training, held_back, tokenization
        self.data, self.train = data, train
        if not len(training.pool):
            raise StoreError(
                f"{', '.join(str(store.store.path) for store in training.pool.stores)}: no record is there to train on",
                hint="prepare the store again from more records",
            )
        self._name = "+".join(store.name for store in training.pool.stores)
        self._buckets = lru_cache(maxsize=2)(self._bucket)

    def check_division(self, world_size: int) -> None:
        """Raise RecipeError where the global batch cannot be shared out to this many ranks."""
        check_division(self.train.global_batch_size, 1, world_size, [self.train.micro_batch_size])

    def step(self, step: int) -> Step:
        """The global batch of a step, longest records first; a pure function of (seed, step)."""
        bucket, place = divmod(step, self._bucket_batches)
        numbers, passes = self._buckets(bucket)
        return Step(self.training, numbers[place], self._seeds(self.training.pool, numbers[place], passes[place]))

    def micro_batches(self, step: int, world: World) -> list[RecordBatch]:
        """One rank's part of a step. Micro-batches of equal place have neighbours in length on all ranks."""
        whole, size = self.step(step), self.train.micro_batch_size
        turns = len(whole.numbers) // (size * world.size)
        starts = [(turn * world.size + world.rank) * size for turn in range(turns)]
        return [RecordBatch(whole, slice(start, start + size), 1 / turns) for start in starts]

    def costliest(self, world: World) -> list[RecordBatch]:
        """A micro-batch of this rank with the longest records: nothing that training meets takes more memory."""
        pool, size = self.training.pool, self.train.micro_batch_size
        longest = np.argsort(-self._lengths(pool), kind="stable")[: size * world.size]
        numbers = np.resize(longest, size * world.size)
        whole = Step(self.training, numbers, self._seeds(pool, numbers, 0))
        return [RecordBatch(whole, slice(world.rank * size, (world.rank + 1) * size), 1.0)]

    def validation(self, world: World) -> ValidationPart:
        """This rank's part of the records that validate; the same ones, with the same hidden, every time."""
        pool = self.held_back.pool
        count = min(self.data.validation_records, len(pool))
        chosen = (np.arange(count, dtype=np.int64) * 2 + 1) * len(pool) // (2 * max(count, 1))
        chosen = chosen[np.argsort(-self._lengths(pool)[chosen], kind="stable")]
        if not count:
            return ValidationPart((), ())
        size = min(self.train.micro_batch_size, count)
        turns = math.ceil(count / (size * world.size))
        numbers = np.resize(chosen, turns * world.size * size)
        whole = Step(self.held_back, numbers, self._seeds(pool, numbers, 0, purpose="validation"))
        starts = [(turn * world.size + world.rank) * size for turn in range(turns)]
        return ValidationPart(
            tuple(RecordBatch(whole, slice(start, start + size), 1.0) for start in starts),
            tuple(min(max(count - start, 0), size) for start in starts),
        )

    def padding_share(self, steps: int = 64) -> float:
        """The part of the tokens of the first `steps` steps that is padding, from lengths alone."""
        tokens = cells = 0
        for step in range(steps):
            lengths = self._lengths(self.training.pool)[self.step(step).numbers]
            for chunk in lengths.reshape(-1, self.train.micro_batch_size):
                tokens, cells = tokens + int(chunk.sum()), cells + len(chunk) * int(chunk.max())
        return 1 - tokens / cells

    def summary(self) -> dict[str, StoreUse]:
        """Describes each store and how much of it is used, as data.json has it."""
        return {
            store.name: StoreUse(
                path=str(store.store.path.resolve()),
                store_hash=store.store.manifest.store_hash,
                training=_part(self.training.pool, index),
                validation=_part(self.held_back.pool, index),
            )
            for index, store in enumerate(self.training.pool.stores)
        }

    def trained_on(self) -> dict[str, TrainedOn]:
        """Maps each store to its hash and the content hashes of the records that train."""
        pool = self.training.pool
        return {
            store.name: trained_entry(store.store, pool.row_of[pool.store_of == index])
            for index, store in enumerate(pool.stores)
        }

    def mean_length(self) -> float:
        """Tokens of a training record as the model sees it, on average."""
        return float(self._lengths(self.training.pool).mean())

    def _lengths(self, pool: Pool) -> NDArray[np.int64]:
        return self.tokenization.lengths(pool.lengths, pool.number_lengths)

    def _bucket(self, bucket: int) -> tuple[Rows, Rows]:
        """(batches, records): the records of the next `bucket_batches` steps and how often each was seen before."""
        batches, size = self._bucket_batches, self.train.global_batch_size
        key = (self.train.seed, self._name)
        numbers, passes = bucket_of(bucket, (batches, size), len(self.training.pool), *key)
        places = deal(numbers, self._lengths(self.training.pool)[numbers], batches)
        turn = shuffled(np.arange(batches, dtype=np.int64), batches, *key, "buckets", bucket)
        return numbers[places][turn], passes[places][turn]

    @property
    def _bucket_batches(self) -> int:
        return max(FEWEST_BATCHES, self.data.bucket_batches)

    def _seeds(self, pool: Pool, numbers: Rows, passes: Rows | int, *, purpose: str = "train") -> Words:
        seeds = np.empty(len(numbers), dtype=np.uint64)
        rounds = np.broadcast_to(np.asarray(passes), numbers.shape)
        for index, store in enumerate(pool.stores):
            mine = pool.store_of[numbers] == index
            rows = pool.row_of[numbers[mine]]
            seeds[mine] = record_seeds(self.train.seed, store.name, rows, rounds[mine], purpose=purpose)
        return seeds


def _part(pool: Pool, index: int) -> PoolPart:
    mine = pool.store_of == index
    return PoolPart(
        records=int(mine.sum()),
        tokens=int(pool.lengths[mine].sum()),
        numbers=int(pool.number_lengths[mine].sum()),
    )


def fill_in_batches(
    stores: Sequence[RecordStore],
    tokenization: Tokenization,
    *,
    data: DataSection,
    objective: ObjectiveSection,
    train: TrainSection,
) -> RecordBatches:
    """The batches of masked, or causal, training.

    Raises:
        StoreError: no record trains, or one is too long for the model.
        RecipeError: a pattern of `objective.keys` fits no key path.
    """
    refuse_unknown(objective.keys, tokenization.language.key_paths, where="objective.keys")
    masking = Masking(objective, tokenization.language.key_paths)
    columns = columns_of(tokenization.classes, tokenization.language.vocabulary)
    # What validates stands in the order that predict brings records into.
    shuffles = {"train": data.shuffle_keys, "validation": False}
    training, held_back = (
        FillInReader(
            open_pool(stores, split, tokenization, data),
            tokenization,
            masking,
            tokenization.ends,
            shuffles[split],
            columns,
        )
        for split in SPLITS_USED
    )
    return RecordBatches(training, held_back, tokenization, data=data, train=train)


def open_pool(stores: Sequence[RecordStore], split: Split, tokenization: Tokenization, data: DataSection) -> RecordPool:
    """The records of a split that the model can take.

    Raises:
        StoreError: some are too long, and the recipe does not say to leave them out.
    """
    stores = sorted(stores, key=lambda store: store.name)  # the order of --data must not matter
    pool = RecordPool(stores, [store.rows(split)[: data.limit] for store in stores], tokenization.language)
    lengths = tokenization.lengths(pool.lengths, pool.number_lengths)
    long = lengths > tokenization.context
    if not long.any():
        return pool
    first = int(np.flatnonzero(long)[0])
    sentence = (
        f"{int(long.sum())} of {len(pool)} {split} records are longer than model.context {tokenization.context} "
        f"({pool.sample(first)} is the first, with {lengths[first]} tokens; the longest has {lengths.max()})"
    )
    if data.too_long == "refuse":
        raise StoreError(
            sentence,
            hint=f"--set model.context={int(lengths.max())}, --set data.too_long=drop, or prepare again with "
            "longer_than_context=split",
        )
    warn(f"{sentence}; they are left out")
    return pool.where(~long)
