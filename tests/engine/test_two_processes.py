"""The engine on two gloo ranks, and under SIGKILL. A launch costs seconds, so each one runs many configurations."""

import json
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from polycli.launch import start_ranks

pytestmark = pytest.mark.distributed
HERE = Path(__file__).parent
#: Largest difference of a weight after 20 steps, relative to the largest weight of its tensor, and of the gradient
#: norm of any step. Both sides work in float32 (bfloat16 rounds the same way on both), so only the order of sums
#: differs; the largest difference seen is 4e-7.
TOLERANCE = 2e-6


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    """Run a script of this folder on some ranks, in a folder of its own."""

    def start(script: str, *arguments: str, count: int = 2) -> int:
        with pytest.MonkeyPatch.context() as patch:
            for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
                patch.delenv(name, raising=False)
            return start_ranks(count, [sys.executable, str(HERE / script), *arguments])

    return start


@pytest.fixture(scope="module")
def parity(launch, tmp_path_factory) -> list[dict[str, Any]]:
    output = tmp_path_factory.mktemp("parity") / "results.json"
    assert launch("parity_ranks.py", str(output), count=1) == 0
    return json.loads(output.read_text())


@pytest.fixture(scope="module")
def scenarios(launch, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("scenarios")
    assert launch("scenario_ranks.py", str(folder), count=1) == 0
    return folder


@pytest.fixture(scope="module")
def killed(launch, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("killed")
    assert launch("killed_saves.py", str(folder), count=1) == 0
    return folder


ZERO_TABLE = [
    (stage, offload, precision, accumulate)
    for stage in range(4)
    for offload in (False, True)
    for precision in ("float32", "bfloat16")
    for accumulate in ("one", "four")
    if stage > 0 or not offload
]


@pytest.mark.parametrize(("stage", "offload", "precision", "accumulate"), ZERO_TABLE)
def test_every_zero_stage_equals_a_plain_torch_loop(parity, stage, offload, precision, accumulate):
    case = {"stage": stage, "offload": offload, "precision": precision, "accumulate": accumulate}
    [result] = [result for result in parity if case.items() <= result.items()]
    assert result["largest_norm"] > 1, "clipping must be at work"
    assert result["weights"] < TOLERANCE
    assert result["norm"] < TOLERANCE


@pytest.mark.parametrize(
    "case",
    [
        *({"accumulate": "varying", "stage": stage} for stage in range(4)),
        *({"optimizer": "adan", "stage": stage} for stage in range(4)),
        {"optimizer": "dadapt_adan", "stage": 0},
        *({"clip": None, "stage": stage} for stage in (0, 2)),
        *({"recompute": True, "stage": stage} for stage in (0, 2, 3)),
    ],
    ids=str,
)
def test_uneven_accumulation_optimizers_no_clipping_and_recomputation_equal_a_plain_torch_loop(parity, case):
    found = [result for result in parity if case.items() <= result.items()]
    assert found
    assert all(max(result["weights"], result["norm"]) < TOLERANCE for result in found)


@pytest.mark.parametrize(
    "name",
    [
        *(f"adamw-{stage}" for stage in range(4)),
        *("adan-1", "adan-3", "adan-2-bfloat16", "adamw-3-bfloat16-average", "adamw-1-offload-average"),
    ],
)
def test_a_run_of_two_processes_stopped_by_a_signal_on_one_of_them_resumes_exactly(scenarios, metrics_of, name):
    name = f"resume-{name}"
    report = json.loads((scenarios / "report.json").read_text())[name]
    assert (report["code"], report["status"]["state"], report["status"]["step"]) == (75, "preempted", 4)
    whole, cut = scenarios / name / "whole", scenarios / name / "cut"
    assert metrics_of(cut) == metrics_of(whole)
    last = "checkpoints/step-00000008"
    files = [path.relative_to(whole) for path in (whole / last).rglob("*.safetensors")]
    assert len(files) == (4 if "average" in name else 3)
    assert all((cut / file).read_bytes() == (whole / file).read_bytes() for file in files)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_bad_numbers_on_one_rank_stop_every_rank_before_the_optimizer_moves(scenarios, metrics_of, stage):
    run = scenarios / f"bad-{stage}"
    bad = [(line["step"], line["samples"]) for line in metrics_of(run) if line["kind"] == "bad_step"]
    assert bad == [(step, [f"toy/{step - 1}@6", f"toy/{step - 1}@7"]) for step in (3, 5, 6, 7)]
    before, after = (
        load_file(run / name) for name in ("checkpoints/step-00000004/model.safetensors", "after.safetensors")
    )
    assert all((before[name] == after[name]).all() for name in before)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_bad_steps_in_a_row_end_every_rank_with_the_same_sentence(scenarios, stage):
    messages = json.loads((scenarios / "report.json").read_text())[f"bad-{stage}"]["messages"]
    assert len(set(messages)) == 1
    assert "step 7: the loss is not finite in toy/6@6, toy/6@7; 3 bad steps in a row" in messages[0]


def test_an_error_of_any_rank_is_said_by_rank_0_and_ends_the_others_quietly_with_the_same_code(scenarios):
    errors = json.loads((scenarios / "report.json").read_text())["errors"]
    assert errors["on_rank_zero"][0].startswith("RunError(")
    assert errors["on_rank_zero"][1] == "SystemExit(2)"
    assert errors["on_rank_one"] == ["StoreError('rank 1 sees a damaged store')", "SystemExit(2)"]


def test_at_stage_0_one_process_goes_on_with_the_run_of_two(scenarios, toy, world, metrics_of):
    folder = scenarios / "world"
    toy.train_toy(folder / "cut", toy.ToyTask(), world, train__steps=8)
    found, expected = ([line for line in metrics_of(folder / run) if line.pop("kind")] for run in ("cut", "whole"))
    assert found == [pytest.approx(line, rel=1e-5) for line in expected]


@pytest.mark.parametrize(
    ("point", "left"),
    [
        ("polycli.engine.checkpoints.checkpointing.exported_weights", ["step-00000003"]),
        ("polycli.engine.checkpoints.checkpointing.Writer", ["step-00000003"]),
        ("polycli.engine.checkpoints.saving.write_tensors", ["step-00000003"]),
        ("polycli.engine.checkpoints.checkpointing.write_manifest", ["step-00000003"]),
        ("polycli.engine.checkpoints.checkpointing.publish", ["step-00000003"]),
        ("polycli.engine.checkpoints.checkpointing.prune", ["step-00000003", "step-00000006"]),
        ("shutil.rmtree", ["step-00000006"]),
    ],
)
def test_a_run_killed_inside_a_save_goes_on_from_a_whole_checkpoint_and_ends_the_same(killed, metrics_of, point, left):
    report = json.loads((killed / "report.json").read_text())
    assert report[point] == {"killed": signal.SIGKILL, "left": left, "ended": 0}
    assert metrics_of(killed / point) == metrics_of(killed / "whole")
    kept = [sorted(path.name for path in (killed / run / "checkpoints").iterdir()) for run in (point, "whole")]
    assert kept[0] == kept[1]


def test_a_rank_killed_inside_a_save_takes_the_other_down_and_the_run_goes_on(launch, tmp_path, metrics_of):
    started = time.monotonic()
    assert launch("killed_rank.py", str(tmp_path), "kill") == 128 + signal.SIGKILL
    assert time.monotonic() - started < 60
    assert [path.name for path in (tmp_path / "cut/checkpoints").glob("step-*")] == ["step-00000003"]
    assert launch("killed_rank.py", str(tmp_path), "live") == 0
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
