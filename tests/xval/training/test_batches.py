"""Batches are pure functions of (seed, step), lose no record, pad little, and hide the same under every encoding."""

from collections import Counter

import numpy as np
import pytest
import torch

from polycli.engine.task import World
from polycli.errors import RecipeError, StoreError
from polycli.xval.data.collate import width_of
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.training import PretrainRecipe
from polycli.xval.records.structure import END, MASK, NUM, PAD
from polycli.xval.training.batches import fill_in_batches
from polycli.xval.training.objective import FillIn

MODEL = {"embed_dim": 24, "num_heads": 2, "blocks": 1, "feed_forward": 48, "context": 512, "dropout": 0.0}
ENCODINGS = ("xval", "multiscale", "p10", "p1000", "b1999", "fp15")


@pytest.fixture(scope="module")
def stores(planets):
    return [open_records(planets)]


def make(stores, *, model=(), data=(), objective=(), train=()):
    recipe = PretrainRecipe(
        family="xval",
        verb="pretrain",
        model={**MODEL, **dict(model)},
        data={"bucket_batches": 4, "validation_records": 10, **dict(data)},
        objective=dict(objective),
        train={"steps": 1, "global_batch_size": 16, "micro_batch_size": 4, "seed": 1, **dict(train)},
    )
    tokenization = tokenization_for(recipe.model, recipe.scaling, stores)
    batches = fill_in_batches(stores, tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train)
    return batches, recipe


def whole_step(batches, step):
    """All micro-batches of a step, on one process."""
    return [batch.load() for batch in batches.micro_batches(step, World())]


