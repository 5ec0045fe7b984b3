"""The order of training is a permutation per pass, in proportion to the weights, and a function of its key alone."""

import numpy as np
import pytest

from polycli.engine.batches.order import DrawSchedule, shuffled


@pytest.mark.parametrize("size", [1, 2, 3, 5, 16, 17, 1000, 4097])
def test_every_pass_holds_every_item_once(size):
    order = shuffled(np.arange(3 * size), size, 7, "name").reshape(3, size)

    assert np.array_equal(np.sort(order, axis=1), np.tile(np.arange(size), (3, 1)))


def test_passes_seeds_and_names_give_other_orders():
    orders = [shuffled(np.arange(100), 100, seed, name) for seed in (0, 1) for name in ("a", "b")]
    orders.append(shuffled(np.arange(100, 200), 100, 0, "a"))

    assert len({tuple(order) for order in orders}) == 5


def test_a_place_in_the_order_does_not_depend_on_what_else_is_asked():
    whole = shuffled(np.arange(50), 20, 3, "name")

    assert [int(shuffled(np.array([i]), 20, 3, "name")[0]) for i in range(50)] == whole.tolist()


def test_neighbours_in_the_order_are_unrelated():
    """Neighbouring windows share frames. In a good permutation neighbours are a third of the size apart on average."""
    order = shuffled(np.arange(3000), 3000, 0, "name")

    assert np.abs(np.diff(order)).mean() == pytest.approx(1000, rel=0.05)
    assert np.corrcoef(order[:-1], order[1:])[0, 1] == pytest.approx(0, abs=0.06)


def test_every_item_is_equally_likely_at_every_place():
    counts = np.zeros((6, 6))
    for seed in range(3000):
        counts[np.arange(6), shuffled(np.arange(6), 6, seed, "name")] += 1

    # Chi-square with 25 degrees of freedom, 99.9 % quantile 52.6.
    assert ((counts - 500) ** 2 / 500).sum() < 52.6


@pytest.mark.parametrize("weights", [[1.0], [1.0, 1.0], [3.0, 1.0], [0.5, 0.3, 0.2], [1e-3, 1.0]])
def test_draws_follow_the_weights_in_every_stretch_of_the_run(weights):
    schedule = DrawSchedule(weights, seed=5)
    datasets = np.array([schedule[n][0] for n in range(4000)])
    share = np.array(weights) / sum(weights)

    for stretch in (slice(0, 100), slice(700, 800), slice(0, 4000)):
        counts = np.bincount(datasets[stretch], minlength=len(weights))
        assert counts == pytest.approx(share * len(datasets[stretch]), abs=4)


def test_a_draw_knows_how_often_its_dataset_came_before():
    schedule = DrawSchedule([2.0, 1.0, 1.0], seed=0)
    seen = [0, 0, 0]
    for n in range(200):
        dataset, earlier = schedule[n]
        assert earlier == seen[dataset]
        seen[dataset] += 1


def test_draws_far_on_are_the_same_whether_or_not_the_earlier_ones_were_asked_for():
    asked, fresh = DrawSchedule([1.0, 2.0], seed=9), DrawSchedule([1.0, 2.0], seed=9)
    for n in range(0, 200_000, 1000):
        _ = asked[n]

    assert [asked[n] for n in range(199_000, 199_050)] == [fresh[n] for n in range(199_000, 199_050)]
