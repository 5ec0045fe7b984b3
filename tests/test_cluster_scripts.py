"""The Slurm scripts of the documentation do what they say, with Slurm's commands played by small ones of our own."""

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import typer

from polycli.cli import app
from polycli.workflow.embedding.sbatch import array_script

SCRIPTS = Path(__file__).parents[1] / "docs" / "slurm"
NAMES = ["single_node.sh", "multi_node.sh", "prepare_array.sh", "embed_array.sh"]

#: Notes its arguments; in place of a training it leaves the state that the test asks for and ends like it.
POLYCLI = """
    import json, os, sys
    from pathlib import Path
    words = sys.argv[1:]
    note = {"command": "polycli", "words": words, "task": os.environ.get("SLURM_ARRAY_TASK_ID")}
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps(note) + "\\n")
    if words[0] == "pretrain" and os.environ.get("STATE"):
        run = Path(words[words.index("--output") + 1])
        run.mkdir(parents=True, exist_ok=True)
        (run / "status.json").write_text(json.dumps({"state": os.environ["STATE"], "step": 4}, indent=2))
        sys.exit({"preempted": 75, "failed": 1}.get(os.environ["STATE"], 0))
    sys.exit(int(os.environ.get("CODE", "0")))
"""
NOTING = """
    import json, os, sys
    from pathlib import Path
    name = Path(sys.argv[0]).name
    with open(os.environ["NOTES"], "a") as notes:
        notes.write(json.dumps({"command": name, "words": sys.argv[1:]}) + "\\n")
"""
#: srun starts the command behind its own options once; sbatch starts what it wraps, once for each task of an array.
SRUN = (
    NOTING
    + "    words = sys.argv[1:]\n    while words[0].startswith('-'): words.pop(0)\n    os.execvp(words[0], words)\n"
)
SBATCH = (
    NOTING
    + """
    import subprocess
    options = sys.argv[1:]
    array = next((word.partition("=")[2] for word in options if word.startswith("--array=")), None)
    tasks = [None] if array is None else range(int(array.split("-")[1]) + 1)
    for task in tasks:
        slurm = {} if task is None else {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_ARRAY_TASK_COUNT": str(len(tasks))}
        subprocess.run(["bash", "-c", options[options.index("--wrap") + 1]], check=True, env={**os.environ, **slurm})
    print(4711)
"""
)


