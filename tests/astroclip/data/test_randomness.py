"""Random numbers by key: the same wherever and with whomever they are drawn, and as random as they should be."""

import math

import torch

from polycli.astroclip.data.randomness import _GOLDEN, _mix, happens, keys_of, normal, uniform


def test_numbers_do_not_depend_on_what_is_drawn_beside_them():
    keys = keys_of(3, torch.arange(10))

    assert torch.equal(uniform(keys, 2, 5)[4:6], uniform(keys[4:6], 2, 5))
    assert torch.equal(normal(keys, 2, 6)[7:], normal(keys[7:], 2, 6))


def test_streams_seeds_and_places_give_different_numbers():
    places = torch.arange(4)
    drawn = [uniform(keys_of(seed, places), stream, 3) for seed in (0, 1) for stream in (0, 1)]

    assert len(torch.cat(drawn).unique()) == 4 * 4 * 3


def test_splitmix64_is_the_published_one():
    # The first outputs of SplitMix64 from the state 1234567, as its authors' code gives them.
    state = torch.tensor([1234567]) + torch.tensor([1, 2, 3]) * _GOLDEN
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [value % 2**64 for value in _mix(state).tolist()] == expected


def test_uniform_numbers_fill_the_interval_evenly():
    values = uniform(keys_of(0, torch.arange(1000)), 1, 200).flatten()

    assert values.min() >= 0
    assert values.max() < 1
    counts = torch.histc(values, 20, 0, 1)
    # 20 cells of 10,000 numbers: the chi-square of 19 degrees of freedom is below 44 in 999 of 1000 cases.
    assert ((counts - 10_000).square() / 10_000).sum() < 44


def test_normal_numbers_have_the_moments_of_the_normal_distribution():
    values = normal(keys_of(0, torch.arange(1000)), 1, 201).flatten().double()

    error = 1 / math.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert abs(values.std() - 1) < 4 * error / math.sqrt(2)
    assert abs(values.pow(4).mean() - 3) < 4 * error * math.sqrt(96)
    first, second = normal(keys_of(0, torch.arange(100_000)), 1, 2).T
    assert abs((first * second).mean()) < 4 / math.sqrt(100_000)


def test_what_is_sure_always_happens_and_what_is_impossible_never():
    keys = keys_of(0, torch.arange(5000))

    assert happens(keys, 0, 1.0).all()
    assert not happens(keys, 0, 0.0).any()
    assert abs(happens(keys, 0, 0.1).float().mean() - 0.1) < 4 * math.sqrt(0.09 / 5000)
