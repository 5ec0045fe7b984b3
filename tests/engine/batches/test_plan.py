"""Batches that divide and memory, from numbers alone."""

import pytest

from polycli.engine.batches.plan import check_division, memory_per_device
from polycli.errors import RecipeError
from polycli.sections import EngineSection, OptimSection


@pytest.mark.parametrize(
    ("arguments", "nearest"),
    [((40, 5, 3, [1]), "30 and 45"), ((8, 1, 2, [8]), "16"), ((10, 1, 1, [4, 6]), "12"), ((7, 2, 1, [1]), "6 and 8")],
)
def test_an_impossible_division_names_the_nearest_sizes_that_work(arguments, nearest):
    with pytest.raises(RecipeError, match="is not divisible") as caught:
        check_division(*arguments)

    assert f"nearest sizes that work: {nearest};" in str(caught.value)


def test_the_family_says_what_its_draws_are_called_and_one_draw_is_not_mentioned():
    with pytest.raises(RecipeError, match=r"which data\.draws_per_step 5, 3 processes and micro-batches of 1 need"):
        check_division(40, 5, 3, [1], draws_key="data.draws_per_step")
    with pytest.raises(RecipeError, match=r"divisible by 8, which 1 process and micro-batches of 8 need"):
        check_division(9, 1, 1, [8], draws_key="data.draws_per_step")


def test_possible_divisions_pass():
    check_division(40, 5, 8, [1])
    check_division(24, 1, 2, [4, 6])


def test_memory_follows_the_table_of_the_zero_paper():
    # Float32 throughout: 4 bytes of parameters, 4 of gradients, 8 of AdamW's moments; from stage 1 a copied shard.
    adamw, million = OptimSection(), 1_000_000

    def state(stage: int, processes: int) -> int:
        memory = memory_per_device(million, adamw, EngineSection(zero_stage=stage), processes)
        return sum(size for name, size in memory.items() if name != "communication")

    assert state(0, 8) == 16 * million
    assert state(1, 8) == (4 + 4) * million + (4 + 8) * million // 8
    assert state(2, 8) == 4 * million + (4 + 4 + 8) * million // 8
    assert state(3, 8) == (4 + 4 + 4 + 8) * million // 8


def test_offload_moves_the_optimizer_off_the_device():
    plain = memory_per_device(1000, OptimSection(), EngineSection(zero_stage=2), 2)
    moved = memory_per_device(1000, OptimSection(), EngineSection(zero_stage=2, offload=True), 2)
    assert moved["optimizer"] == 0
    assert moved["offloaded_to_cpu"] == plain["optimizer"] == 12 * 500


@pytest.mark.parametrize(("stage", "size"), [(0, 4000), (2, 4000), (3, 1000)])
def test_an_average_of_the_weights_is_as_large_as_what_a_rank_holds_of_them(stage, size):
    plain, averaged = (
        memory_per_device(1000, OptimSection(ema_decay=decay), EngineSection(zero_stage=stage), 4)
        for decay in (None, 0.99)
    )
    assert averaged == {**plain, "weight_average": size}
