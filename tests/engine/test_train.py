"""The training loop in one process: what it writes, keeps, resumes and refuses."""

import json
import shutil
import signal

import pytest
import torch
from safetensors.torch import load_file

from polycli.errors import (
    MissingDependencyError,
    PreemptedError,
    RecipeError,
    RunError,
    StoreError,
    TrainingError,
)

VARYING = ((4, 4), (8,), (2, 6))


def test_a_run_writes_metrics_checkpoints_and_status(toy, world, tmp_path, metrics_of, capfd):
    outcome = toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=6, train__validate_every=3)
    lines = metrics_of(tmp_path / "run")
    assert [(line["kind"], line["step"]) for line in lines] == [
        *(("train", step) for step in (1, 2, 3)),
        ("validation", 3),
        *(("train", step) for step in (4, 5, 6)),
        ("validation", 6),
    ]
    assert set(lines[0]) == {"kind", "step", "loss", "learning_rate", "gradient_norm", "error"}
    assert outcome.checkpoint == tmp_path / "run/checkpoints/step-00000006"
    assert outcome.validation["validation/loss"] == lines[-1]["validation/loss"]
    assert json.loads((tmp_path / "run/status.json").read_text()) == {
        "state": "complete",
        "step": 6,
        "checkpoint": "checkpoints/step-00000006",
        "message": "",
    }
    captured = capfd.readouterr()
    assert captured.out == ""
    assert "ZeRO 0, float32" in captured.err


def test_the_speed_of_every_line_has_its_columns(toy, world, tmp_path):
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=2)
    first = json.loads((tmp_path / "run/metrics.jsonl").read_text().splitlines()[0])["speed"]
    assert set(first) == {
        "samples_per_second",
        "tokens_per_second",
        "step_seconds",
        "data_wait_share",
        "mfu",
        "peak_memory_bytes",
    }
    assert first["samples_per_second"] == pytest.approx(8 / first["step_seconds"])
    assert first["tokens_per_second"] is None
    assert 0 < first["data_wait_share"] < 1
    # A million operations in a step of milliseconds, of the billions that any processor does in a second.
    assert 0 < first["mfu"] < 1
    assert first["peak_memory_bytes"] > 2**20


def test_a_task_that_counts_tokens_has_them_in_every_line(toy, world, tmp_path):
    task = toy.ToyTask()
    task.tokens_per_step = lambda: 48
    toy.train_toy(tmp_path / "run", task, world, train__steps=2)
    for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()[:2]:
        speed = json.loads(line)["speed"]
        assert speed["tokens_per_second"] == pytest.approx(48 / 8 * speed["samples_per_second"])


def test_the_exported_model_is_the_trained_one(toy, world, tmp_path):
    task = toy.ToyTask()
    outcome = toy.train_toy(tmp_path / "run", task, world, train__steps=2)
    weights = load_file(outcome.checkpoint / "model.safetensors")
    own = task.model.state_dict()
    assert weights.keys() == own.keys()
    assert all(torch.equal(weights[name], own[name]) for name in own)
    document = json.loads((outcome.checkpoint / "model.json").read_text())
    assert (document["family"], document["step"], document["model"]) == ("toy", 2, {"hidden": 32})


@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_a_resumed_run_equals_one_that_was_never_stopped(toy, world, tmp_path, metrics_of, stage):
    def run(name, stop_after=None, workers=0):
        task = toy.ToyTask(micro=VARYING, dropout=0.3)
        if stop_after is not None:
            toy.send_signal_in_step(task, stop_after, signal.SIGTERM)
        settings = {"engine__zero_stage": stage, "train__steps": 9, "schedule__warmup_steps": 4}
        return toy.train_toy(tmp_path / name, task, world, workers=workers, log__every=2, **settings)

    whole = run("whole")
    with pytest.raises(PreemptedError):
        run("cut", stop_after=3)
    with pytest.raises(PreemptedError):
        run("cut", stop_after=7, workers=2)
    cut = run("cut", workers=1)
    assert metrics_of(tmp_path / "cut") == metrics_of(tmp_path / "whole")
    expected, found = (load_file(outcome.checkpoint / "model.safetensors") for outcome in (whole, cut))
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.fixture
def _hears_hang_ups():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)  # The tests themselves may run under nohup.
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("_hears_hang_ups")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGHUP])
def test_a_signal_finishes_the_step_saves_and_says_so(toy, world, tmp_path, number):
    task = toy.ToyTask()
    toy.send_signal_in_step(task, 4, number)
    with pytest.raises(PreemptedError) as stopped:
        toy.train_toy(tmp_path / "run", task, world)
    assert stopped.value.exit_code == 75
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert status == {
        "state": "preempted",
        "step": 4,
        "checkpoint": "checkpoints/step-00000004",
        "message": f"stopped by {number.name}",
    }


