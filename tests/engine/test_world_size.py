"""A run goes on with another number of processes and at another ZeRO stage, 2 -> 1 -> 2, as if nothing had happened."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from polycli.launch import start_ranks

pytestmark = pytest.mark.distributed
HERE = Path(__file__).parent
#: Relative difference of a loss, a gradient norm or a validation. All is float32 (bfloat16 rounds the same
#: micro-batches in the same way), so only the order of sums over micro-batches and ranks differs.
TOLERANCE = 2e-6
NAMES = [
    *(f"{optimizer}-{stage}" for optimizer in ("adamw", "adan") for stage in (1, 2, 3)),
    *("adamw-0", "dadapt_adan-0", "bfloat16-2", "adan-bfloat16-3", "adamw-1-3-2", "adan-2-0-3"),
]


@pytest.fixture(scope="module")
def script(toy):
    """The module `world_size_ranks.py` beside this file."""
    spec = importlib.util.spec_from_file_location("world_size_ranks", HERE / "world_size_ranks.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["world_size_ranks"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def runs(script, tmp_path_factory) -> Path:
    """The whole table, in one launch."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            patch.delenv(name, raising=False)
        assert start_ranks(1, [sys.executable, script.__file__, str(folder)]) == 0
    return folder


def test_the_table_is_the_one_that_was_run(script):
    assert list(script.RUNS) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_curve_continues_on_the_same_samples(runs, metrics_of, name):
    whole, cut = (metrics_of(runs / name / run) for run in ("whole", "cut"))
    assert [line.pop("kind") for line in cut] == [line.pop("kind") for line in whole]
    assert len(whole) == 12 + 3
    assert cut == [pytest.approx(line, rel=TOLERANCE) for line in whole]


@pytest.mark.parametrize("name", NAMES)
def test_each_of_the_three_starts_is_in_the_log_and_says_what_changed(runs, script, name):
    stages = script.RUNS[name][2]
    log = (runs / name / "cut/log.txt").read_text()
    assert f"saved by 2 processes at ZeRO {stages[0]}, resumed by 1 process at ZeRO {stages[1]}: optimizer state" in log
    assert f"saved by 1 process at ZeRO {stages[1]}, resumed by 2 processes at ZeRO {stages[2]}: optimizer state" in log
    assert "resumed by" not in (runs / name / "whole/log.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_every_checkpoint_says_who_saved_it(runs, script, name):
    folder = runs / name / "cut/checkpoints"
    manifests = [json.loads(path.read_text()) for path in sorted(folder.glob("*/MANIFEST.json"))]
    assert [(m["step"], m["world_size"], m["zero_stage"]) for m in manifests[-2:]] == [
        (script.SECOND, 1, script.RUNS[name][2][1]),
        (script.STEPS, 2, script.RUNS[name][2][2]),
    ]
