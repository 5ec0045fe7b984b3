"""The order of training depends on seed and step alone and follows the weights; what cannot be is refused."""

import math
from collections import Counter

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from polycli.engine.task import World
from polycli.errors import RecipeError, StoreError
from polycli.mpp.recipe.training import FinetuneRecipe, PretrainRecipe
from polycli.mpp.training.batches import MixtureBatches
from polycli.store.reader import open_store


def recipe(*, model=None, data=None, train=None, objective=None) -> PretrainRecipe:
    return PretrainRecipe.model_validate(
        {
            "family": "mpp",
            "verb": "pretrain",
            "model": {"embed_dim": 16, "num_heads": 2, "blocks": 1, "patch_size": 4, **(model or {})},
            "data": {"history": 3, **(data or {})},
            "objective": objective or {},
            "train": {"steps": 10, "global_batch_size": 8, "micro_batch_size": 2, "seed": 3, **(train or {})},
        }
    )


@pytest.fixture
def stores(store_factory):
    paths = [
        store_factory("swe", physics="shallow_water"),
        store_factory("reaction", physics="diffusion_reaction", frames=10, grid=(16, 24), boundary="wall"),
    ]
    return [open_store(path) for path in paths]


def samples(batches: MixtureBatches, step: int, size: int) -> list[str]:
    """Names of all samples of a step, draw by draw and rank by rank."""
    ranks = [batches.micro_batches(step, World(rank, size)) for rank in range(size)]
    return sorted(name for rank in ranks for batch in rank for name in batch.samples)


@pytest.mark.parametrize("size", [2, 4])
def test_any_number_of_ranks_sees_the_samples_that_one_sees(stores, size):
    given = recipe(data={"draws_per_step": 2}, train={"global_batch_size": 16})
    one, many = MixtureBatches(stores, given), MixtureBatches(stores, given)

    for step in (0, 1, 7, 1000):
        alone = samples(one, step, 1)
        assert samples(many, step, size) == alone
        assert len(alone) == 16


def test_an_unrolled_training_reads_a_frame_more_for_each_step_and_validates_as_ever(stores):
    plain, unrolled = (MixtureBatches(stores, recipe(objective={"unroll": steps})) for steps in (1, 4))
    assert len(plain.training["swe"]) == 4 * (12 - 3)
    assert len(unrolled.training["swe"]) == 4 * (12 - 6)
    assert unrolled.micro_batches(0, World())[0].load()["fields"].shape[1] == 3 + 4
    parts = zip(plain.validation(World()), unrolled.validation(World()), strict=True)
    for one, other in parts:
        for batch, same in zip(one.batches, other.batches, strict=True):
            assert torch.equal(batch.load()["fields"], same.load()["fields"])
            assert batch.load()["fields"].shape[1] == 3 + 1


def test_a_step_depends_on_its_number_and_the_seed_alone(stores):
    asked, fresh = MixtureBatches(stores, recipe()), MixtureBatches(stores[::-1], recipe())
    for step in range(50):
        asked.micro_batches(step, World())

    assert samples(asked, 60, 1) == samples(fresh, 60, 1)
    assert samples(asked, 60, 1) != samples(MixtureBatches(stores, recipe(train={"seed": 4})), 60, 1)


