"""Two forked ranks: every engine configuration beside a plain torch loop on the same samples; writes what differs.

One launch runs them all.
"""

from __future__ import annotations

import itertools
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import torch
from forked import import_everything, in_a_world
from toy import ToyTask

from polycli.engine.batches.prefetch import LoadedBatch
from polycli.engine.checkpoints.export import exported_weights
from polycli.engine.deepspeed import backend
from polycli.engine.deepspeed.optimizers import build_optimizer
from polycli.engine.stepper import Stepper, StepResult
from polycli.launch import World
from polycli.sections import EngineSection, OptimSection

STEPS = 20
#: Beyond the table: enough for every accumulation of a cycle to come twice.
FEWER_STEPS = 8
#: How a rank's four samples of a step are cut into micro-batches, by step.
ACCUMULATION = {"one": ((4,),), "four": ((1, 1, 1, 1),), "varying": ((4,), (2, 2), (1, 3), (1, 1, 2))}
LEARNING_RATE = 1e-2


def configurations() -> list[dict[str, Any]]:
    table = [
        {"stage": stage, "precision": precision, "accumulate": accumulate, "offload": offload}
        for stage, offload, precision, accumulate in itertools.product(
            (0, 1, 2, 3), (False, True), ("float32", "bfloat16"), ("one", "four")
        )
        if stage > 0 or not offload
    ]
    more: list[dict[str, Any]] = [{"stage": stage, "accumulate": "varying"} for stage in (0, 1, 2, 3)]
    more += [{"stage": stage, "optimizer": "adan", "accumulate": "varying"} for stage in (0, 1, 2, 3)]
    more += [{"stage": 0, "optimizer": "dadapt_adan", "accumulate": "one"}]
    more += [{"stage": stage, "clip": None, "accumulate": "one"} for stage in (0, 2)]
    more += [{"stage": stage, "recompute": True, "accumulate": "varying"} for stage in (0, 2, 3)]
    return table + [{**case, "steps": FEWER_STEPS} for case in more]


def sections(case: dict[str, Any]) -> tuple[OptimSection, EngineSection]:
    optim = OptimSection(
        name=case.get("optimizer", "adamw"),
        learning_rate=1.0 if case.get("optimizer") == "dadapt_adan" else LEARNING_RATE,
        weight_decay=0.05,
        clip_norm=case.get("clip", 1.0),
    )
    engine = EngineSection(
        zero_stage=case["stage"],
        offload=case.get("offload", False),
        precision=case.get("precision", "float32"),
        activation_checkpointing=case.get("recompute", False),
    )
    return optim, engine


def new_task(case: dict[str, Any]) -> ToyTask:
    return ToyTask(global_batch=8, micro=ACCUMULATION[case["accumulate"]])


def with_the_engine(case: dict[str, Any], world: World) -> tuple[dict[str, torch.Tensor], list[float]]:
    optim, engine = sections(case)
    task = new_task(case)
    started = backend.start_engine(task.model, optim, engine, world, blocks=task.blocks())
    stepper = Stepper(started, device=torch.device("cpu"), clip_norm=optim.clip_norm)
    norms = []
    for step in range(case.get("steps", STEPS)):
        result = StepResult()
        batches = task.micro_batches(step, world)
        for index, batch in enumerate(batches, start=1):
            stepper.accumulate(LoadedBatch(batch, batch.load(), index == len(batches)), result)
        stepper.move(result, optim.learning_rate * (1 - step / (2 * STEPS)))
        assert result.moved
        norms.append(result.gradient_norm)
    weights = exported_weights(task.exported(), world)
    started.destroy()
    return weights, norms


def with_plain_torch(case: dict[str, Any], world: World) -> tuple[dict[str, torch.Tensor], list[float]]:
    optim, engine = sections(case)
    task = new_task(case)
    optimizer = build_optimizer(optim, task.model)
    lower = torch.autocast("cpu", dtype=torch.bfloat16, enabled=engine.precision == "bfloat16")
    norms = []
    for step in range(case.get("steps", STEPS)):
        for rank in range(world.size):
            for batch in task.micro_batches(step, World(rank, world.size)):
                with lower:
                    loss, _ = task.model(batch.load())
                (loss * batch.weight / world.size).backward()
        for group in optimizer.param_groups:
            group["lr"] = optim.learning_rate * (1 - step / (2 * STEPS))
        limit = float("inf") if optim.clip_norm is None else optim.clip_norm
        norms.append(float(torch.nn.utils.clip_grad_norm_(task.model.parameters(), limit)))
        optimizer.step()
        optimizer.zero_grad()
    return {name: tensor.detach() for name, tensor in task.model.state_dict().items()}, norms


def difference(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> float:
    """The largest difference, relative to the largest weight of each tensor."""
    assert found.keys() == expected.keys()
    return max(
        float((found[name] - expected[name]).abs().max() / expected[name].abs().max().clamp(min=1e-3))
        for name in expected
    )


def compare(output: Path, world: World) -> None:
    results = []
    # A plain loop knows nothing of stages, offload and recomputation.
    plain: dict[str, tuple[dict[str, torch.Tensor], list[float]]] = {}
    for case in configurations():
        found, norms = with_the_engine(case, world)
        if world.rank == 0:
            key = str({**case, "stage": None, "offload": None, "recompute": None})
            if key not in plain:
                plain[key] = with_plain_torch(case, world)
            expected, expected_norms = plain[key]
            norm = max(abs(a - b) / b for a, b in zip(norms, expected_norms, strict=True))
            results.append({**case, "weights": difference(found, expected), "norm": norm, "largest_norm": max(norms)})
    if world.rank == 0:
        output.write_text(json.dumps(results))


def main(output: Path) -> None:
    import_everything()
    sys.exit(not in_a_world(2, lambda world: compare(output, world)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
