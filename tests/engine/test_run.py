"""A run's directory: entered, refused, written and marked."""

import json

import pytest

from polycli.checkpoints.manifest import write_manifest
from polycli.engine.run import Run, read_status
from polycli.errors import RunError
from polycli.launch import World

RECIPE = "family: toy\nverb: pretrain\nmodel:\n  width: 8\ntrain:\n  steps: 10\n"


def enter(path, recipe=RECIPE, resume="auto") -> Run:
    return Run.create_or_resume(path, recipe, resume=resume, world=World())


def test_a_new_run_has_its_recipe_and_no_checkpoints(tmp_path):
    run = enter(tmp_path / "a/b")
    assert not run.resumed
    assert (run.path / "recipe.yaml").read_text() == RECIPE
    assert run.whole_checkpoints() == []


def test_auto_resumes_never_refuses_and_must_insists(tmp_path):
    enter(tmp_path / "run").close()
    enter(tmp_path / "run", resume="must").close()
    assert enter(tmp_path / "run").resumed
    with pytest.raises(RunError, match="holds a run already"):
        enter(tmp_path / "run", resume="never")
    with pytest.raises(RunError, match="no run to resume"):
        enter(tmp_path / "other", resume="must")
    assert not (tmp_path / "other").exists()


def test_a_directory_that_holds_something_else_is_refused_and_left_as_it_was(tmp_path):
    (tmp_path / "thesis.tex").write_text("important")
    with pytest.raises(RunError, match=r"not empty and no run \(it holds thesis.tex"):
        enter(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_in_the_place_of_a_run_is_refused(tmp_path):
    (tmp_path / "run").write_text("")
    with pytest.raises(RunError, match="is a file"):
        enter(tmp_path / "run")


def test_what_a_start_killed_before_its_recipe_was_written_leaves_is_not_in_the_way(tmp_path):
    run = enter(tmp_path / "run")
    (run.path / "recipe.yaml").unlink()
    (run.path / ".recipe.yaml.partial-77").write_text("fam")
    run.close()
    assert not enter(tmp_path / "run").resumed


def test_two_processes_cannot_have_the_same_run(tmp_path):
    first = enter(tmp_path / "run")
    with pytest.raises(RunError, match="another process"):
        enter(tmp_path / "run")
    first.close()
    enter(tmp_path / "run")


def test_a_changed_model_is_refused_with_the_difference_and_other_changes_are_said(tmp_path, capsys):
    enter(tmp_path / "run").close()
    with pytest.raises(RunError, match=r"model\.width was 8, is 16"):
        enter(tmp_path / "run", RECIPE.replace("8", "16"))
    enter(tmp_path / "run", RECIPE.replace("10", "20"))
    assert "train.steps was 10, is 20" in capsys.readouterr().err
    assert "steps: 20" in (tmp_path / "run/recipe.yaml").read_text()


def test_status_names_the_checkpoint_relative_to_the_run(tmp_path):
    run = enter(tmp_path / "run")
    run.write_status("running", step=3, checkpoint=run.checkpoints / "step-00000003")
    assert read_status(run.path) == {
        "state": "running",
        "step": 3,
        "checkpoint": "checkpoints/step-00000003",
        "message": "",
    }


def test_a_failure_keeps_what_the_status_knew(tmp_path):
    run = enter(tmp_path / "run")
    run.write_status("running", step=3, checkpoint=None)
    run.fail("the disk is full")
    status = read_status(run.path)
    assert (status["state"], status["step"], status["message"]) == ("failed", 3, "the disk is full")


def test_only_rank_0_writes_the_status(tmp_path):
    run = enter(tmp_path / "run")
    before = read_status(run.path)
    Run(run.path, World(rank=1, size=2), resumed=False).write_status("running", step=7, checkpoint=None)
    assert read_status(run.path) == before
    run.write_status("running", step=7, checkpoint=None)
    assert read_status(run.path)["step"] == 7


def test_what_changed_in_the_recipe_stands_in_the_log_of_the_run(tmp_path):
    enter(tmp_path / "run").close()
    enter(tmp_path / "run", RECIPE.replace("10", "20"))
    assert "resuming with a changed recipe: train.steps was 10, is 20" in (tmp_path / "run/log.txt").read_text()


def test_another_optimizer_is_refused_once_there_is_a_checkpoint_and_the_recipe_stays(tmp_path):
    before, after = (f"{RECIPE}optim:\n  name: {name}\n" for name in ("adamw", "adan"))
    run = enter(tmp_path / "run", before)
    run.close()
    enter(tmp_path / "run", after).close()
    enter(tmp_path / "run", before).close()
    checkpoint = run.checkpoints / "step-00000003"
    checkpoint.mkdir()
    write_manifest(checkpoint, step=3, family="toy", verb="pretrain", world_size=1, zero_stage=0, optimizer="adamw")
    with pytest.raises(RunError, match=r'optim\.name was "adamw", is "adan"'):
        enter(tmp_path / "run", after)
    assert (tmp_path / "run/recipe.yaml").read_text() == before


def saved(run, step) -> None:
    """Leave a checkpoint in a run and let go of it."""
    checkpoint = run.checkpoints / f"step-{step:08d}"
    checkpoint.mkdir()
    write_manifest(checkpoint, step=step, family="toy", verb="pretrain", world_size=1, zero_stage=0, optimizer="adamw")
    run.close()


FULL = (
    f"{RECIPE}  seed: 0\n  micro_batch_size: 4\noptim:\n  learning_rate: 0.1\ndata:\n  workers: 2\nlog:\n  every: 1\n"
)
STORES = {"swe": {"store_hash": "a" * 64, "path": "/a/swe.zarr"}}


@pytest.mark.parametrize("policy", ["auto", "must"])
@pytest.mark.parametrize(
    ("before", "after"), [("seed: 0", "seed: 1"), ("learning_rate: 0.1", "learning_rate: 0.2"), ("e: 4", "e: 2")]
)
def test_a_complete_run_is_no_result_of_another_recipe(tmp_path, before, after, policy):
    saved(enter(tmp_path / "run", FULL), 10)
    with pytest.raises(RunError, match=r"complete run, of 10 steps.* was .*, is ") as refused:
        enter(tmp_path / "run", FULL.replace(before, after), resume=policy)
    assert "--output" in refused.value.hint
    assert (tmp_path / "run/recipe.yaml").read_text() == FULL


def test_keys_on_which_no_result_depends_may_differ_and_steps_may_be_more(tmp_path, capsys):
    saved(enter(tmp_path / "run", FULL), 10)
    other = FULL.replace("workers: 2", "workers: 0").replace("every: 1", "every: 5")
    enter(tmp_path / "run", other).close()
    assert "data.workers was 2, is 0" in capsys.readouterr().err
    enter(tmp_path / "run", other.replace("steps: 10", "steps: 20")).close()
    with pytest.raises(RunError, match=r"train\.steps was 20, is 10"):
        enter(tmp_path / "run", other)


def test_a_run_under_way_is_changed_only_where_it_is_asked_for(tmp_path, capsys):
    saved(enter(tmp_path / "run", FULL), 5)
    slower = FULL.replace("learning_rate: 0.1", "learning_rate: 0.05")
    with pytest.raises(RunError, match=r"begun otherwise: optim\.learning_rate was 0\.1, is 0\.05.*--resume must"):
        enter(tmp_path / "run", slower)
    assert (tmp_path / "run/recipe.yaml").read_text() == FULL
    enter(tmp_path / "run", slower, resume="must").close()
    assert "warning: resuming with a changed recipe: optim.learning_rate was 0.1, is 0.05" in capsys.readouterr().err
    assert (tmp_path / "run/recipe.yaml").read_text() == slower
    # Smaller micro-batches are what the message of a full memory advises.
    enter(tmp_path / "run", slower.replace("e: 4", "e: 2"))


def test_stores_are_known_by_their_hashes_wherever_they_lie(tmp_path):
    def enter_with(data, resume="auto"):
        return Run.create_or_resume(tmp_path / "run", FULL, resume=resume, world=World(), data=data)

    saved(enter_with(STORES), 10)
    enter_with({"moved": {"store_hash": "a" * 64, "path": "/b/moved.zarr"}}).close()
    with pytest.raises(RunError, match="the store moved had the hash aaaaaaaaaaaa, has bbbbbbbbbbbb"):
        enter_with({"moved": {"store_hash": "b" * 64}})
    with pytest.raises(RunError, match=r"the store more is new \(hash cccccccccccc\)"):
        enter_with({"moved": {"store_hash": "a" * 64}, "more": {"store_hash": "c" * 64}})
    assert json.loads((tmp_path / "run/data.json").read_text())["moved"]["store_hash"] == "a" * 64


def test_a_store_of_equal_numbers_that_mean_something_else_is_another_one(tmp_path):
    def enter_with(store_hash="a" * 64, **described):
        data = {"table": {"store_hash": store_hash, "described": described}}
        return Run.create_or_resume(tmp_path / "run", FULL, resume="auto", world=World(), data=data)

    saved(enter_with(scaling="1", units="2"), 10)
    enter_with(scaling="1", units="2", added_by_a_later_version="3").close()
    with pytest.raises(RunError, match="store table was prepared otherwise: its numbers are equal, its scaling not"):
        enter_with(scaling="4", units="2")
    # Runs of before do not say it.
    Run.create_or_resume(tmp_path / "run", FULL, resume="auto", world=World(), data={"table": {"store_hash": "a" * 64}})


@pytest.mark.parametrize("text", ["{", "[1]", '{"swe": 3}', '{"swe": {}}'])
def test_a_damaged_list_of_data_is_one_sentence(tmp_path, text):
    saved(Run.create_or_resume(tmp_path / "run", FULL, resume="auto", world=World(), data=STORES), 5)
    (tmp_path / "run/data.json").write_text(text)
    with pytest.raises(RunError, match=r"data\.json: damaged, so nothing says which data"):
        Run.create_or_resume(tmp_path / "run", FULL, resume="auto", world=World(), data=STORES)


def test_a_refused_start_lets_go_of_the_run(tmp_path):
    saved(enter(tmp_path / "run", FULL), 10)
    with pytest.raises(RunError) as kept:
        enter(tmp_path / "run", FULL.replace("seed: 0", "seed: 1"))
    assert kept
    enter(tmp_path / "run", FULL)


def test_weights_to_start_from_are_known_by_their_hashes_wherever_they_lie(tmp_path):
    def enter_from(path, weights):
        recipe = f"{FULL}checkpoint: {path}\n"
        return Run.create_or_resume(
            tmp_path / "run", recipe, resume="auto", world=World(), starts={"checkpoint": weights}
        )

    saved(enter_from("/a/run", "1" * 64), 10)
    enter_from("/moved/run", "1" * 64).close()
    with pytest.raises(RunError, match="checkpoint had weights of the hash 111111111111, has 222222222222"):
        enter_from("/a/run", "2" * 64)


def test_a_run_of_an_earlier_version_that_kept_no_hash_of_its_start_is_compared_by_path(tmp_path):
    recipe = f"{FULL}checkpoint: /a/run\n"
    saved(enter(tmp_path / "run", recipe), 10)
    starts = {"checkpoint": "1" * 64}
    with pytest.raises(RunError, match=r'checkpoint was "/a/run", is "/b/run"'):
        Run.create_or_resume(tmp_path / "run", recipe.replace("/a", "/b"), resume="auto", world=World(), starts=starts)
    Run.create_or_resume(tmp_path / "run", recipe, resume="auto", world=World(), starts=starts).close()
    assert json.loads((tmp_path / "run/start.json").read_text()) == {"checkpoint": {"weights_sha256": "1" * 64}}