@pytest.fixture
def cluster(tmp_path):
    """Run a script in `tmp_path`: `cluster("single_node.sh", *arguments, **variables)` gives exit code and notes."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, source in (("polycli", POLYCLI), ("srun", SRUN), ("sbatch", SBATCH), ("scontrol", NOTING)):
        (folder / name).write_text(f"#!{sys.executable}\n{textwrap.dedent(source)}")
        (folder / name).chmod(0o755)

    def run(script: str | Path, *arguments: str, **variables: str) -> tuple[int, list[dict]]:
        # An absolute path stands for itself.
        ended = subprocess.run(
            ["bash", str(SCRIPTS / script), *arguments],
            cwd=tmp_path,
            check=False,
            capture_output=True,
            env={
                **os.environ,
                **variables,
                "PATH": f"{folder}{os.pathsep}{os.environ['PATH']}",
                "NOTES": str(tmp_path / "notes"),
            },
        )
        notes = tmp_path / "notes"
        return ended.returncode, [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []

    return run


def assert_parses(words: list[str]) -> None:
    """The real command line takes these words, every option included; nothing is run."""
    command = typer.main.get_command(app)
    verb = command.commands[words[0]]
    assert verb.make_context(words[0], words[1:]).args == []  # words that no option takes


def polycli_lines(notes: list[dict]) -> list[list[str]]:
    lines = [note["words"] for note in notes if note["command"] == "polycli"]
    for line in lines:
        assert_parses(line)
    return lines


@pytest.mark.parametrize("name", NAMES)
def test_scripts_are_sound_shell(name):
    checker = shutil.which("shellcheck")
    command = ["bash", "-n"] if checker is None else [checker]
    ended = subprocess.run([*command, str(SCRIPTS / name)], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_script_is_tested():
    assert sorted(path.name for path in SCRIPTS.iterdir()) == sorted(NAMES)


def test_a_line_that_the_command_line_does_not_know_is_noticed():
    with pytest.raises(Exception, match="--stores"):
        assert_parses(["pretrain", "mpp", "--recipe", "mpp_b", "--stores", "x"])


@pytest.mark.parametrize("script", ["single_node.sh", "multi_node.sh"])
@pytest.mark.parametrize(
    ("state", "code", "requeued"), [("complete", 0, False), ("preempted", 0, True), ("failed", 1, False)]
)
def test_a_preempted_run_is_put_back_into_the_queue_and_no_other(cluster, script, state, code, requeued):
    found, notes = cluster(script, "mpp_b", "my stores", "runs/b", STATE=state, SLURM_JOB_ID="12")
    assert found == code
    (line,) = polycli_lines(notes)
    assert line == ["pretrain", "mpp", "--recipe", "mpp_b", "--data", "my stores", "--output", "runs/b"]
    assert [note["words"] for note in notes if note["command"] == "scontrol"] == [["requeue", "12"]] * requeued


@pytest.mark.parametrize("script", ["single_node.sh", "multi_node.sh"])
def test_a_run_that_never_began_fails(cluster, script):
    code, notes = cluster(script, "mpp_b", "stores", "runs/b", SLURM_JOB_ID="12", STATE="")
    assert code == 0  # the stand-in ended well, without a run
    assert not [note for note in notes if note["command"] == "scontrol"]


@pytest.mark.parametrize("script", ["single_node.sh", "multi_node.sh", "embed_array.sh"])
def test_time_to_save_is_asked_for_of_the_ranks_and_not_of_the_script(script):
    text = (SCRIPTS / script).read_text()
    assert "#SBATCH --signal=USR1@300" in text  # with B: the script alone would hear it
    assert "#SBATCH --requeue" in text


def test_prepare_runs_every_part_and_joins_them_afterwards(cluster):
    code, notes = cluster("prepare_array.sh", "it's 2D", "stores", "3")
    assert code == 0
    common = ["prepare", "mpp", "--source", "pdebench", "--input", "it's 2D", "--output", "stores", "--workers", "4"]
    lines = [note["words"] for note in notes if note["command"] == "polycli"]
    assert lines == [[*common, "--part", "auto"]] * 3 + [[*common, "--finalize"]]
    assert [note["task"] for note in notes if note["command"] == "polycli"] == ["0", "1", "2", None]
    for line in lines:
        assert_parses(line)
    array, finalize = [note["words"] for note in notes if note["command"] == "sbatch"]
    assert "--array=0-2" in array
    assert "--dependency=afterok:4711" in finalize


@pytest.mark.parametrize(("code", "ends_with", "requeued"), [("0", 0, False), ("75", 0, True), ("1", 1, False)])
def test_embed_does_its_part_and_is_put_back_into_the_queue_when_a_signal_came(cluster, code, ends_with, requeued):
    found, notes = cluster("embed_array.sh", "runs/astroclip", "my stores", "vectors", SLURM_JOB_ID="12", CODE=code)
    assert found == ends_with
    common = ["embed", "astroclip", "--checkpoint", "runs/astroclip", "--data", "my stores", "--output", "vectors"]
    assert polycli_lines(notes) == [[*common, "--part", "auto"]]
    assert [note["words"] for note in notes if note["command"] == "scontrol"] == [["requeue", "12"]] * requeued


@pytest.mark.parametrize(("code", "ends", "requeued"), [(0, 0, False), (75, 0, True), (1, 1, False)])
def test_the_script_that_a_dry_run_prints_does_what_ours_does(tmp_path, cluster, code, ends, requeued):
    line = ["embed", "astroclip", "--checkpoint", "runs/a b", "--data", "stores", "--output", "vectors"]
    document = {"units": 400, "hours": 37.0, "rows": 6_400_000}
    asked = [*line, "--dry-run", "--sbatch", "--hours=4"]
    noun = ("object", "objects")
    text = array_script(asked, document, hours=4.0, threads=2, has_gpu=True, noun=noun)
    assert {"#SBATCH --array=0-9", "#SBATCH --gpus=1", "#SBATCH --time=05:33:00"} <= set(text.splitlines())
    assert "6,400,000 objects in 10 tasks, 37 hours of one such device" in text
    (tmp_path / "job.sh").write_text(text)
    found, notes = cluster(tmp_path / "job.sh", CODE=str(code), SLURM_JOB_ID="12")
    assert found == ends
    assert polycli_lines(notes) == [[*line, "--part", "auto"]]
    assert [note["words"] for note in notes if note["command"] == "scontrol"] == [["requeue", "12"]] * requeued
    # What is not filled in is as in the script of the documentation.
    ours = (SCRIPTS / "embed_array.sh").read_text().splitlines()
    for word in ("#SBATCH --signal", "#SBATCH --requeue", "#SBATCH --open-mode", "#SBATCH --output"):
        assert [each for each in text.splitlines() if each.startswith(word)] == [e for e in ours if e.startswith(word)]