def test_a_complete_run_is_left_as_it_is(toy, world, tmp_path):
    first = toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=3)
    before = (tmp_path / "run/metrics.jsonl").read_bytes()
    second = toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=3)
    assert second.checkpoint == first.checkpoint
    assert (tmp_path / "run/metrics.jsonl").read_bytes() == before


def test_a_run_killed_between_its_last_save_and_its_status_is_complete_when_started_again(toy, world, tmp_path):
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=3)
    status = tmp_path / "run/status.json"
    complete = status.read_text()
    status.write_text(complete.replace("complete", "running"))
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=3)
    assert json.loads(status.read_text()) == json.loads(complete)


def test_a_validation_that_is_not_finite_is_said_and_the_run_goes_on(toy, world, tmp_path, metrics_of, capsys):
    task, losses = toy.ToyTask(), iter([float("nan"), 2.0, 3.0])
    task.validate = lambda forward, world: {"validation/loss": next(losses)}
    settings = {"train__steps": 3, "train__validate_every": 1, "train__checkpoint_every": 1, "train__keep_last": 1}
    outcome = toy.train_toy(tmp_path / "run", task, world, **settings)
    assert "step 1: validation/loss is not finite" in capsys.readouterr().err
    validated = [line["validation/loss"] for line in metrics_of(tmp_path / "run") if line["kind"] == "validation"]
    assert validated == [None, 2.0, 3.0]
    assert names(tmp_path / "run") == ["step-00000002", "step-00000003"]
    assert json.loads((outcome.checkpoint / "trainer.json").read_text())["state"]["best_metric"] == 2.0


def test_the_newest_checkpoints_and_the_best_are_kept(toy, world, tmp_path):
    task = toy.ToyTask()
    losses = iter([3.0, 1.0, 2.0, 2.0, 2.0, 2.0])
    task.validate = lambda forward, world: {"validation/loss": next(losses)}
    toy.train_toy(tmp_path / "run", task, world, train__steps=6, train__validate_every=1, train__checkpoint_every=1)
    assert names(tmp_path / "run") == ["step-00000002", "step-00000005", "step-00000006"]


def test_what_killed_saves_left_is_cleared_and_never_loaded(toy, world, tmp_path):
    task = toy.ToyTask()
    toy.send_signal_in_step(task, 2, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world)
    folder = tmp_path / "run/checkpoints"
    shutil.copytree(folder / "step-00000002", folder / ".step-00000004.partial-0badf00d")
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=3)
    assert names(tmp_path / "run") == ["step-00000002", "step-00000003"]
    assert not list(folder.glob(".*"))


def test_a_checkpoint_with_a_flipped_byte_is_passed_over_for_the_one_before(toy, world, tmp_path, metrics_of, capsys):
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    expected = metrics_of(tmp_path / "run")
    damaged = tmp_path / "run/checkpoints/step-00000010/optimizer/rank-00000.safetensors"
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    outcome = toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    assert "step-00000010" in capsys.readouterr().err
    assert outcome.checkpoint.name == "step-00000010"
    assert metrics_of(tmp_path / "run") == expected


def test_a_run_whose_checkpoints_are_all_damaged_is_refused(toy, world, tmp_path):
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__keep_last=1, train__validate_every=10)
    (tmp_path / "run/checkpoints/step-00000010/model.safetensors").write_bytes(b"")
    with pytest.raises(RunError, match="none is whole"):
        toy.train_toy(tmp_path / "run", toy.ToyTask(), world)


def test_another_optimizer_is_refused_on_resume_and_the_run_stays_as_it_was(toy, world, tmp_path):
    task = toy.ToyTask()
    toy.send_signal_in_step(task, 2, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world)
    with pytest.raises(RunError, match=r"optim.name adamw, this start asks for adan.*--set optim.name=adamw"):
        toy.train_toy(tmp_path / "run", toy.ToyTask(), world, optim__name="adan")
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "preempted"


def test_optimizers_that_cannot_work_are_refused_before_anything_is_loaded(toy, world, tmp_path):
    with pytest.raises(RecipeError, match="dadapt_adan"):
        toy.train_toy(tmp_path / "run", toy.ToyTask(), world, optim__name="dadapt_adan", engine__zero_stage=2)


def test_an_infinite_loss_with_a_finite_gradient_is_skipped_too(toy, world, tmp_path, metrics_of):
    task = toy.ToyTask()
    forward = task.model.forward
    calls = iter(range(100))

    def infinite_once(batch):
        loss, metrics = forward(batch)
        return (loss + float("inf") if next(calls) == 2 else loss), metrics

    task.model.forward = infinite_once
    outcome = toy.train_toy(tmp_path / "run", task, world, train__steps=4, train__validate_every=4)
    bad = [line for line in metrics_of(tmp_path / "run") if line["kind"] == "bad_step"]
    assert [(line["step"], line["samples"]) for line in bad] == [(3, [f"toy/2@{row}" for row in range(8)])]
    assert outcome.bad_steps == 1


