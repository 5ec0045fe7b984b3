"""What a run says before its first step."""

import json
import signal

import pytest

from polycli.engine.start_report import jump_of_rate
from polycli.errors import PreemptedError
from polycli.sections import OptimSection, ScheduleSection


def test_more_steps_after_a_cosine_are_said_to_jump_with_the_choice_that_does_not(toy, world, tmp_path, capsys):
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, optim__learning_rate=0.1)
    assert "the learning rate was" not in capsys.readouterr().err
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, optim__learning_rate=0.1, train__steps=20)
    err = capsys.readouterr().err
    # The end of the cosine, and its middle: 0.1 * (0.01 + 0.99 * (1 + cos(pi * 11 / 20)) / 2).
    assert "warning: the learning rate was 0.001 in step 10 and is 0.0428 in step 11" in err
    assert "--set schedule.name=constant --set optim.learning_rate=0.001" in err
    assert err.index("the learning rate was") < err.index("pretrain toy: 20/20")


def test_that_is_said_of_runs_of_earlier_versions_too(toy, world, tmp_path, capsys):
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, optim__learning_rate=0.1)
    checkpoint = tmp_path / "run/checkpoints/step-00000010"
    trainer = json.loads((checkpoint / "trainer.json").read_text())
    for name in ("learning_rate", "metrics_bytes", "metrics_sha256"):
        del trainer["state"][name]
    forge(checkpoint, "trainer.json", json.dumps(trainer))
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, optim__learning_rate=0.1, train__steps=20)
    assert "the learning rate was 0.001 in step 10 and is 0.0428 in step 11" in capsys.readouterr().err


def test_a_run_that_goes_on_as_it_was_planned_says_nothing_of_rates(toy, world, tmp_path, capsys):
    task = toy.ToyTask()
    toy.send_signal_in_step(task, 3, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world, schedule__warmup_steps=2)
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, schedule__warmup_steps=2)
    assert "the learning rate was" not in capsys.readouterr().err


def test_a_constant_schedule_at_the_last_rate_does_not_jump():
    constant = ScheduleSection(name="constant")
    assert jump_of_rate(0.001, OptimSection(learning_rate=0.001), constant, steps=20, step=10) is None
    said = jump_of_rate(0.001, OptimSection(learning_rate=0.1), constant, steps=20, step=10)
    assert said == "the learning rate was 0.001 in step 10 and is 0.1 in step 11"


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda text: text.replace('"kind"', '"kin', 1), "line 1 is damaged (no JSON document); left out"),
        (lambda text: text.replace('"step": 2', '"step": "2"', 1), "line 2 is damaged (its step is '2'"),
        (lambda text: text.replace('"loss": ', '"loss": 1', 1), "not those that were written"),
        (lambda text: "".join(text.splitlines(keepends=True)[1:]), "not those that were written"),
        (lambda text: "", "not those that were written (0 bytes where there were"),
    ],
)
def test_damaged_metrics_are_said_and_the_run_goes_on(toy, world, tmp_path, capsys, damage, said):
    task = toy.ToyTask()
    toy.send_signal_in_step(task, 4, signal.SIGTERM)
    with pytest.raises(PreemptedError):
        toy.train_toy(tmp_path / "run", task, world)
    metrics = tmp_path / "run/metrics.jsonl"
    metrics.write_text(damage(metrics.read_text()))
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world)
    err = capsys.readouterr().err
    assert f"{metrics}: " in err
    assert said in err
    lines = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert lines[-1]["step"] == 10


def forge(checkpoint, name, text) -> None:
    """Replace a file of a checkpoint, as if it had been saved so."""
    from polycli.checkpoints.manifest import read_manifest, write_manifest

    manifest = read_manifest(checkpoint)
    (checkpoint / name).write_text(text)
    (checkpoint / "MANIFEST.json").unlink()
    about = manifest.model_dump(include={"step", "family", "verb", "world_size", "zero_stage", "optimizer"})
    write_manifest(checkpoint, **about)
