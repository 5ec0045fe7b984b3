"""`inspect RUN --verify` on runs as the engine leaves them: whole ones pass, and any damage of any file is named."""

import json
import shutil

import pytest

from polycli.engine.run import Run
from polycli.errors import PolycliError
from polycli.inspection import inspect_path
from polycli.launch import World

RECIPE = "family: toy\nverb: pretrain\n"
DATA = {"waves": {"store_hash": "ab" * 32, "path": "/data/waves.zarr"}}


@pytest.fixture
def run(toy, world, tmp_path):
    """A complete run of two checkpoints."""
    Run.create_or_resume(tmp_path / "run", RECIPE, resume="auto", world=World(), data=DATA).close()
    toy.train_toy(tmp_path / "run", toy.ToyTask(), world, train__steps=4, train__checkpoint_every=2)
    return tmp_path / "run"


def verified(run) -> str:
    return next(line for line in inspect_path(run, verify=True).lines if "verified" in line)


def flipped(content: bytes, place: float) -> bytes:
    changed = bytearray(content)
    changed[int(place * (len(content) - 1))] ^= 4
    return bytes(changed)


PLACES = (0, 0.2, 0.4, 0.6, 0.8, 1)
DAMAGES = {
    "cut to half": lambda content: content[: len(content) // 2],
    "cut by two bytes": lambda content: content[:-2],
    "emptied": lambda content: b"",
    **{f"a bit at {place}": lambda content, place=place: flipped(content, place) for place in PLACES},
}


def answer(run) -> str | None:
    """The sentence that refuses a run; None for one that passes."""
    try:
        inspect_path(run, verify=True)
    except PolycliError as error:
        return f"{error.exit_code}: {error.message}"
    return None


def test_a_whole_run_passes_and_every_damage_of_every_file_is_named(run):
    assert "recipe, data and metrics are as they were written" in verified(run)
    files = [path.relative_to(run) for path in sorted(run.rglob("*")) if path.is_file()]
    files = [path for path in files if path.name not in {"log.txt", ".lock", "status.json"}]
    assert {path.name for path in files} >= {
        "recipe.yaml",
        "data.json",
        "metrics.jsonl",
        "MANIFEST.json",
        "trainer.json",
    }
    answers = {}
    for name in files:
        content = (run / name).read_bytes()
        for damage, change in DAMAGES.items():
            (run / name).write_bytes(change(content))
            answers[f"{name}, {damage}"] = answer(run)
        (run / name).unlink()
        if name.name != ".hashes.json":  # without which a run is one of an earlier version
            answers[f"{name}, deleted"] = answer(run)
        (run / name).write_bytes(content)
    assert [damage for damage, said in answers.items() if said is None or not said.startswith("2: ")] == []
    assert [damage for damage, said in answers.items() if damage.split(",")[0].split("/")[-1] not in str(said)] == []
    verified(run)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        '{"state": "done", "step": 4}',
        '{"state": "complete", "step": 3, "checkpoint": null, "message": ""}',
        '{"state": "complete", "step": "4"}',
        '{"state": "complete", "step": 4, "checkpoint": "checkpoints/step-00000005"}',
    ],
)
def test_a_status_that_cannot_be_is_named(run, text):
    (run / "status.json").write_text(text)
    with pytest.raises(PolycliError, match=r"status\.json"):
        inspect_path(run, verify=True)


def test_a_checkpoint_whose_training_state_was_deleted_to_make_room_is_said_and_no_damage(run):
    checkpoint = run / "checkpoints/step-00000002"
    shutil.rmtree(checkpoint / "optimizer")
    with pytest.raises(PolycliError, match="rank-00000"):
        inspect_path(run, verify=True)
    (checkpoint / "trainer.json").unlink()
    assert "without training state, so of no use to a resume: step-00000002" in verified(run)


def test_a_run_of_an_earlier_version_passes_and_says_what_no_hash_covers(run):
    (run / ".hashes.json").unlink()
    (run / "recipe.yaml").write_text("family: mpp\nverb: pretrain\n")
    with pytest.raises(PolycliError, match=r"recipe\.yaml"):
        inspect_path(run, verify=True)
    (run / "recipe.yaml").unlink()
    assert "data.json can be read, an earlier version kept no hashes" in verified(run)


def test_a_changed_recipe_or_list_of_data_is_said_when_the_run_goes_on(run, capsys):
    data = run / "data.json"
    data.write_text(json.dumps(json.loads(data.read_text())))
    Run.create_or_resume(run, RECIPE, resume="auto", world=World(), data=DATA).close()
    assert f"warning: {data}: has changed since the run wrote it" in capsys.readouterr().err
    Run.create_or_resume(run, RECIPE, resume="auto", world=World(), data=DATA).close()
    assert "has changed" not in capsys.readouterr().err


def test_a_start_killed_between_its_two_writes_leaves_a_run_that_agrees_with_its_hashes(run, monkeypatch):
    from polycli.engine import run as runs

    write = runs.write_atomically

    def killed(path, text):
        if path.name == "recipe.yaml":
            raise KeyboardInterrupt
        write(path, text)

    monkeypatch.setattr(runs, "write_atomically", killed)
    with pytest.raises(KeyboardInterrupt):
        Run.create_or_resume(run, RECIPE + "log: {every: 3}\n", resume="auto", world=World(), data=DATA)
    verified(run)
