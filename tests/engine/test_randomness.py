"""Random numbers belong to a step and a rank."""

import torch

from polycli.engine.randomness import seed_step


def draw(*arguments: object) -> list[float]:
    seed_step(*arguments)
    return torch.rand(4).tolist()


def test_a_step_draws_the_same_numbers_whatever_was_drawn_before():
    first = draw(0, 5, 1)
    torch.rand(100)
    assert draw(0, 5, 1) == first


def test_seed_step_rank_and_purpose_each_change_what_is_drawn():
    draws = [draw(0, 5, 1), draw(1, 5, 1), draw(0, 6, 1), draw(0, 5, 2), draw(0, 5, 1, "validate"), draw(0, 15, 1)]
    assert len({tuple(numbers) for numbers in draws}) == len(draws)
