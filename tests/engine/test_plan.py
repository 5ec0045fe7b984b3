"""Accumulation and memory, from numbers alone."""

import pytest

from polycli.engine.plan import accumulation, memory_per_device
from polycli.errors import RecipeError
from polycli.sections import EngineSection, OptimSection


def test_accumulation_is_what_is_left_after_ranks_and_micro_batches():
    assert accumulation(64, 4, 2) == 8
    assert accumulation(8, 8, 1) == 1


def test_an_impossible_division_is_refused_with_the_nearest_sizes_that_work():
    with pytest.raises(RecipeError, match=r"100 is not divisible by 3 processes x micro-batches of 8.*96 and 120"):
        accumulation(100, 8, 3)
    with pytest.raises(RecipeError, match=r"nearest sizes that work: 16;"):
        accumulation(4, 8, 2)


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