def test_every_window_is_seen_once_before_any_is_seen_twice(stores):
    batches = MixtureBatches(stores[:1], recipe())
    windows = 4 * (12 - 3)  # four trajectories that train, of 12 frames, in windows of 3 + 1

    seen = Counter(name for step in range(2 * windows // 8) for name in samples(batches, step, 1))

    assert len(seen) == windows
    assert set(seen.values()) == {2}
    assert {name.split("@")[0] for name in seen} == {f"swe/{row:04d}" for row in range(4)}


def test_a_store_of_fewer_windows_than_a_global_batch_repeats_them_evenly_on_every_rank(store_factory):
    tiny = open_store(store_factory("tiny", splits=("train",), frames=6))  # one trajectory, 3 windows of 3 + 1 frames
    batches = MixtureBatches([tiny], recipe(train={"global_batch_size": 16}))

    for size in (1, 2, 4):
        seen = Counter(name for step in range(3) for name in samples(batches, step, size))
        assert len(seen) == 3
        assert set(seen.values()) == {16}


def test_the_rehearsal_has_a_whole_micro_batch_of_every_dataset_however_small(stores, store_factory):
    tiny = open_store(store_factory("tiny", splits=("train",), frames=4))  # a single window
    found = MixtureBatches([*stores, tiny], recipe(data={"micro_batch_size": {"reaction": 1}})).costliest()

    assert sorted((batch.samples[0].split("/")[0], len(batch.samples)) for batch in found) == [
        ("reaction", 1),
        ("swe", 2),
        ("tiny", 2),
    ]
    assert all(batch.load()["fields"].shape[0] == len(batch.samples) for batch in found)


def test_datasets_are_drawn_in_proportion_to_their_weights(stores):
    batches = MixtureBatches(stores, recipe(data={"weights": {"swe": 3.0}}))

    drawn = Counter(windows.store.name for step in range(400) for windows, _ in batches.draws(step))

    assert drawn["swe"] == pytest.approx(300, abs=4)
    assert drawn["reaction"] == pytest.approx(100, abs=4)


def test_ranks_meet_the_same_dataset_at_the_same_place_and_weights_add_up_to_one(stores):
    given = recipe(
        data={"draws_per_step": 4, "micro_batch_size": {"reaction": 1}},
        train={"global_batch_size": 16, "micro_batch_size": 2},
    )
    batches = MixtureBatches(stores, given)

    for step in range(20):
        ranks = [batches.micro_batches(step, World(rank, 2)) for rank in range(2)]
        datasets = [[{name.split("/")[0] for name in batch.samples} for batch in rank] for rank in ranks]
        assert datasets[0] == datasets[1]
        assert all(len(names) == 1 for names in datasets[0])
        for rank in ranks:
            assert math.fsum(batch.weight for batch in rank) == pytest.approx(1)
            assert all(len(batch.samples) == (1 if "reaction" in batch.samples[0] else 2) for batch in rank)


def test_a_batch_holds_the_frames_labels_and_boundaries_of_its_samples(stores):
    given = recipe(data={"history": 3, "time_stride": 2, "weights": {"swe": 1e-9}})
    batches = MixtureBatches(stores, given)

    micro = batches.micro_batches(5, World())[1]
    batch = micro.load()

    assert batch["fields"].shape == (2, 4, 2, 16, 24)
    assert batch["fields"].dtype == torch.float32
    fields = stores[1].read("fields")
    for name, values in zip(micro.samples, batch["fields"].numpy(), strict=True):
        row, start = map(int, name.removeprefix("reaction/").split("@"))
        assert np.array_equal(values, fields[row, start : start + 7 : 2])
    assert batch["state_labels"].tolist() == [4, 5]  # activator and inhibitor in the published vocabulary
    assert batch["bcs"].tolist() == [[0, 0], [0, 0]]


def test_fields_meet_the_vocabulary_by_name_whatever_its_order(stores):
    given = recipe(
        model={"fields": ["diffusion_reaction.inhibitor", "shallow_water.height", "diffusion_reaction.activator"]}
    )

    labels = {name: windows.labels for name, windows in MixtureBatches(stores, given).training.items()}

    assert labels == {"swe": (1,), "reaction": (2, 0)}


@pytest.mark.parametrize("size", [1, 2, 3])
def test_validation_windows_are_fixed_spread_and_shared_out_evenly(stores, size):
    batches = MixtureBatches(stores, recipe(data={"validation_windows": 5}))

    ranks = [batches.validation(World(rank, size)) for rank in range(size)]

    for parts in zip(*ranks, strict=True):
        assert len({len(part.batches) for part in parts}) == 1
        turns = [part.batches[turn].samples for turn in range(len(parts[0].batches)) for part in parts]
        names = [name for chunk in turns for name in chunk][: parts[0].count]
        # Row 4 validates; 9 windows (swe, 12 frames) and 7 windows (reaction, 10 frames) of it, 5 of them spread.
        starts = {"swe": (0, 2, 4, 6, 8), "reaction": (0, 2, 3, 4, 6)}[parts[0].dataset]
        assert names == [f"{parts[0].dataset}/0004@{start}" for start in starts]


def test_test_rows_validate_where_tiny_data_left_no_validation_rows(store_factory):
    store = open_store(store_factory("tiny", splits=("train", "test")))

    parts = MixtureBatches([store], recipe()).validation(World())

    assert {name.split("@")[0] for part in parts for batch in part.batches for name in batch.samples} == {"tiny/0001"}


def test_a_store_of_one_trajectory_trains_and_validates_nothing(store_factory):
    store = open_store(store_factory("single", splits=("train",)))

    batches = MixtureBatches([store], recipe())

    assert len(batches.micro_batches(0, World())) == 4
    assert batches.validation(World()) == []


def test_limit_keeps_that_many_trajectories_of_each_split(stores):
    batches = MixtureBatches(stores, recipe(data={"limit": 2}))

    assert {name: len(windows.rows) for name, windows in batches.training.items()} == {"swe": 2, "reaction": 2}


def test_a_choice_of_trajectories_lies_within_every_larger_one_and_is_first_by_hash(store_factory):
    store = open_store(store_factory("swe", splits=("train",) * 6 + ("validation", "test")))

    def chosen(count):
        batches = MixtureBatches([store], recipe(data={"train_trajectories": count}))
        assert len(batches.held_back["swe"].rows) == 1
        return batches.training["swe"].rows.tolist()

    by_hash = sorted(range(6), key=lambda row: store.manifest.row_hashes[row])
    assert by_hash != list(range(6))
    assert [chosen(count) for count in range(1, 7)] == [sorted(by_hash[:count]) for count in range(1, 7)]


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        (
            {"data": {"train_trajectories": 5}},
            StoreError,
            ["reaction.zarr", "asks for 5 trajectories", "4 trajectories train", "data.train_trajectories=4"],
        ),
        ({"data": {"history": 12}}, StoreError, ["swe.zarr", "12 frames", "needs 13", "data.history=11"]),
        ({"objective": {"unroll": 10}}, StoreError, ["reaction.zarr", "objective.unroll 10", "need 13"]),
        ({"data": {"history": 4, "time_stride": 3}}, StoreError, ["swe.zarr", "needs 13", "data.history=3"]),
        (
            {"model": {"fields": ["shallow_water.height", "diffusion_reaction.activator"]}},
            StoreError,
            [
                "reaction.zarr",
                "'diffusion_reaction.inhibitor'",
                "nearest: diffusion_reaction.activator",
                "model.fields",
            ],
        ),
        ({"data": {"weights": {"swee": 1.0}}}, RecipeError, ["data.weights", "'swee'", "reaction, swe", "mean swe"]),
        ({"data": {"micro_batch_size": {"other": 1}}}, RecipeError, ["data.micro_batch_size", "'other'"]),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(stores, given, error, words):
    with pytest.raises(error) as caught:
        MixtureBatches(
            [stores[0], stores[1]] if "history" not in given.get("data", {}) else stores[:1], recipe(**given)
        )

    for word in words:
        assert word in str(caught.value)


def test_a_store_with_no_training_rows_is_refused(store_factory):
    held_back = open_store(store_factory("held_back", splits=("validation", "test")))

    with pytest.raises(StoreError, match=r"held_back\.zarr: none of the 2 trajectories is in the train split"):
        MixtureBatches([held_back], recipe())


MIXED = {"draws_per_step": 4, "mixed_micro_batches": True}


@pytest.mark.parametrize("size", [1, 2])
def test_mixed_micro_batches_hold_the_samples_of_a_step_whatever_the_mixing_and_the_ranks(stores, size):
    train = {"global_batch_size": 16, "micro_batch_size": 8}
    plain = MixtureBatches(stores, recipe(data={"draws_per_step": 4}, train=train | {"micro_batch_size": 2}))
    mixed = MixtureBatches(stores, recipe(data=MIXED, train=train))
    mixed.check_division(size)
    datasets = set()
    for step in range(6):
        assert samples(mixed, step, size) == samples(plain, step, 1)
        ranks = [mixed.micro_batches(step, World(rank, size)) for rank in range(size)]
        for same_place in zip(*ranks, strict=True):
            shapes = {tuple(batch.load()["fields"].shape) for batch in same_place}
            assert len(shapes) == 1, "ranks meet passes of equal cost at equal places"
            datasets.add(tuple(sorted({name.split("/")[0] for name in same_place[0].samples})))
        assert sum(batch.weight for batch in ranks[0]) == pytest.approx(1)
        assert all(len(batch.samples) == 8 for batch in ranks[0])
    assert ("reaction", "swe") in datasets


def test_a_mixed_micro_batch_pads_grids_and_fields_to_the_largest_and_says_what_is_whose(stores):
    batches = MixtureBatches(stores, recipe(data=MIXED, train={"global_batch_size": 8, "micro_batch_size": 8}))
    mixed = next(
        batch
        for step in range(9)
        for batch in batches.micro_batches(step, World())
        if len({name.split("/")[0] for name in batch.samples}) == 2
    )
    loaded = mixed.load()
    assert loaded["fields"].shape == (8, 4, 2, 16, 24)
    swe = [name.startswith("swe") for name in mixed.samples]
    assert loaded["grids"].tolist() == [[16, 16] if is_swe else [16, 24] for is_swe in swe]
    assert (loaded["state_labels"][:, 1] == -1).tolist() == swe
    assert loaded["bcs"].tolist() == [[1, 1] if is_swe else [0, 0] for is_swe in swe]
    for part in mixed.parts:
        alone = part.load()["fields"]
        place = mixed.samples.index(part.samples[0])
        _, _, channels, height, width = alone.shape
        assert torch.equal(loaded["fields"][place : place + len(alone), :, :channels, :height, :width], alone)
    assert not loaded["fields"][torch.tensor(swe), :, 1].any()


def test_the_rehearsal_of_mixed_micro_batches_has_the_longest_axes_and_most_fields(stores, store_factory):
    tall = open_store(store_factory("tall", grid=(32, 8)))
    given = recipe(data=MIXED, train={"global_batch_size": 16, "micro_batch_size": 4})
    (batch,) = MixtureBatches([*stores, tall], given).costliest()
    assert batch.load()["fields"].shape == (4, 4, 2, 32, 24)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"data": MIXED | {"draws_per_step": 1}}, "mixes the draws of a step, and draws_per_step is 1"),
        ({"data": MIXED | {"micro_batch_size": {"swe": 1}}}, "micro_batch_size is by dataset"),
        ({"data": MIXED, "objective": {"kind": "tubes"}}, "tubes needs model.kind vit"),
    ],
)
def test_what_cannot_be_mixed_is_refused_by_name(changes, says):
    with pytest.raises(ValidationError, match=says):
        recipe(**changes)


