"""Out of memory shows before the first step, in words that say what to lower; looking for it changes no number."""

import json
import signal

import pytest
import torch
from safetensors.torch import load_file

from polycli.engine.deepspeed import config
from polycli.engine.memory import out_of_memory, rehearse, wants_check
from polycli.errors import PreemptedError, TrainingError
from polycli.launch import World
from polycli.sections import EngineSection, TrainSection

VARYING = ((4, 4), (8,), (2, 6))
TRAIN = TrainSection(steps=1, global_batch_size=8, micro_batch_size=4)


@pytest.mark.parametrize(
    ("choice", "device", "checks"),
    [
        ("auto", "cpu", False),
        ("auto", "cuda", True),
        ("always", "cpu", True),
        ("never", "cuda", False),
    ],
)
def test_only_gpus_are_checked_unless_the_recipe_says_otherwise(choice, device, checks):
    assert wants_check(EngineSection(memory_check=choice), torch.device(device)) is checks


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_rehearsal_changes_no_number_before_the_first_step_or_after_a_resume(
    toy, world, tmp_path, metrics_of, monkeypatch, stage
):
    monkeypatch.setattr(config, "WHOLE_ELEMENTS", 64)

    def run(name, check, stop_after=None):
        task = toy.ToyTask(micro=VARYING, dropout=0.3)
        # A layer with buffers that every forward pass moves.
        task.model.norm = torch.nn.BatchNorm1d(toy.HIDDEN)
        if stop_after is not None:
            toy.send_signal_in_step(task, stop_after, signal.SIGTERM)
        settings = {"engine__zero_stage": stage, "engine__memory_check": check, "train__steps": 7}
        return toy.train_toy(tmp_path / name, task, world, **settings)

    never = run("never", "never")
    with pytest.raises(PreemptedError):
        run("always", "always", stop_after=4)
    always = run("always", "always")
    assert metrics_of(tmp_path / "always") == metrics_of(tmp_path / "never")
    expected, found = (load_file(outcome.checkpoint / "model.safetensors") for outcome in (never, always))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_a_rehearsal_meets_every_shape_of_the_step_once_or_what_the_task_names(toy, world):
    task, seen = toy.ToyTask(micro=((4, 4, 2, 2, 4, 6, 2),), global_batch=24), []
    stepper = Recorder(seen)
    rehearse(task, stepper, None, world, step=0)
    assert seen == [4, 2, 6]
    task.costliest_batches = lambda world: [toy.ToyBatch(0, 0, 0, 9, 1.0)]
    rehearse(task, stepper, None, world, step=0)
    assert seen[3:] == [9]


class Recorder:
    """In place of a stepper: notes how many rows each rehearsed batch has."""

    sharded = True
    device = torch.device("cpu")

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen
        self.engine = type("Engine", (), {"module": torch.nn.Linear(1, 1)})

    def rehearse(self, batches) -> None:
        self.seen += [len(batch["x"]) for batch in batches]


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory. Tried"), RuntimeError("[enforce] can't allocate memory: 9")]
)
def test_out_of_memory_ends_the_run_before_a_step_and_says_what_to_lower(toy, world, tmp_path, error):
    task = toy.ToyTask()

    def full(batch):
        raise error

    task.model.forward = full
    with pytest.raises(TrainingError) as failed:
        toy.train_toy(tmp_path / "run", task, world, engine__memory_check="always")
    assert "ran out of memory with micro-batches of 4" in failed.value.message
    assert "train.micro_batch_size=2" in failed.value.hint
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["state"], status["step"]) == ("failed", 0)


def test_the_hint_names_only_what_this_recipe_can_still_lower():
    def hint(ranks: int = 4, micro: int = 4, **engine: object) -> str:
        train = TRAIN.model_copy(update={"micro_batch_size": micro})
        return out_of_memory(MemoryError(), train, EngineSection(**engine), World(0, ranks)).hint or ""

    first = hint(zero_stage=2)
    words = ("micro_batch_size=2", "activation_checkpointing=true", "zero_stage=3", "offload=true")
    assert all(word in first for word in words)
    assert "zero_stage" not in hint(ranks=1, zero_stage=2)
    assert "offload=true with engine.zero_stage=1" in hint(zero_stage=0)
    last = hint(micro=1, zero_stage=3, offload=True, activation_checkpointing=True, precision="bfloat16")
    assert last == "use more processes, a larger device or a smaller model"
