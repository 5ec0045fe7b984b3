"""Stores to batches: which objects a step sees, for any number of ranks, and what is refused."""

import numpy as np
import pytest
import torch

from polycli.astroclip.data.store import ObjectStore, open_objects
from polycli.astroclip.recipe.training import DataSection
from polycli.astroclip.training.batches import Needs, ObjectBatches, ObjectPool, descriptions
from polycli.errors import StoreError
from polycli.launch import World
from polycli.sections import TrainSection

BOTH = Needs(image=True, spectrum=True, ivar=True, mask=True)


@pytest.fixture
def store(mock_store):
    return open_objects(mock_store)


def batches_of(store, *, needs=BOTH, whole_share=False, **train):
    sizes = {"steps": 5, "global_batch_size": 8, "micro_batch_size": 2, "seed": 3, **train}
    return ObjectBatches([store], DataSection(), TrainSection(**sizes), needs, whole_share=whole_share)


def test_a_batch_holds_what_the_store_holds_for_its_objects(store):
    batch = batches_of(store).micro_batches(0, World())[1]

    loaded = batch.load()

    rows = store.rows("train")[batch.numbers]
    spectra = store.read_spectra(rows)
    np.testing.assert_array_equal(loaded["image"], store.read_images(rows))
    np.testing.assert_array_equal(loaded["flux"], spectra.flux)
    np.testing.assert_array_equal(loaded["ivar"], spectra.ivar)
    np.testing.assert_array_equal(loaded["mask"], spectra.mask)
    assert loaded["place"].tolist() == [1, 4]
    assert batch.samples == tuple(f"{store.name}[{row}]" for row in rows)


@pytest.mark.parametrize("step", [0, 7])
def test_ranks_share_out_one_global_batch_and_its_keys(store, step):
    whole = batches_of(store, micro_batch_size=8).micro_batches(step, World())[0]

    for size in (1, 2, 4):
        parts = [part for rank in range(size) for part in batches_of(store).micro_batches(step, World(rank, size))]
        assert np.concatenate([part.numbers for part in parts]).tolist() == whole.numbers.tolist()
        assert torch.equal(torch.cat([part.keys for part in parts]), whole.keys)
        assert sum(part.weight for part in parts) == pytest.approx(size)


def test_every_object_is_seen_once_before_any_is_seen_twice_and_keys_never_repeat(store):
    batches = batches_of(store)
    count = len(batches.training)
    steps = [batches.micro_batches(step, World()) for step in range(2 * count // 8 + 1)]
    numbers = np.concatenate([part.numbers for parts in steps for part in parts])
    keys = torch.cat([part.keys for parts in steps for part in parts])

    assert sorted(numbers[:count].tolist()) == list(range(count))
    assert sorted(numbers[count : 2 * count].tolist()) == list(range(count))
    assert len(keys.unique()) == len(keys)


def test_a_rank_that_aligns_gets_its_whole_share_at_once(store):
    parts = batches_of(store, whole_share=True).micro_batches(0, World(1, 2))

    assert [len(part.numbers) for part in parts] == [4]


def test_validation_covers_each_object_once_over_all_ranks(store):
    for size in (1, 2, 3):
        found = [batches_of(store).validation(World(rank, size)) for rank in range(size)]
        turns = zip(*(batches for batches, _ in found), strict=True)
        numbers = np.concatenate([part.numbers for turn in turns for part in turn])
        total = found[0][1]
        assert total == len(store.rows("validation"))
        assert sorted(numbers[:total].tolist()) == list(range(total))


def test_smaller_limits_are_parts_of_larger_ones(store):
    chosen = [set(ObjectPool.of([store], "train", limit=limit, seed=4).rows[0].tolist()) for limit in (3, 7, 10_000)]

    assert [len(rows) for rows in chosen] == [3, 7, len(store.rows("train"))]
    assert chosen[0] < chosen[1] < chosen[2]
    assert chosen[1] != set(ObjectPool.of([store], "train", limit=7, seed=5).rows[0].tolist())


def test_several_stores_are_one_pool(store):
    pool = ObjectPool([store, store], [np.array([4, 5, 6]), np.array([1, 0])])
    numbers = np.array([4, 0, 3, 2])

    (found,) = pool.read(numbers, lambda part, rows: [part.ids(rows)])

    assert found.tolist() == store.ids([0, 4, 1, 6]).tolist()
    assert pool.names(numbers) == tuple(f"{store.name}[{row}]" for row in (0, 4, 1, 6))


def changed(store, **parts):
    """The same store, saying something else of itself."""
    other = ObjectStore(store.store)
    other.about = store.about.model_copy(update=parts)
    return other


def test_stores_that_differ_in_what_they_hold_are_refused(store):
    image = store.about.image.model_copy(update={"bands": ("r", "i", "z")})
    grid = store.about.spectrum.model_copy(update={"first": 3700.0})

    with pytest.raises(StoreError, match="images without band g, of g, r, z that are needed; they have r, i, z"):
        descriptions([store, changed(store, image=image)], BOTH)
    with pytest.raises(StoreError, match=r"spectra with first 3700\.0, 3600\.0 was expected"):
        descriptions([store, changed(store, spectrum=grid)], BOTH)
    with pytest.raises(StoreError, match="has no images, which this training needs"):
        descriptions([changed(store, image=None)], BOTH)
    assert descriptions([changed(store, image=None)], Needs(spectrum=True))[0] is None
