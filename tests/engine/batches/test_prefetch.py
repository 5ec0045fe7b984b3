"""Reading ahead in threads changes nothing but the time it takes."""

import threading
import time
from dataclasses import dataclass

import pytest
import torch

from polycli.engine.batches.prefetch import Prefetcher, read_ahead
from polycli.launch import World


@dataclass(frozen=True)
class Slow:
    """Later micro-batches are read faster than earlier ones."""

    step: int
    place: int
    loads: list[str]
    weight: float
    samples: tuple[str, ...] = ("row",)

    def load(self) -> dict[str, torch.Tensor]:
        time.sleep(0.01 * (3 - self.place))
        self.loads.append(threading.current_thread().name)
        if self.step == 7:
            raise OSError("step 7 cannot be read")
        return {"x": torch.tensor([self.step, self.place])}


class Steps:
    """Step n has 1 + n % 3 micro-batches."""

    def __init__(self) -> None:
        self.loads: list[str] = []

    def micro_batches(self, step: int, world: World) -> list[Slow]:
        count = 1 + step % 3
        return [Slow(step, place, self.loads, 1 / count) for place in range(count)]


def read(workers: int, steps: int) -> list[list[list[int]]]:
    with Prefetcher(Steps(), World(), first=2, last=2 + steps, workers=workers) as feed:
        return [[loaded.batch["x"].tolist() for loaded in feed.step()] for _ in range(steps)]


def test_the_order_is_that_of_the_steps_whatever_the_number_of_workers():
    expected = [[[step, place] for place in range(1 + step % 3)] for step in range(2, 6)]
    assert read(0, 4) == read(1, 4) == read(4, 4) == expected


def test_without_workers_the_calling_thread_reads_and_nothing_ahead():
    steps = Steps()
    with Prefetcher(steps, World(), first=0, last=100, workers=0) as feed:
        list(feed.step())
    assert steps.loads == [threading.current_thread().name]


def test_readers_stay_a_bounded_number_of_micro_batches_ahead():
    steps = Steps()
    with Prefetcher(steps, World(), first=0, last=7, workers=2) as feed:
        list(feed.step())
        time.sleep(0.3)
        assert 1 < len(steps.loads) <= 2 * 2 + 1


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_a_reader_is_raised_in_its_own_step(workers):
    with Prefetcher(Steps(), World(), first=6, last=9, workers=workers) as feed:
        assert len(list(feed.step())) == 1
        with pytest.raises(OSError, match="step 7"):
            list(feed.step())


def test_leaving_ends_the_threads_while_reads_are_waiting():
    with Prefetcher(Steps(), World(), first=0, last=7, workers=2) as feed:
        next(feed.step())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("reader")]


def test_waiting_is_measured_and_computing_is_not():
    with Prefetcher(Steps(), World(), first=0, last=1, workers=0) as feed:
        for _ in feed.step():
            time.sleep(0.2)
        assert 0.02 < feed.wait_seconds < 0.15


def test_a_validation_reads_one_batch_ahead_and_in_order():
    batches = [Slow(step, 0, [], 1.0) for step in range(4)]
    seen = []
    for batch in read_ahead(batches):
        seen.append(batch["x"].tolist())
        loaded = sum(len(one.loads) for one in batches)
        assert loaded <= len(seen) + 1
    assert seen == [[step, 0] for step in range(4)]
    assert list(read_ahead([])) == []
    with pytest.raises(OSError, match="step 7"):
        list(read_ahead([Slow(7, 0, [], 1.0)]))
