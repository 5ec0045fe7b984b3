"""DeepSpeed as the engine starts it."""

import subprocess

import pytest

from polycli.engine.batches.prefetch import LoadedBatch
from polycli.engine.deepspeed.backend import device_of, start_engine
from polycli.engine.stepper import Stepper, StepResult
from polycli.sections import EngineSection, OptimSection


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_step_starts_no_other_process(toy, world, monkeypatch, stage):
    """ZeRO 3 asks how many devices there are in every backward pass, and on CPUs `numactl` would be asked each time."""
    task = toy.ToyTask()
    engine = start_engine(task.model, OptimSection(), EngineSection(zero_stage=stage), world)
    stepper = Stepper(engine, device=device_of(world), clip_norm=1.0)

    def step() -> StepResult:
        result = StepResult()
        for batch in task.micro_batches(0, world):
            stepper.accumulate(LoadedBatch(batch, batch.load(), True), result)
        stepper.move(result, 1e-3)
        return result

    step()
    monkeypatch.setattr(subprocess, "Popen", lambda *arguments, **_: pytest.fail(f"started {arguments[0]}"))
    assert step().moved


@pytest.mark.parametrize("stage", [0, 2])
def test_a_scheduled_weight_decay_reaches_weights_and_spares_biases(toy, world, stage):
    task = toy.ToyTask()
    engine = start_engine(task.model, OptimSection(weight_decay=0.1), EngineSection(zero_stage=stage), world)
    stepper = Stepper(engine, device=device_of(world), clip_norm=1.0)
    result = StepResult()
    for batch in task.micro_batches(0, world):
        stepper.accumulate(LoadedBatch(batch, batch.load(), True), result)
    before = sorted(group["weight_decay"] for group in engine.basic_optimizer.param_groups)
    stepper.move(result, 1e-3, 0.7)
    after = sorted(group["weight_decay"] for group in engine.basic_optimizer.param_groups)

    assert before == [0.0, 0.1]
    assert after == [0.0, 0.7]
