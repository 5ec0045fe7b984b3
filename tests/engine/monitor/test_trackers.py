"""TensorBoard and W&B get the numbers of metrics.jsonl, and cannot end a training."""

import math
import sys
from types import ModuleType, SimpleNamespace

import pytest

from polycli.engine.monitor.trackers import Trackers
from polycli.engine.run import Run
from polycli.errors import PreemptedError
from polycli.launch import World
from polycli.sections import LogSection


class FakeWandb(ModuleType):
    """Remembers what it is asked."""

    def __init__(self):
        super().__init__("wandb")
        self.starts, self.points, self.exit_codes = [], [], []

    def init(self, **settings):
        self.starts.append(settings)
        return SimpleNamespace(log=self.log, finish=self.finish)

    def log(self, scalars, *, step):
        self.points.append((step, scalars))

    def finish(self, *, exit_code):
        self.exit_codes.append(exit_code)


class FakeTensorBoard(ModuleType):
    """Remembers every point."""

    def __init__(self):
        super().__init__("torch.utils.tensorboard")
        self.points, self.closed, self.starts = [], 0, []
        outer = self

        class SummaryWriter:
            def __init__(self, **settings):
                outer.starts.append(settings)

            def add_scalar(self, name, value, step):
                outer.points.append((name, value, step))

            def close(self):
                outer.closed += 1

        self.SummaryWriter = SummaryWriter


@pytest.fixture
def wandb(monkeypatch):
    monkeypatch.delenv("WANDB_PROJECT", raising=False)
    monkeypatch.setitem(sys.modules, "wandb", FakeWandb())
    return sys.modules["wandb"]


@pytest.fixture
def tensorboard(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", FakeTensorBoard())
    return sys.modules["torch.utils.tensorboard"]


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    path.mkdir()
    (path / "recipe.yaml").write_text("family: toy\ntrain:\n  steps: 3\n")
    return Run(path, World(), resumed=False)


BOTH = LogSection(tensorboard=True, wandb=True)


def test_both_get_the_numbers_of_a_line_and_only_the_numbers(run, wandb, tensorboard):
    with Trackers(BOTH, run, step=0) as trackers:
        trackers.write("train", 4, {"loss": 0.5, "norm": math.inf, "reason": "text"}, {"mfu": None, "step_seconds": 2})
        trackers.write("bad_step", 5, {"reason": "the loss is not finite", "samples": ["a"]}, {})
        trackers.write("validation", 6, {"validation/loss": 0.25}, {})
    assert wandb.points == [(4, {"train/loss": 0.5, "speed/step_seconds": 2.0}), (6, {"validation/loss": 0.25})]
    assert tensorboard.points == [("train/loss", 0.5, 4), ("speed/step_seconds", 2, 4), ("validation/loss", 0.25, 6)]
    assert (wandb.exit_codes, tensorboard.closed) == ([0], 1)


def test_a_resumed_run_goes_on_in_the_same_curves(run, wandb, tensorboard):
    for step in (0, 7):
        with Trackers(BOTH, run, step=step):
            pass
    first, second = wandb.starts
    assert first["id"] == second["id"]
    assert (first["resume"], first["name"], first["project"]) == ("allow", "run", "polycli")
    assert first["config"] == {"family": "toy", "train": {"steps": 3}}
    assert [start["purge_step"] for start in tensorboard.starts] == [1, 8]


def test_a_failed_run_is_a_failure_in_wandb_and_a_preempted_one_is_not(run, wandb):
    for error in (RuntimeError, PreemptedError):
        with pytest.raises(error), Trackers(LogSection(wandb=True), run, step=0):
            raise error("this is how it ends")
    assert wandb.exit_codes == [1, 0]


def test_only_rank_0_speaks_to_them_and_only_where_asked(run, wandb, tensorboard):
    Trackers(BOTH, Run(run.path, World(1, 2), resumed=False), step=0)
    Trackers(LogSection(), run, step=0)
    assert wandb.starts == tensorboard.starts == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_a_missing_package_is_a_warning_with_the_line_that_installs_it(run, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    monkeypatch.setitem(sys.modules, "wandb", None)
    with Trackers(LogSection(**{name: True}), run, step=0) as trackers:
        trackers.write("train", 1, {"loss": 1.0}, {})
    said = capsys.readouterr().err
    assert said.startswith(f"warning: log.{name}: {name} is not installed")
    assert f"pip install 'polycli[{name}]'" in said
    assert f"log.{name}" in (run.path / "log.txt").read_text()


def test_one_that_fails_is_given_up_once_and_the_other_goes_on(run, wandb, tensorboard, monkeypatch, capsys):
    def refuse(*_):
        raise OSError("no space left")

    with Trackers(BOTH, run, step=0) as trackers:
        monkeypatch.setattr(tensorboard.SummaryWriter, "add_scalar", refuse)
        for step in (1, 2):
            trackers.write("train", step, {"loss": 1.0}, {})
    assert [step for step, _ in wandb.points] == [1, 2]
    assert capsys.readouterr().err.count("warning") == 1


def test_a_training_writes_every_line_and_its_result_does_not_depend_on_it(
    toy, world, tmp_path, metrics_of, wandb, tensorboard
):
    asked = {"log__tensorboard": True, "log__wandb": True}
    toy.train_toy(tmp_path / "shown", toy.ToyTask(), world, train__steps=3, **asked)
    toy.train_toy(tmp_path / "plain", toy.ToyTask(), world, train__steps=3)
    assert metrics_of(tmp_path / "shown") == metrics_of(tmp_path / "plain")
    losses = [line["loss"] for line in metrics_of(tmp_path / "shown") if line["kind"] == "train"]
    assert [value for name, value, _ in tensorboard.points if name == "train/loss"] == losses
    assert [point["train/loss"] for _, point in wandb.points if "train/loss" in point] == losses
    assert (wandb.exit_codes, tensorboard.closed) == ([0], 1)


def test_event_files_hold_what_was_written(run):
    pytest.importorskip("tensorboard", reason="an extra")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for step in (0, 2):  # stopped after 4, resumed from 2
        with Trackers(LogSection(tensorboard=True), run, step=step) as trackers:
            for number in range(step + 1, 5):
                trackers.write("train", number, {"loss": number / 4 + step}, {})
    events = EventAccumulator(str(run.path / "tensorboard"))
    events.Reload()
    assert [(point.step, point.value) for point in events.Scalars("train/loss")] == [
        (1, 0.25),
        (2, 0.5),
        (3, 2.75),
        (4, 3.0),
    ]


def test_wandb_takes_what_it_is_given(run, monkeypatch):
    pytest.importorskip("wandb", reason="an extra")
    monkeypatch.setenv("WANDB_MODE", "offline")
    with Trackers(LogSection(wandb=True), run, step=0) as trackers:
        trackers.write("train", 1, {"loss": 1.0}, {})
    assert list(run.path.glob("wandb/offline-run-*/*.wandb"))
    assert not (run.path / "log.txt").exists(), "a warning was said"
