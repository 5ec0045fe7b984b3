"""`polycli study`: what is run, what is matched, what is compared; once through the real command line."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from safetensors.numpy import save_file

from polycli import __main__ as entry
from polycli.errors import PolycliError, RecipeError, RunError, StoreError, UserError
from polycli.report.measurements import Measurement
from polycli.requests import StudyRequest
from polycli.workflow.study import results
from polycli.workflow.study.recipe import ClaimSection, StudyRecipe
from polycli.workflow.study.report import judge
from polycli.workflow.study.running import run_study

ERROR = {"of": "test", "value": "scores/error"}
STUDY = {
    "family": "mpp",
    "verb": "study",
    "title": "Two objectives",
    "about": "Which one?",
    "stores": {"waves": {"source": "simulate", "recipe": "mpp_demo_data", "set": ["split.test=0.2"]}},
    "runs": {
        "steps": {
            "recipe": "mpp_demo",
            "stores": ["waves"],
            "grid": {"predicts": ["state", "change"], "seed": [0, 1, 2]},
            "set": ["model.predicts={predicts}", "train.seed={seed}", "data.weights={waves: 1}"],
        },
        "time": {
            "recipe": "mpp_demo",
            "stores": ["waves"],
            "grid": {"predicts": ["state", "change"], "seed": [0]},
            "set": ["model.predicts={predicts}", "train.seed={seed}"],
            "match_time": {"steps_of": "steps", "reference": {"predicts": "state"}},
        },
    },
    "evaluations": {"test": {"run": "steps", "stores": ["waves"], "set": ["report=false"]}},
    "tables": [{"title": "Errors", "of": "test", "columns": {"error": "scores/error", "step": "run/step_seconds"}}],
    "claims": [
        {**ERROR, "text": "change is better", "where": {"predicts": "change"}, "below": "others"},
        {**ERROR, "text": "change is at most 1", "where": {"predicts": "change"}, "at_most": 1.0},
        {**ERROR, "text": "three scales", "over": "scores/scale", "where": {"predicts": "state"}, "at_least": 3},
        {
            **ERROR,
            "text": "within a tenth",
            "where": {"predicts": "state"},
            "below": {"predicts": "change"},
            "factor": 1.1,
        },
    ],
}
STEP_SECONDS = {"state": 0.25, "change": 1.0}


@pytest.fixture
def polycli(monkeypatch):
    """Stands in for the commands: writes what `pretrain` and `eval` leave, and keeps the lines."""
    lines, codes = [], {}
    errors = itertools.count(1)

    def run(line):
        lines.append(line)
        verb = line[0]
        output = Path(line[line.index("--output") + 1])
        if verb == "prepare":
            output.mkdir(parents=True, exist_ok=True)
            manifest = {"store_hash": " ".join(word for word in line if "=" in word)}
            (output / "MANIFEST.json").write_text(json.dumps(manifest))
        elif verb == "pretrain":
            write_run(output, [word for word in line if "=" in word])
        elif verb == "eval":
            output.mkdir(parents=True)
            kind = "change" if "change" in output.name else "state"
            scores = {"error": {"state": 5.0, "change": 0.5}[kind] + next(errors) / 100, "scale": 2.0}
            (output / "scores.json").write_text(json.dumps(scores))
        return codes.get(verb, 0)

    def write_run(output, settings):
        output.mkdir(parents=True, exist_ok=True)
        given = dict(setting.split("=", 1) for setting in settings)
        speed = {"step_seconds": STEP_SECONDS[given["model.predicts"]], "peak_memory_bytes": 7}
        lines = [{"kind": "train", "step": step, "loss": 0.1, "speed": speed} for step in (4, 8)]
        (output / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (output / "recipe.yaml").write_text(yaml.safe_dump({"train": {"seed": 0}}))
        if not (output / "model.safetensors").exists():  # A run that is complete is left as it is.
            save_file({"a": np.zeros((2, 3), np.float32), "b": np.zeros(5, np.float32)}, output / "model.safetensors")

    class Process:
        """A command: `during` is what happens while it runs."""

        def __init__(self, words, **_):
            self.line, self.terminated = words[3:], False
            processes.append(self)

        def wait(self):
            return during[0](self) or run(self.line)

        def terminate(self):
            self.terminated = True

    processes, during = [], [lambda process: 0]
    monkeypatch.setattr(subprocess, "Popen", Process)
    found = SimpleNamespace(model_file=None)
    monkeypatch.setattr(
        results,
        "resolve_checkpoint",
        lambda path: SimpleNamespace(**{**vars(found), "model_file": path / "model.safetensors"}),
    )
    return SimpleNamespace(lines=lines, codes=codes, processes=processes, during=during)


def study(tmp_path, changes=None, **options):
    path = tmp_path / "study.yaml"
    # JSON, because YAML would write what stands in two places as an alias, which recipes may not have.
    path.write_text(json.dumps({**STUDY, **(changes or {})}))
    return run_study(StudyRequest(recipe=str(path), output=tmp_path / "out", **options), "mpp")


def test_every_combination_is_trained_and_evaluated_once_and_a_second_time_nothing_is_evaluated(tmp_path, polycli):
    study(tmp_path)
    verbs = [line[0] for line in polycli.lines]
    assert verbs == ["prepare"] + ["pretrain"] * 8 + ["eval"] * 6
    first = polycli.lines[1]
    assert first[first.index("--output") + 1] == str(tmp_path / "out" / "runs" / "steps-state-0")
    assert first[first.index("--data") + 1] == str(tmp_path / "out" / "stores" / "waves")
    assert first[-6:] == ["--set", "model.predicts=state", "--set", "train.seed=0", "--set", "data.weights={waves: 1}"]
    polycli.lines.clear()
    study(tmp_path)
    assert "eval" not in [line[0] for line in polycli.lines]


def test_runs_matched_in_time_get_the_steps_that_fit_into_the_reference_runs_time(tmp_path, polycli):
    study(tmp_path)
    matched = [line for line in polycli.lines if any("runs/time" in word for word in line)]
    # 8 steps of 0.25 s are the budget: 8 steps of `state`, 2 of `change`.
    assert [line[-1] for line in matched] == ["train.steps=8", "train.steps=2"]


def test_tables_pool_seeds_and_claims_compare_medians(tmp_path, polycli):
    document = study(tmp_path)
    text = (tmp_path / "out" / "tables.md").read_text()
    # Seeds of `state` come first and add 0.01, 0.02, 0.03; then those of `change`.
    assert "| state | 3 | 5.02 (5.01 to 5.03) | 0.250 (0.250 to 0.250) |" in text
    assert "| change | 3 | 0.550 (0.540 to 0.560) |" in text
    assert [claim["holds"] for claim in document["claims"]] == [True, True, False, False]
    assert "2.51 (2.50 to 2.52)" in document["claims"][2]["evidence"], "5.02 over a scale of 2"
    assert document["results"]["test"]["steps-state-0"]["run"]["parameters"] == 2 * 3 + 5
    assert (tmp_path / "out" / "report.html").is_file()
    measured = Measurement.read(tmp_path / "out" / "measurement.json")
    assert measured.command == "polycli study mpp --recipe study --output out --jobs 1"
    assert measured.figures["Errors"]["state"]["error"] == [5.01, 5.02, 5.03]
    assert "| state | 3 | 5.02 (5.01 to 5.03) |" in measured.markdown()


def test_a_table_may_have_the_runs_of_several_entries(tmp_path, polycli):
    changed = {**STUDY["runs"]["steps"], "grid": {"predicts": ["change"], "seed": [0]}}
    runs = {"steps": {**STUDY["runs"]["steps"], "grid": {"predicts": ["state"], "seed": [0, 1]}}, "one": changed}
    tables = [{"title": "Steps", "of": ["steps", "one"], "columns": {"step": "run/step_seconds"}}]
    study(tmp_path, {"runs": runs, "evaluations": {}, "tables": tables, "claims": []})
    text = (tmp_path / "out" / "tables.md").read_text()
    assert "| state | 2 | 0.250 (0.250 to 0.250) |\n| change | 1 | 1.00 |" in text
    measured = Measurement.read(tmp_path / "out" / "measurement.json")
    assert measured.figures["Steps"] == {"state": {"step": [0.25, 0.25]}, "change": {"step": [1.0]}}

    others = {**runs, "one": {**changed, "grid": {"seed": [0]}, "set": ["model.predicts=change"]}}
    with pytest.raises(RecipeError, match="table 'Steps': steps, one differ in the keys of their grids"):
        study(tmp_path, {"runs": others, "evaluations": {}, "tables": tables, "claims": []})


def test_the_time_of_a_run_of_another_entry_may_be_matched(tmp_path, polycli):
    changed = {**STUDY["runs"]["steps"], "grid": {"predicts": ["change"], "seed": [0]}}
    match = {"steps_of": "one", "reference_of": "steps", "reference": {"predicts": "state"}}
    runs = {
        "time": {**changed, "match_time": match},
        "one": changed,
        "steps": {**STUDY["runs"]["steps"], "grid": {"predicts": ["state"], "seed": [0]}},
    }
    tables = [{"title": "Steps", "of": "time", "columns": {"steps": "run/steps"}}]
    study(tmp_path, {"runs": runs, "evaluations": {}, "tables": tables, "claims": []})
    # 8 steps of 0.25 s are the budget, which 2 of 1 s fill; the run waits for both that it is computed from.
    assert "runs/time" in " ".join(polycli.lines[-1])
    assert polycli.lines[-1][-1] == "train.steps=2"
    wrong = {**runs, "time": {**changed, "match_time": {**match, "reference_of": "none"}}}
    with pytest.raises(RecipeError, match=r"runs.time.match_time.reference_of names 'none'"):
        study(tmp_path, {"runs": wrong, "evaluations": {}, "tables": tables, "claims": []})


def test_what_lies_below_null_is_null():
    document = {"scores": {"keys": {"a": {"coverage": None}, "b": {"coverage": {"measured": 0.9}}}}}
    assert results.value_at(document, "scores/keys/a/coverage/measured", where="here") is None
    assert results.value_at(document, "mean(scores/keys/*/coverage/measured)", where="here") is None


def test_a_command_that_fails_ends_the_study_with_its_exit_code(tmp_path, polycli):
    polycli.codes["eval"] = 75
    with pytest.raises(PolycliError, match="eval mpp") as caught:
        study(tmp_path)
    assert caught.value.exit_code == 75
    assert not (tmp_path / "out" / "study.json").exists()


@pytest.mark.parametrize("name", ["report.html", "tables.md", "study.json"])
def test_files_that_no_study_wrote_are_not_replaced(tmp_path, polycli, name):
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / name).write_text("mine")
    with pytest.raises(UserError, match=f"has {name}, which no study of polycli wrote"):
        study(tmp_path)
    assert [path.name for path in folder.iterdir()] == [name]
    assert (folder / name).read_text() == "mine"


def test_a_dry_run_prints_the_lines_and_runs_none(tmp_path, polycli, capsys):
    document = study(tmp_path, dry_run=True)
    assert len(document["commands"]) == 1 + 8 + 6
    assert capsys.readouterr().out.splitlines() == document["commands"]
    assert polycli.lines == []
    assert not (tmp_path / "out").exists()


def test_a_value_of_the_grid_may_stand_for_settings_of_its_own(tmp_path, polycli, capsys):
    run = {
        "recipe": "mpp_demo",
        "stores": ["waves"],
        "grid": {"switch": ["plain", "noisy"], "seed": [0, 1]},
        "set": ["train.seed={seed}"],
        "choices": {"switch": {"plain": ["train.steps=7"], "noisy": ["objective.noise=0.1", "train.steps=6"]}},
    }
    changes = {"runs": {"one": run}, "evaluations": {}, "tables": [{"title": "t", "of": "one", "columns": {}}]}
    document = study(tmp_path, {**changes, "claims": []}, dry_run=True)
    sets = [re.findall(r"--set (\S+)", line) for line in document["commands"] if line.startswith("polycli pretrain")]
    assert sets == [
        [f"train.seed={seed}", *settings]
        for settings in (["train.steps=7"], ["objective.noise=0.1", "train.steps=6"])
        for seed in (0, 1)
    ]
    run["choices"]["switch"].pop("plain")
    with pytest.raises(RecipeError, match=r"choices.switch has noisy; .* in the grid are noisy, plain"):
        study(tmp_path, {**changes, "claims": []}, dry_run=True)


def test_a_place_may_be_a_mean_over_all_that_are_there():
    document = {"scores": {"a": [{"x": 1.0}, {"x": 4.0}], "b": [{"x": 2.0}, {"x": 8.0}], "c": [{"x": None}]}}
    assert results.value_at(document, "mean(scores/a/*/x)", where="here") == 2.5
    assert results.value_at(document, "geometric_mean(scores/a/*/x)", where="here") == pytest.approx(2.0)
    assert results.value_at(document, "geometric_mean(scores/*/0/x)", where="here") is None, "one is not finite"
    document["scores"].pop("c")
    assert results.value_at(document, "geometric_mean(scores/*/*/x)", where="here") == pytest.approx(64 ** (1 / 4))
    with pytest.raises(RecipeError, match=r"here: scores/\*/0/x may be several values; mean\(scores"):
        results.value_at(document, "scores/*/0/x", where="here")
    with pytest.raises(RecipeError, match=r"there is no scores/\*/0/y: at 'y' there are x"):
        results.value_at(document, "mean(scores/*/0/y)", where="here")
    document["scores"]["a"][0]["x"] = -1.0
    with pytest.raises(RecipeError, match=r"a geometric mean is of numbers from 0 on, and -1.0 is there"):
        results.value_at(document, "geometric_mean(scores/*/*/x)", where="here")
    document["scores"]["a"][0]["x"] = 0.0
    assert results.value_at(document, "geometric_mean(scores/*/*/x)", where="here") == 0.0


def test_a_place_that_no_result_has_is_named_with_what_there_is(tmp_path, polycli):
    tables = [{"title": "Errors", "of": "test", "columns": {"error": "scores/eror"}}]
    with pytest.raises(RecipeError, match=r"there is no scores/eror: at 'eror' there are error, scale"):
        study(tmp_path, {"tables": tables})


def test_an_evaluation_may_have_the_name_of_its_run(tmp_path, polycli):
    steps = {"steps": {"run": "steps", "stores": ["waves"]}}
    tables = [{"title": "Errors", "of": "steps", "columns": {"error": "scores/error", "step": "run/step_seconds"}}]
    found = study(tmp_path, {"evaluations": steps, "tables": tables, "claims": []})
    assert all(set(result) == {"run", "scores"} for result in found["results"]["steps"].values())
    assert all(set(result) == {"run"} for result in found["results"]["time"].values())


def test_a_claim_can_be_about_a_difference(tmp_path, polycli):
    claims = [
        {**ERROR, "text": str(most), "minus": "scores/scale", "where": {"predicts": "change"}, "at_most": most}
        for most in (-1.4, -1.5)
    ]
    document = study(tmp_path, {"claims": claims})
    assert [claim["holds"] for claim in document["claims"]] == [True, False], "0.5 and a little, less 2"


@pytest.mark.parametrize(("kind", "expected"), [("minus", 4.0), ("over", 3.0)])
def test_both_values_of_a_claim_are_of_one_run(kind, expected):
    recipe = StudyRecipe.model_validate({**STUDY, "claims": []})
    claim = ClaimSection(text="x", of="test", value="a", where={"predicts": "state"}, at_most=expected, **{kind: "b"})
    # The first lacks one value, the second the other: neither may be paired with a value of the next.
    values = [{"a": None, "b": 5.0}, {"a": 100.0, "b": None}, {"a": 6.0, "b": 2.0}]
    documents = {
        "test": {f"steps-{predicts}-{seed}": values[seed] for predicts in ("state", "change") for seed in range(3)}
    }
    assert judge(recipe, claim, documents).holds
    assert not judge(recipe, claim.model_copy(update={"at_most": expected - 0.01}), documents).holds


@pytest.mark.parametrize(
    ("own", "result"),
    [
        ((1.0, 1.1, 1.2), "holds"),
        ((1.0, 1.1, 1.5), "not told apart: seeds overlap"),
        ((1.0, 1.6, 1.7), "does not hold"),
    ],
)
def test_a_claim_whose_seeds_overlap_is_not_told_apart(own, result):
    recipe = StudyRecipe.model_validate({**STUDY, "claims": []})
    claim = ClaimSection(text="x", of="test", value="a", where={"predicts": "change"}, below="others")
    values = {"state": (1.4, 1.5, 1.6), "change": own}
    documents = {"test": {f"steps-{name}-{seed}": {"a": values[name][seed]} for name in values for seed in range(3)}}
    assert judge(recipe, claim, documents).result == result


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"evaluations": {"test": {"run": "stepz", "stores": ["waves"]}}}, "names 'stepz', and there are steps, time"),
        ({"evaluations": {"time": {"run": "steps", "stores": ["waves"]}}}, "there is another run named 'time'"),
        ({"claims": [{"text": "x", "of": "test", "value": "a"}]}, "one of `at_most`, `at_least` and `below`"),
        (
            {"claims": [{"text": "x", "of": "test", "value": "a", "over": "b", "minus": "c", "at_most": 1}]},
            "`over` or `minus`, not both",
        ),
    ],
)
def test_a_recipe_that_names_what_is_not_there_is_refused(tmp_path, polycli, changes, sentence):
    with pytest.raises(RecipeError, match=sentence):
        study(tmp_path, changes)
    assert polycli.lines == []


def changed(entry, *settings):
    """The study with other settings of one entry under `runs`."""
    runs = {**STUDY["runs"], entry: {**STUDY["runs"][entry], "set": [*STUDY["runs"][entry]["set"], *settings]}}
    return {"runs": runs}


def test_a_run_that_another_learning_rate_made_does_not_stand_in_the_table(tmp_path, polycli):
    study(tmp_path)
    before = (tmp_path / "out" / "tables.md").read_text()
    polycli.lines.clear()
    with pytest.raises(RunError) as caught:
        study(tmp_path, changed("time", "optim.learning_rate=0.5"))
    assert polycli.lines == []
    assert "2 runs that another recipe made" in caught.value.message
    for run in ("time-state-0", "time-change-0"):
        assert re.search(rf"runs/{run}: optim.learning_rate was [0-9.]+, is 0.5\n?", caught.value.message)
        assert str(tmp_path / "out" / "runs" / run) in caught.value.hint
    assert "steps-" not in caught.value.message
    assert (tmp_path / "out" / "tables.md").read_text() == before
    # What the hint says is what helps.
    for run in ("time-state-0", "time-change-0"):
        shutil.rmtree(tmp_path / "out" / "runs" / run)
    study(tmp_path, changed("time", "optim.learning_rate=0.5"))
    assert [line[0] for line in polycli.lines if "optim.learning_rate=0.5" in line] == ["pretrain"] * 2
    assert "eval" not in [line[0] for line in polycli.lines]


def test_a_run_goes_on_where_no_number_depends_on_the_change_or_only_steps_are_added(tmp_path, polycli):
    study(tmp_path)
    study(tmp_path, changed("time", "log.every=3"))
    study(tmp_path, changed("steps", "train.steps=2000"))


def test_keys_that_an_earlier_version_did_not_have_count_as_their_defaults(tmp_path, polycli):
    """A study of last month was refused, because recipes have a key more by now."""
    study(tmp_path)
    for path in (tmp_path / "out" / "lines" / "runs").glob("*.json"):
        line = json.loads(path.read_text())
        del line["asks"]["log"], line["asks"]["optim"]["ema_decay"]
        path.write_text(json.dumps(line))
    for path in (tmp_path / "out" / "lines" / "evaluations").glob("*.json"):
        line = json.loads(path.read_text())
        del line["asks"]["bootstrap_samples"]
        path.write_text(json.dumps(line))
    polycli.lines.clear()
    study(tmp_path)
    assert "eval" not in [line[0] for line in polycli.lines]
    with pytest.raises(RunError, match=r"optim\.learning_rate was "):
        study(tmp_path, changed("time", "optim.learning_rate=0.5"))


def test_an_evaluation_with_other_settings_is_made_again_and_the_old_one_kept(tmp_path, polycli, capsys):
    study(tmp_path)
    folder = tmp_path / "out" / "evaluations"
    before = {path.name: (path / "scores.json").read_text() for path in folder.iterdir()}
    polycli.lines.clear()
    study(tmp_path, {"evaluations": {"test": {"run": "steps", "stores": ["waves"], "set": ["rollout_steps=2"]}}})
    assert [line[0] for line in polycli.lines].count("eval") == 6
    said = capsys.readouterr().err
    assert "test-state-0 is made again: report was false, is true; rollout_steps was null, is 2" in said
    for name, text in before.items():
        assert (folder / name / "scores.json").read_text() != text
        (kept,) = folder.glob(f"{name}.of-*")
        assert (kept / "scores.json").read_text() == text


def test_an_evaluation_of_a_model_or_a_store_that_is_another_now_is_made_again(tmp_path, polycli):
    study(tmp_path)
    save_file({"a": np.ones(5, np.float32)}, tmp_path / "out" / "runs" / "steps-state-1" / "model.safetensors")
    polycli.lines.clear()
    study(tmp_path)
    assert [line[line.index("--output") + 1][-12:] for line in polycli.lines if line[0] == "eval"] == ["test-state-1"]


def test_a_store_that_is_another_now_is_named_with_the_runs_that_read_it(tmp_path, polycli):
    study(tmp_path)
    waves = {"waves": {**STUDY["stores"]["waves"], "set": ["split.test=0.3"]}}
    with pytest.raises(RunError, match=r"stores/waves had the hash split.test=0, has split.test=0"):
        study(tmp_path, {"stores": waves})
    assert [line[0] for line in polycli.lines[15:]] == ["prepare"]


def test_an_evaluation_of_which_no_line_is_kept_is_made_again(tmp_path, polycli):
    study(tmp_path)
    shutil.rmtree(tmp_path / "out" / "lines")
    polycli.lines.clear()
    study(tmp_path)
    assert [line[0] for line in polycli.lines].count("eval") == 6


def test_a_study_may_be_moved(tmp_path, polycli):
    steps = {**STUDY["runs"]["steps"], "set": [*STUDY["runs"]["steps"]["set"], "data.stores=[ {run:time} ]"]}
    changes = {"runs": {"time": {**STUDY["runs"]["time"], "match_time": None}, "steps": steps}}
    changes["runs"]["time"]["grid"] = {"predicts": ["state", "change"]}
    changes["runs"]["time"]["set"] = ["model.predicts={predicts}"]
    study(tmp_path, changes)
    (tmp_path / "out").rename(tmp_path / "moved")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "moved").rename(tmp_path / "elsewhere" / "out")
    polycli.lines.clear()
    path = tmp_path / "study.yaml"
    run_study(StudyRequest(recipe=str(path), output=tmp_path / "elsewhere" / "out"), "mpp")
    assert "eval" not in [line[0] for line in polycli.lines]


def test_a_line_that_is_damaged_is_named(tmp_path, polycli):
    study(tmp_path)
    path = tmp_path / "out" / "lines" / "runs" / "time-state-0.json"
    for text in ("{", "[]", "{}"):
        path.write_text(text)
        with pytest.raises(StoreError, match=r"time-state-0\.json: "):
            study(tmp_path)


def test_a_wrong_setting_of_the_last_run_is_found_before_the_first_begins(tmp_path, polycli):
    with pytest.raises(RecipeError, match=r"unknown key `optim\.learning_rat`"):
        study(tmp_path, changed("time", "optim.learning_rat=0.5"))
    evaluations = {"test": {"run": "steps", "stores": ["waves"], "set": ["rollout_stepz=2"]}}
    with pytest.raises(RecipeError, match="unknown key `rollout_stepz`"):
        study(tmp_path, {"evaluations": evaluations})
    assert polycli.lines == []


@pytest.mark.parametrize("name", ["../../x", "..", ".", "a/b", "/x", "", "-x", "a b", "x\n", "x" * 101])
@pytest.mark.parametrize("kind", ["stores", "runs", "evaluations"])
def test_a_name_that_would_leave_the_study_is_refused(tmp_path, polycli, kind, name):
    entry = next(iter(STUDY[kind].values()))
    with pytest.raises(RecipeError, match="becomes the name of a folder"):
        study(tmp_path, {kind: {**STUDY[kind], name: entry}})
    assert polycli.lines == []


@pytest.mark.parametrize("value", ["../../x", "a/b", "x\ny", "x" * 61])
def test_a_grid_value_that_would_leave_the_study_is_refused(tmp_path, polycli, value):
    steps = {**STUDY["runs"]["steps"], "grid": {"predicts": ["state", value], "seed": [0]}}
    with pytest.raises(RecipeError, match="becomes a part of a folder's name"):
        study(tmp_path, {"runs": {**STUDY["runs"], "steps": steps}})


@pytest.mark.parametrize(
    ("name", "grid", "shown"),
    [
        ("steps-state", {"seed": [0]}, "runs.steps-state with seed 0 and runs.steps with predicts 'state', seed 0"),
        ("twice", {"seed": [0, 0]}, "runs.twice with seed 0 and runs.twice with seed 0"),
        ("text", {"seed": [0, "0"]}, "runs.text with seed '0' and runs.text with seed 0"),
    ],
)
def test_two_runs_of_one_folder_are_refused(tmp_path, polycli, name, grid, shown):
    run = {"recipe": "mpp_demo", "stores": ["waves"], "grid": grid}
    with pytest.raises(RecipeError, match=shown):
        study(tmp_path, {"runs": {**STUDY["runs"], name: run}})


def test_two_evaluations_of_one_folder_are_refused(tmp_path, polycli):
    evaluations = {"test": {"run": "steps", "stores": ["waves"]}, "test-state": {"run": "only", "stores": ["waves"]}}
    only = {"recipe": "mpp_demo", "stores": ["waves"], "grid": {"seed": [0]}}
    with pytest.raises(RecipeError, match="evaluations/test-state-0"):
        study(tmp_path, {"runs": {**STUDY["runs"], "only": only}, "evaluations": evaluations})


#: Four runs that need nothing of each other.
SEEDS = {
    "runs": {"steps": {**STUDY["runs"]["steps"], "grid": {"predicts": ["state"], "seed": [0, 1, 2, 3]}}},
    "evaluations": {},
    "tables": [{"title": "Speed", "of": "steps", "columns": {"step": "run/step_seconds"}}],
    "claims": [],
}


def test_with_two_jobs_two_commands_run_at_the_same_time(tmp_path, polycli, capsys):
    both = threading.Barrier(2)

    def during(process):
        if process.line[0] == "pretrain":
            both.wait(timeout=10)  # Raises unless another command is here too.
        return 0

    polycli.during[:] = [during]
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump({**STUDY, **SEEDS}))
    line = ["study", "mpp", "--recipe", str(path), "--output", str(tmp_path / "out"), "--json"]
    assert entry.run([*line, "--jobs", "2"]) == 0
    assert set(json.loads(capsys.readouterr().out)["results"]["steps"]) == {f"steps-state-{seed}" for seed in range(4)}


def test_a_command_waits_for_what_it_reads_wherever_that_stands_in_the_recipe(tmp_path, polycli):
    ended = set()
    early = []

    def during(process):
        output = process.line[process.line.index("--output") + 1]
        words = {part for word in process.line for part in word.replace("=", " ").split()} - {output}
        reads = {word for word in words if word.startswith(str(tmp_path / "out"))}
        if output.endswith(("time-state-0", "time-change-0")):
            reads |= {str(tmp_path / "out" / "runs" / f"steps-{kind}-0") for kind in ("state", output.split("-")[-2])}
        early.extend((output, read) for read in reads - ended)
        time.sleep(0.3 if output.endswith("0") else 0.1)
        ended.add(output)
        return 0

    polycli.during[:] = [during]
    steps = STUDY["runs"]["steps"]
    settings = [*steps["set"], "data.stores=[ {run:tuned} ]"]
    runs = {
        "time": STUDY["runs"]["time"],
        "mapped": {**steps, "set": settings},
        "again": {**steps, "checkpoint": "tuned"},
        "tuned": {**steps, "checkpoint": "steps"},
        "steps": steps,
    }
    evaluations = {
        "plain": {"run": "steps", "stores": ["waves"]},
        "by_store": {"run": "steps", "stores": ["waves", "{run:mapped}"]},
        "by_setting": {"run": "steps", "stores": ["waves"], "set": ["model.fields=[ {run:again} ]"]},
    }
    tables = [{"title": "Errors", "of": "plain", "columns": {"error": "scores/error"}}]
    changes = {"runs": runs, "evaluations": evaluations, "tables": tables, "claims": []}
    document = study(tmp_path, changes, jobs=64)  # So many that all begins that may.
    assert early == []
    assert len(ended) == 1 + 2 + 4 * 6 + 3 * 6
    names = [f"steps-{kind}-{seed}" for kind in ("state", "change") for seed in (0, 1, 2)]
    assert list(document["results"]["steps"]) == names, "in the order of the recipe, not of the clock"
    matched = {line[-1] for line in polycli.lines if any("runs/time" in word for word in line)}
    assert matched == {"train.steps=8", "train.steps=2"}


def test_once_a_command_has_failed_no_other_starts_and_those_under_way_finish(tmp_path, polycli):
    both = threading.Barrier(2)

    def during(process):
        if process.line[0] == "prepare":
            return 0
        both.wait(timeout=10)
        if "train.seed=0" in process.line:
            return 3
        time.sleep(0.5)  # Time in which a third one would start.
        return 0

    polycli.during[:] = [during]
    with pytest.raises(PolycliError, match=r"steps-state-0 .* ended with exit code 3") as caught:
        study(tmp_path, SEEDS, jobs=2)
    assert caught.value.exit_code == 3
    assert len(polycli.processes) == 1 + 2
    assert polycli.lines[-1][-3] == "train.seed=1", "the other one was let finish"
    assert not any(process.terminated for process in polycli.processes)
    assert not (tmp_path / "out" / "study.json").exists()


def test_runs_that_wait_for_each_other_are_refused(tmp_path, polycli):
    steps = STUDY["runs"]["steps"]
    runs = {"steps": {**steps, "checkpoint": "other"}, "other": {**steps, "checkpoint": "steps"}}
    with pytest.raises(RecipeError, match=r"wait for each other: .*(steps|other)-state-0"):
        study(tmp_path, {"runs": runs}, jobs=2)
    assert polycli.processes == []


def test_there_is_one_job_at_least(capsys):
    assert entry.run(["study", "mpp", "--recipe", "mpp_demo", "--output", "x", "--jobs", "0"]) == 2
    assert "--jobs" in capsys.readouterr().err


@pytest.mark.slow
def test_a_study_through_the_command_line(tmp_path):
    simulation = {"system": "shallow_water", "trajectories": 6, "frames": 6, "grid": 16}
    data = tmp_path / "data.yaml"
    data.write_text(yaml.safe_dump({"family": "mpp", "verb": "prepare", "simulate": {"swe": simulation}}))
    model = ["model.embed_dim=16", "model.num_heads=2", "model.blocks=1", "model.patch_size=4", "data.history=2"]
    sizes = ["train.steps=2", "train.global_batch_size=2", "train.micro_batch_size=2", "data.draws_per_step=1"]
    names = ["data.weights={}", "data.micro_batch_size={}"]
    recipe = tmp_path / "study.yaml"
    recipe.write_text(
        yaml.safe_dump(
            {
                "family": "mpp",
                "verb": "study",
                "title": "Tiny",
                "stores": {"waves": {"source": "simulate", "recipe": str(data)}},
                "runs": {"one": {"recipe": "mpp_demo", "stores": ["waves"], "set": [*model, *sizes, *names]}},
                "evaluations": {
                    "test": {"run": "one", "stores": ["waves"], "set": ["report=false", "rollout_steps=1"]}
                },
                "tables": [
                    {"title": "Errors", "of": "test", "columns": {"error": "scores/datasets/swe/one_step/nrmse/model"}}
                ],
            }
        )
    )
    line = ["study", "mpp", "--recipe", str(recipe), "--output", str(tmp_path / "out"), "--json"]
    done = subprocess.run([sys.executable, "-m", "polycli", *line], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    scores = json.loads((tmp_path / "out" / "evaluations" / "test" / "scores.json").read_text())
    assert document["results"]["test"]["one"]["scores"] == scores
    assert document["results"]["test"]["one"]["run"]["steps"] == 2


def test_the_verb_is_there_for_mpp(capsys):
    assert entry.run(["study", "mpp", "--recipe", "no_such_recipe", "--output", "x"]) == 2
    assert "no_such_recipe" in capsys.readouterr().err