def test_bad_steps_in_a_row_end_the_run_and_name_the_last_good_checkpoint(toy, world, tmp_path):
    task = toy.ToyTask(poison={2: 0, 5: 0, 6: 0})
    with pytest.raises(TrainingError) as failed:
        toy.train_toy(tmp_path / "run", task, world, train__max_bad_steps=2)
    assert failed.value.exit_code == 1
    assert "step 7: the loss is not finite in toy/6@" in failed.value.message
    assert "checkpoints/step-00000005" in failed.value.hint
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["state"], status["step"]) == ("failed", 7)
    assert status["checkpoint"] == "checkpoints/step-00000005"


def test_a_reader_that_fails_ends_the_run_as_failed(toy, world, tmp_path):
    task = toy.ToyTask()
    batches = task.micro_batches

    def unreadable(step, world):
        if step == 3:
            raise OSError("the disk is gone")
        return batches(step, world)

    task.micro_batches = unreadable
    with pytest.raises(OSError, match="the disk is gone"):
        toy.train_toy(tmp_path / "run", task, world, workers=2)
    assert json.loads((tmp_path / "run/status.json").read_text())["state"] == "failed"


def test_a_store_that_turns_out_to_be_damaged_fails_the_run(toy, world, tmp_path):
    task = toy.ToyTask()
    batches = task.micro_batches

    def damaged(step, world):
        if step == 3:
            raise StoreError("a chunk is damaged")
        return batches(step, world)

    task.micro_batches = damaged
    with pytest.raises(StoreError):
        toy.train_toy(tmp_path / "run", task, world)
    status = json.loads((tmp_path / "run/status.json").read_text())
    assert (status["state"], status["message"]) == ("failed", "a chunk is damaged")


def test_activation_checkpointing_reaches_the_model_and_changes_no_number(toy, world, tmp_path, metrics_of):
    task = toy.ToyTask(dropout=0.3)
    toy.train_toy(tmp_path / "kept", toy.ToyTask(dropout=0.3), world, train__steps=3)
    computed: list[str] = []
    for name, module in task.model.named_children():
        forward = module.forward
        module.forward = lambda x, name=name, forward=forward: (computed.append(name), forward(x))[1]
    toy.train_toy(tmp_path / "again", task, world, train__steps=3, engine__activation_checkpointing=True)
    blocks = ["first", "norm", "dropout", "last"]
    assert computed[:8] == [*blocks, *reversed(blocks)]  # forward, and again in the backward pass
    assert metrics_of(tmp_path / "again") == metrics_of(tmp_path / "kept")


def test_a_model_without_blocks_to_recompute_says_so(toy, world, tmp_path):
    task = toy.ToyTask()
    task.blocks = lambda: ()
    with pytest.raises(RecipeError, match="activation_checkpointing"):
        toy.train_toy(tmp_path / "run", task, world, engine__activation_checkpointing=True)


def test_compile_without_a_compiler_says_what_is_missing(toy, world, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match=r"C\+\+ compiler.*polycli doctor"):
        toy.train_toy(tmp_path / "run", toy.ToyTask(), world, engine__compile=True)


def test_a_model_is_compiled_block_by_block_or_as_a_whole_where_it_has_none(toy, world, tmp_path, monkeypatch):
    compiled: list[str] = []
    monkeypatch.setattr("deepspeed.DeepSpeedEngine.compile", lambda *_, **__: compiled.append("all"))
    monkeypatch.setattr("torch.nn.Module.compile", lambda self, **_: compiled.append(type(self).__name__))
    whole = toy.ToyTask()
    whole.blocks = lambda: ()
    for name, task in (("blocks", toy.ToyTask()), ("whole", whole)):
        toy.train_toy(tmp_path / name, task, world, train__steps=1, engine__compile=True)
    assert compiled == ["Linear", "LayerNorm", "Dropout", "Linear", "all"]


@pytest.mark.slow
@pytest.mark.parametrize("blocks", [True, False])
def test_a_compiled_run_trains_as_an_eager_one(toy, world, tmp_path, metrics_of, blocks):
    for name, compiled in (("eager", False), ("compiled", True)):
        task = toy.ToyTask()
        if not blocks:
            task.blocks = lambda: ()
        toy.train_toy(tmp_path / name, task, world, engine__zero_stage=2, engine__compile=compiled)
    runs = (metrics_of(tmp_path / name) for name in ("compiled", "eager"))
    found, expected = ([line for line in lines if line.pop("kind")] for lines in runs)
    assert found == [pytest.approx(line, rel=1e-4) for line in expected]


def names(run) -> list[str]:
    return sorted(folder.name for folder in (run / "checkpoints").glob("step-*"))