def test_other_networks_heads_and_single_patches_are_not_mixed(stores):
    with pytest.raises(ValidationError, match=r"data\.mixed_micro_batches needs model\.kind avit, not fno"):
        PretrainRecipe.model_validate(
            recipe(data=MIXED).model_dump() | {"model": {"kind": "fno", "width": 8, "modes": 2, "blocks": 1}}
        )
    with pytest.raises(ValidationError, match="is for next frames; a head predicts parameters"):
        FinetuneRecipe.model_validate(
            {"family": "mpp", "verb": "finetune", "head": {"kind": "regression", "targets": ["speed"]}, "data": MIXED}
            | {"train": {"steps": 1, "global_batch_size": 8, "micro_batch_size": 2}}
        )
    with pytest.raises(StoreError, match=r"a grid of 16 x 16 is a single patch of 16 x 16 points"):
        MixtureBatches(stores, recipe(model={"patch_size": 16}, data=MIXED))


def test_a_batch_that_mixed_micro_batches_do_not_divide_is_refused_with_the_nearest_that_they_do(stores):
    batches = MixtureBatches(stores, recipe(data=MIXED, train={"global_batch_size": 20, "micro_batch_size": 8}))
    with pytest.raises(RecipeError, match="not divisible by 8") as refused:
        batches.check_division(1)
    assert "16 and 24" in refused.value.hint
