"""Several ranks: the same samples on any number of them, averages, rehearsals, spikes and data that does not fit."""

import json
import sys
from collections import defaultdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from polycli.engine.deepspeed import config
from polycli.launch import start_ranks

pytestmark = pytest.mark.distributed
DECAY = 0.8


@pytest.fixture(scope="module")
def worlds(tmp_path_factory) -> Path:
    """What `worlds.py` leaves: one launch, because the imports cost more than all of its runs."""
    folder = tmp_path_factory.mktemp("worlds")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            patch.delenv(name, raising=False)
        assert start_ranks(1, [sys.executable, str(Path(__file__).with_name("worlds.py")), str(folder)]) == 0
    report = json.loads((folder / "report.json").read_text())
    assert all(report.values()), report
    return folder


def test_one_two_and_four_processes_see_the_same_global_batches(worlds):
    def batches(size: int) -> dict[str, list[str]]:
        found = defaultdict(list)
        for rank in range(size):
            for line in (worlds / f"batches/{size}/rank-{rank}.txt").read_text().splitlines():
                step, *samples = line.split()
                found[step] += samples
        return {step: sorted(samples) for step, samples in found.items()}

    alone = batches(1)
    assert sorted(alone) == [str(step) for step in range(6)]
    assert alone["3"] == sorted(f"toy/3@{row}" for row in range(16))
    assert batches(2) == alone
    assert batches(4) == alone


@pytest.mark.parametrize("size", [2, 4])
def test_the_loss_on_several_processes_is_that_on_one_but_for_rounding(worlds, metrics_of, size):
    found, expected = (
        [line for line in metrics_of(worlds / f"batches/{n}/run") if line.pop("kind")] for n in (size, 1)
    )
    assert found == [pytest.approx(line, rel=1e-5) for line in expected]


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_the_average_on_two_processes_is_torchs_over_the_weights_of_every_step(worlds, toy, stage):
    whole = worlds / f"averages/{stage}/whole/checkpoints"
    averages = AveragedModel(toy.ToyTask().model, multi_avg_fn=get_ema_multi_avg_fn(DECAY))
    for step in range(1, 7):
        model = toy.ToyTask().model
        model.load_state_dict(load_file(whole / f"step-{step:08d}/weights.safetensors"))
        averages.update_parameters(model)
    found = load_file(whole / "step-00000006/model.safetensors")
    for name, tensor in averages.module.state_dict().items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_resume_on_two_processes_has_the_same_average_bit_for_bit(worlds, metrics_of, stage):
    whole, cut = (worlds / f"averages/{stage}/{name}" for name in ("whole", "cut"))
    assert metrics_of(cut) == metrics_of(whole)
    for file in ("model.safetensors", "weights.safetensors"):
        last = f"checkpoints/step-00000006/{file}"
        assert (cut / last).read_bytes() == (whole / last).read_bytes()


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_one_process_goes_on_with_the_average_of_two(worlds, toy, world, monkeypatch, stage):
    monkeypatch.setattr(config, "WHOLE_ELEMENTS", 64)
    run = worlds / f"averages/{stage}/left"
    settings = {"engine__zero_stage": stage, "train__steps": 6, "optim__ema_decay": DECAY}
    outcome = toy.train_toy(run, toy.ToyTask(micro=((8,),)), world, **settings)
    found = load_file(outcome.checkpoint / "model.safetensors")
    expected = load_file(worlds / f"averages/{stage}/whole/checkpoints/step-00000006/model.safetensors")
    for name, tensor in expected.items():
        # AdamW's first steps turn the rounding of small gradients into rounding of steps.
        torch.testing.assert_close(found[name], tensor, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("case", ["0", "1", "2", "3", "offload"])
def test_a_rehearsal_on_two_processes_changes_no_number(worlds, metrics_of, case):
    always, never = (worlds / f"rehearsals/{case}/{check}" for check in ("always", "never"))
    assert metrics_of(always) == metrics_of(never)
    last = "checkpoints/step-00000004/model.safetensors"
    assert (always / last).read_bytes() == (never / last).read_bytes()


def test_a_spike_on_one_rank_is_recorded_with_the_samples_of_all_and_nothing_else_changes(worlds, metrics_of):
    whole, cut, unwatched = (metrics_of(worlds / f"spikes/{name}") for name in ("whole", "cut", "unwatched"))
    found = [line for line in whole if line["kind"] == "spike"]
    assert [line["step"] for line in found] == [25]
    assert found[0]["samples"] == [f"toy/24@{row}" for row in range(8)]
    training = {line["step"]: line["loss"] for line in whole if line["kind"] == "train"}
    assert found[0]["loss"] == pytest.approx(training[25])
    assert found[0]["median"] == pytest.approx(sum(sorted(training[step] for step in range(1, 25))[11:13]) / 2)
    assert found[0]["deviations"] > 10
    assert cut == whole
    assert unwatched == [line for line in whole if line["kind"] != "spike"]
    assert "step 25: loss" in (worlds / "spikes/whole/log.txt").read_text()


def test_metrics_that_only_some_ranks_have_are_averaged_over_those(worlds, metrics_of):
    lines = [line for line in metrics_of(worlds / "different_metrics/run") if line["kind"] == "train"]
    # Rank 0 reports 1 and rank 1 reports 2, each under the dataset that it drew; rank 1 draws none in the last step.
    assert [(line.get("cns"), line.get("swe")) for line in lines] == [(1.0, 2.0), (2.0, 1.0), (1.0, None)]


def test_parts_that_do_not_fit_together_end_all_ranks_with_the_same_sentence_before_the_step(worlds):
    on_zero, on_one = (json.loads((worlds / f"uneven_parts/ends-{rank}.json").read_text()) for rank in (0, 1))
    assert on_zero == on_one
    uneven = "UnevenBatchesError: the next step's micro-batches"
    assert on_zero == {
        "more": f"{uneven} are not as many on all ranks: 1 on rank 0, 2 on rank 1",
        "fewer_samples": "UnevenBatchesError: the next step has 7 samples over all ranks, train.global_batch_size is 8",
        "none": f"{uneven} are not as many on all ranks: 1 on rank 0, 0 on rank 1",
        "lost": f"{uneven} on rank 1 weigh 0.75 in all, not 1",
    }


def test_one_sample_for_each_rank_is_enough(worlds, metrics_of):
    steps = [line["step"] for line in metrics_of(worlds / "tiny/run") if line["kind"] == "train"]
    assert steps == [1, 2, 3]