def test_a_pass_takes_every_record_once(stores):
    batches, _ = make(stores, train={"global_batch_size": 8, "micro_batch_size": 8}, data={"bucket_batches": 3})
    count = len(batches.training.pool)
    steps = -(-count // 8) + 3
    taken = np.concatenate([batches.step(step).numbers for step in range(3 * (steps // 3))])
    seen = Counter(taken.tolist())
    assert set(seen) == set(range(count))
    # Buckets reach into the next pass by less than their own size.
    assert sum(times - 1 for times in seen.values()) < 3 * 8 + 8
    assert max(seen.values()) <= 2


def test_a_small_store_never_has_a_record_twice_in_a_batch(stores):
    batches, _ = make(stores, data={"bucket_batches": 64, "limit": 30})
    assert len(batches.training.pool) < 64 * 16
    assert all(len(set(batches.step(step).numbers.tolist())) == 16 for step in range(70))


def test_steps_of_another_start_and_seed(stores):
    one, other, different = make(stores)[0], make(stores)[0], make(stores, train={"seed": 2})[0]
    # Asked in another order, as after a resume.
    expected = {step: one.step(step).numbers for step in (0, 5, 9)}
    for step in (9, 0, 5):
        np.testing.assert_array_equal(other.step(step).numbers, expected[step])
    assert not np.array_equal(different.step(0).numbers, expected[0])


@pytest.mark.parametrize("ranks", [1, 2, 4])
def test_ranks_share_a_step_and_its_loss_does_not_depend_on_them(stores, ranks):
    batches, recipe = make(stores)
    torch.manual_seed(0)
    model = FillIn(Numformer(recipe.model, batches.tokenization.tokens)).eval()
    total = 0.0
    numbers = []
    for rank in range(ranks):
        parts = batches.micro_batches(3, World(rank=rank, size=ranks))
        assert sum(part.weight for part in parts) == pytest.approx(1)
        numbers += [number for part in parts for number in part.numbers.tolist()]
        with torch.no_grad():
            total += sum(float(model(part.load())[0]) * part.weight for part in parts) / ranks
    assert sorted(numbers) == sorted(batches.step(3).numbers.tolist())
    # The mean over all hidden tokens, and over all hidden numbers, of the whole batch at once.
    alone, _ = make(stores, train={"micro_batch_size": 16})
    (batch,) = whole_step(alone, 3)
    del batch["divisors"]
    with torch.no_grad():
        expected = float(model(batch)[0])
    assert total == pytest.approx(expected, rel=1e-5)


def test_micro_batches_of_equal_place_are_of_like_length(stores):
    batches, _ = make(stores)
    lengths = batches.training.pool.lengths
    places = zip(*(batches.micro_batches(0, World(rank=rank, size=2)) for rank in (0, 1)), strict=True)
    previous = np.inf
    for one, other in places:
        found = lengths[np.concatenate([one.numbers, other.numbers])]
        assert found.max() <= previous
        previous = found.min()


def test_padding_stays_below_a_tenth(stores):
    sorted_, _ = make(stores)
    unsorted, _ = make(stores, data={"bucket_batches": 1}, train={"micro_batch_size": 16})
    assert sorted_.padding_share(8) < 0.1
    assert sorted_.padding_share(8) < unsorted.padding_share(8)
    # Measured on the batches themselves, without the alignment of rows to eight tokens.
    real = cells = 0
    for step in range(8):
        for batch in whole_step(sorted_, step):
            lengths = (batch["token_ids"] != PAD).sum(dim=1)
            real, cells = real + int(lengths.sum()), cells + len(lengths) * int(lengths.max())
    assert sorted_.padding_share(8) == pytest.approx(1 - real / cells)


def test_a_batch_hides_what_it_asks_for_and_nothing_else(stores):
    batches, _ = make(stores)
    (part, *_) = batches.micro_batches(0, World())
    batch = part.load()
    records = batches.training.pool.read(part.numbers)
    flat, numbers = batch["token_ids"].flatten(), batch["numbers"].flatten()
    restored = flat.clone()
    restored[batch["at"]] = batch["target_ids"]
    assert (flat[batch["at"]] == MASK).all()
    assert int((flat == MASK).sum()) == len(batch["at"])
    for row in range(len(records)):
        tokens = restored.reshape(len(records), -1)[row]
        assert tokens[tokens != PAD].tolist() == records.tokens_of(row).tolist()
    # Numbers: those that are shown stand at [NUM], those that are hidden are targets, all in the records' order.
    shown = numbers.clone()
    shown[batch["number_at"]] = batch["number_targets"]
    np.testing.assert_array_equal(shown[restored == NUM].numpy(), records.numbers.astype(np.float32))
    assert (numbers[flat != NUM] == 1).all()
    hidden = torch.zeros_like(flat, dtype=torch.bool)
    hidden[batch["number_at"]] = True
    np.testing.assert_array_equal(batch["number_keys"], records.number_keys[hidden[restored == NUM].numpy()])


def test_all_encodings_have_the_same_hidden(stores):
    hidden, shown = {}, {}
    for encoding in ENCODINGS:
        batches, _ = make(stores, model={"encoding": encoding})
        (part, *_) = batches.micro_batches(2, World())
        batch, width = part.load(), batches.tokenization.encoding.tokens_per_number
        vocabulary = len(batches.tokenization.language.vocabulary)
        # Tokens that are no number, and numbers, whatever they are written with.
        targets = batch["target_ids"]
        is_number = (targets == NUM) | (targets >= vocabulary)
        hidden[encoding] = (targets[~is_number].tolist(), int(is_number.sum()) / width)
        rest = batch["token_ids"]
        rest_numbers = (rest == NUM) | (rest >= vocabulary)
        shown[encoding] = (rest[~rest_numbers & (rest != MASK) & (rest != PAD)].tolist(), rest_numbers.sum() / width)
        assert batch["divisors"][0] * 4 == part.step.count().tokens
        assert part.step.count().tokens == sum(len(one["at"]) for one in whole_step(batches, 2))
    assert len({str(value) for value in hidden.values()}) == 1
    assert len({str(value) for value in shown.values()}) == 1


def test_counts_without_reading_are_the_counts_of_what_is_read(stores):
    for objective in ({}, {"keys": ["**.a"], "mask_probability": 0.5}, {"keys": ["**.a", "**.m"], "together": True}):
        batches, _ = make(stores, objective=objective)
        loaded = whole_step(batches, 1)
        count = batches.step(1).count()
        assert count.tokens == sum(len(batch["at"]) for batch in loaded)
        assert count.numbers == sum(len(batch["number_at"]) for batch in loaded)


def test_causal_batches_ask_for_every_next_token(stores):
    batches, _ = make(stores, model={"causal": True})
    (part, *_) = batches.micro_batches(0, World())
    batch = part.load()
    records = batches.training.pool.read(part.numbers)
    width = batch["token_ids"].shape[1]
    at = 0
    for row in range(len(records)):
        tokens = [*records.tokens_of(row).tolist(), END]
        assert batch["token_ids"][row, : len(tokens)].tolist() == tokens
        mine = slice(at, at + len(tokens) - 1)
        assert batch["target_ids"][mine].tolist() == tokens[1:]
        assert batch["at"][mine].tolist() == list(range(row * width, row * width + len(tokens) - 1))
        at = mine.stop
    np.testing.assert_array_equal(batch["number_targets"].numpy(), records.numbers.astype(np.float32))
    assert part.step.count().tokens == sum(len(one["at"]) for one in whole_step(batches, 0))


def test_several_stores_read_as_one_vocabulary(records_store):
    one = records_store([{"a": i, "b": {"c": i / 7}} for i in range(30)], "one")
    other = records_store([{"b": {"c": -i / 9}, "d": i} for i in range(30)], "other")
    batches, _ = make([open_records(path) for path in (other, one)], train={"global_batch_size": 8})
    language = batches.tokenization.language
    assert set(language.vocabulary.keys) == {"a", "b", "c", "d"}
    assert set(language.key_paths) == {"a", "b.c", "d"}
    pool = batches.training.pool
    records = pool.read(np.arange(len(pool)))
    for place in range(len(pool)):
        store, row = pool.stores[pool.store_of[place]], pool.row_of[place]
        names = [language.vocabulary.tokens[token] for token in records.tokens_of(place)]
        alone = store.read([row])
        assert names == [store.vocabulary.tokens[token] for token in alone.tokens_of(0)]
        part = records.numbers_of(place)
        np.testing.assert_array_equal(records.numbers[part], alone.numbers)
        paths = [language.key_paths[key] for key in records.number_keys[part]]
        assert paths == [store.key_paths[key] for key in alone.number_keys]


def test_validation_is_the_same_on_any_number_of_ranks(stores):
    batches, _ = make(stores)
    alone = batches.validation(World())
    real = zip(alone.batches, alone.real, strict=True)
    expected = [number for part, count in real for number in part.numbers[:count].tolist()]
    assert len(set(expected)) == len(expected) == min(10, len(batches.held_back.pool))
    parts = [batches.validation(World(rank=rank, size=2)) for rank in (0, 1)]
    assert len(parts[0].batches) == len(parts[1].batches)
    shared = []
    for turn in zip(*(zip(part.batches, part.real, strict=True) for part in parts), strict=True):
        shared += [number for batch, count in turn for number in batch.numbers[:count].tolist()]
    assert shared == expected
    again = make(stores)[0].validation(World())
    assert torch.equal(again.batches[0].load()["at"], alone.batches[0].load()["at"])


def test_records_beyond_the_context_are_refused_or_left_out(stores, capsys):
    lengths = stores[0].lengths()
    context = int(np.median(lengths))
    with pytest.raises(StoreError, match=rf"longer than model\.context {context}.*longest has {lengths.max()}"):
        make(stores, model={"context": context})
    batches, _ = make(stores, model={"context": context}, data={"too_long": "drop"})
    assert batches.training.pool.lengths.max() <= context
    assert "they are left out" in capsys.readouterr().err


def test_keys_that_do_not_exist_are_refused_with_the_nearest(stores):
    with pytest.raises(RecipeError, match=r"objective\.keys.*planet\*\.b.*planet"):
        make(stores, objective={"keys": ["description.planet*.b"]})


def test_the_costliest_batch_has_the_longest_records(stores):
    batches, _ = make(stores)
    longest = np.sort(batches.training.pool.lengths)[::-1]
    parts = [batches.costliest(World(rank=rank, size=2)) for rank in (0, 1)]
    found = [batches.training.pool.lengths[part.numbers] for (part,) in parts]
    assert sorted(np.concatenate(found).tolist(), reverse=True) == longest[:8].tolist()
    assert parts[1][0].load()["token_ids"].shape[0] == 4


@pytest.mark.parametrize("longest", [1, 2, 7, 9, 10, 31, 33, 100, 955])
def test_rounding_up_pads_less_than_an_eighth_and_never_beyond_the_context(longest):
    lengths = np.array([1, longest], np.int64)
    width = width_of(lengths, 1024)
    assert longest <= width < longest * 9 / 8 + 1e-9 or width == longest
    assert width_of(lengths, longest) == longest
    if longest >= 64:
        assert width % 8 == 0


def test_shuffled_keys_change_the_order_alone_and_the_losses_are_divided_by_what_is_hidden(stores):
    plain, _ = make(stores)
    shuffled, _ = make(stores, data={"shuffle_keys": True})
    tokens = [
        np.sort(np.concatenate([batch["target_ids"].numpy() for batch in whole_step(batches, 0)]))
        for batches in (plain, shuffled)
    ]
    assert len(tokens[0]) == len(tokens[1])
    assert not torch.equal(whole_step(plain, 0)[0]["token_ids"], whole_step(shuffled, 0)[0]["token_ids"])
    # Masks of chosen key paths are drawn on the records as they are shuffled, in every reader.
    chosen, _ = make(stores, data={"shuffle_keys": True}, objective={"keys": ["description.planet*.a"]})
    step = chosen.step(3)
    hidden = sum(len(batch["number_at"]) for batch in whole_step(chosen, 3))
    assert step.count().numbers == hidden > 0
    # Validation stands in the order of the data.
    one, two = (batches.validation(World()).batches[0].load() for batches in (plain, shuffled))
    assert torch.equal(one["token_ids"], two["token_ids"])
