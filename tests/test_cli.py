"""The command line as a shell sees it: exit codes, what goes to stdout, and what is not imported."""

import json
import os
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest

from polycli import __main__ as entry
from polycli import __version__
from polycli.errors import BadNumbersError, PolycliError, PreemptedError, StoreError, TrainingError
from polycli.families import SHIPPED, VERBS

#: A line for each verb that is complete, so that only the family can be wrong.
LINES = {
    "prepare": ["--source", "any", "--output", "out"],
    "pretrain": ["--recipe", "mpp_ti"],
    "finetune": ["--recipe", "mpp_ti", "--checkpoint", "run"],
    "calibrate": ["--checkpoint", "run"],
    "eval": ["--checkpoint", "run"],
    "predict": ["--checkpoint", "run", "--data", ".", "--output", "out"],
    "embed": ["--checkpoint", "run", "--data", ".", "--output", "out"],
    "study": ["--recipe", "mpp_ti", "--output", "out"],
}


@pytest.fixture
def polycli(capsys, tmp_path, monkeypatch):
    """Run a command line in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = entry.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return SimpleNamespace(code=code, out=captured.out, err=captured.err)

    return run


@pytest.fixture
def verb(monkeypatch):
    """Replace what a verb of mpp does, and see the request that it gets."""

    def replace(action):
        monkeypatch.setattr("polycli.commands.options.verb_module", lambda *_: SimpleNamespace(run=action))

    return replace


def test_the_version_is_printed(polycli):
    assert polycli("--version").out == f"polycli {__version__}\n"


def test_help_lists_every_verb_under_its_heading_and_every_family(polycli):
    answer = polycli("--help")
    assert answer.code == 0
    for name in (*VERBS, "search", "export", "inspect", "doctor", "demo", "recipes", "weights", *SHIPPED):
        assert name in answer.out
    assert answer.out.index("Data:") < answer.out.index("Models:") < answer.out.index("Look around:")


@pytest.mark.parametrize("verb_name", sorted(set(VERBS) - {"prepare", "study"}))
def test_a_verb_that_a_family_does_not_have_says_so(polycli, package, verb_name):
    family = 'FAMILY = Family(name="bare", about="prepares", package=__name__)'
    modules = {"bare/__init__.py": f"from polycli.families import Family\n{family}", "bare/prepare.py": ""}
    package("bare", modules, {"polycli.families": {"bare": "bare:FAMILY"}})
    answer = polycli(verb_name, "bare", *LINES[verb_name])
    assert (answer.code, answer.out) == (2, "")
    said = f"error: bare does not have the verb `{verb_name}` in this version: it has prepare, study"
    assert said in answer.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pretrain", "mppp", "--recipe", "mpp_ti"], "did you mean mpp?"),
        (["pretrian"], "Did you mean 'pretrain'?"),
        (["pretrain", "mpp"], "--recipe"),
        (["pretrain", "mpp", "--recipe", "mpp_tii"], "did you mean mpp_ti"),
        (["pretrain", "mpp", "--recipe", "mpp_ti", "--set", "train.stpes=1"], "`train.steps`"),
        (["pretrain", "mpp", "--recipe", "mpp_ti", "--data", "nowhere"], "nowhere: no such file or folder"),
        (["pretrain", "mpp", "--recipe", "mpp_ti", "--resume", "perhaps"], "--resume"),
        (["pretrain", "mpp", "--recipe", "mpp_demo_data"], "is a recipe for `prepare mpp`"),
        (["prepare", "mpp", "--source", "x", "--output", "o", "--part", "4/4"], "--part 4/4"),
        (["prepare", "mpp", "--source", "x", "--output", "o", "--part", "0/2", "--finalize"], "two steps"),
        (["prepare", "mpp", "--source", "x", "--output", "o", "--limit", "0"], "--limit"),
        (["predict", "mpp", "--checkpoint", "x", "--output", "o"], "--data is missing"),
        (["predict", "mpp", "--checkpoint", "x", "--output", "o", "--data", ".", "--set", "stepz=2"], "`steps`"),
        (
            ["eval", "mpp", "--checkpoint", "x", "--set", "wibble=2"],
            "there are windows_per_trajectory, data, model, allow_untrained, rollout_batch_size, bands, batch_size",
        ),
        (["eval", "mpp", "--checkpoint", "x", "--set", "data.wibble=2"], "there are history, time_stride"),
        (["recipes", "check", "."], "a folder, a recipe is a file"),
        (["search", "vectors", "--k", "5"], "vectors: does not exist"),
        (["demo", "xvall"], "did you mean xval?"),
        (["inspect", "nowhere"], "no such file or folder"),
        (["recipes", "schema", "mpp", "tune"], "no recipes"),
    ],
)
def test_wrong_input_ends_with_two_and_leaves_stdout_empty(polycli, arguments, said, tmp_path):
    answer = polycli(*arguments)
    assert (answer.code, answer.out) == (2, "")
    assert said in answer.err
    assert "Traceback" not in answer.err
    assert list(tmp_path.iterdir()) == []


def test_an_unquoted_glob_is_answered_with_the_line_that_works(polycli, tmp_path):
    for name in ("a.h5", "b.h5", "c.h5"):
        (tmp_path / name).write_text("")
    answer = polycli("prepare", "mpp", "--source", "pdebench", "--input", "a.h5", "b.h5", "c.h5", "--output", "o")
    assert answer.code == 2
    assert "polycli prepare mpp --source pdebench --input '*.h5' --output o" in answer.err
    answer = polycli("prepare", "mpp", "--input", "a.h5", "b.h5", "--source", "pdebench", "--output", "o")
    assert "polycli prepare mpp --input a.h5 --input b.h5 --source pdebench --output o" in answer.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (StoreError("stores/a: damaged", hint="prepare it again"), 2),
        (TrainingError("the loss is not finite"), 1),
        (PolycliError("it failed"), 1),
    ],
)
def test_each_kind_of_problem_has_its_exit_code_and_one_sentence(polycli, verb, error, code):
    def fail(_):
        raise error

    verb(fail)
    answer = polycli("eval", "mpp", "--checkpoint", "run")
    assert (answer.code, answer.out) == (code, "")
    expected = f"error: {error.message}\n" + (f"  hint: {error.hint}\n" if error.hint else "")
    assert answer.err == expected
    answer = polycli("eval", "mpp", "--checkpoint", "run", "--json")
    assert (answer.code, answer.out) == (code, "")
    assert json.loads(answer.err) == {
        "error": {"kind": type(error).__name__, "message": error.message, "hint": error.hint, "exit_code": code}
    }


def test_an_unexpected_problem_is_one_line_and_a_traceback_in_a_file(polycli, verb, monkeypatch, tmp_path):
    def fail(_):
        raise ZeroDivisionError("by zero")

    verb(fail)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    answer = polycli("eval", "mpp", "--checkpoint", "run")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("error: ZeroDivisionError: by zero\n")
    assert "Traceback" not in answer.err
    (written,) = tmp_path.glob("polycli-*.traceback.txt")
    assert str(written) in answer.err
    assert "in fail" in written.read_text()
    monkeypatch.setenv("POLYCLI_DEBUG", "1")
    assert "in fail" in polycli("eval", "mpp", "--checkpoint", "run").err


def test_too_little_memory_is_one_sentence(polycli, verb):
    def fail(_):
        raise MemoryError("Unable to allocate 7 TiB")

    verb(fail)
    answer = polycli("eval", "mpp", "--checkpoint", "run")
    assert answer.code == 1
    assert answer.err.startswith("error: there is not enough memory: Unable to allocate 7 TiB\n  hint: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["eval", "mpp", "--checkpoint", "run"], "stopped: nothing was written, and the same line starts again\n"),
        (
            ["prepare", "mpp", "--source", "simulate", "--output", "o"],
            "stopped: what was read so far is kept, and the same line goes on from there\n",
        ),
    ],
)
def test_ctrl_c_is_one_calm_sentence_on_what_is_kept_and_ends_with_130(polycli, verb, words, said):
    def interrupt(_):
        raise KeyboardInterrupt

    verb(interrupt)
    answer = polycli(*words)
    assert (answer.code, answer.out, answer.err) == (130, "", said)


def test_a_run_that_saved_and_stopped_is_no_error(polycli, verb):
    def stop(_):
        raise PreemptedError("stopped by SIGINT after step 9; everything is saved", hint="run the same line again")

    verb(stop)
    answer = polycli("eval", "mpp", "--checkpoint", "run")
    assert (answer.code, answer.out) == (75, "")
    assert answer.err == "stopped by SIGINT after step 9; everything is saved: run the same line again\n"
    assert json.loads(polycli("eval", "mpp", "--checkpoint", "run", "--json").err)["error"]["exit_code"] == 75


def test_wrong_input_is_said_by_the_first_rank_of_a_machine_and_failures_by_all(polycli, verb, monkeypatch):
    problem = [StoreError("damaged")]

    def fail(_):
        raise problem[0]

    verb(fail)
    monkeypatch.setenv("RANK", "5")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert polycli("eval", "mpp", "--checkpoint", "run").err == ""
    problem[0] = TrainingError("no memory")
    assert polycli("eval", "mpp", "--checkpoint", "run").err == "error: rank 5: no memory\n"
    problem[0] = StoreError("damaged")
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert polycli("eval", "mpp", "--checkpoint", "run").err == "error: rank 5: damaged\n"


@pytest.mark.parametrize("error", [BadNumbersError, PreemptedError])
def test_what_all_ranks_agree_on_is_said_by_rank_0_alone(polycli, verb, monkeypatch, error):
    def fail(_):
        raise error("step 7: the loss is not finite")

    verb(fail)
    mark = "" if error is PreemptedError else "error: "
    for rank, said in (("0", f"{mark}step 7: the loss is not finite\n"), ("4", "")):  # 4 is a machine's first
        monkeypatch.setenv("RANK", rank)
        monkeypatch.setenv("LOCAL_RANK", "0")
        answer = polycli("eval", "mpp", "--checkpoint", "run")
        assert (answer.code, answer.err) == (error.exit_code, said)


def test_the_request_carries_what_was_typed(polycli, verb, tmp_path):
    seen = []
    verb(seen.append)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    words = [
        "prepare",
        "mpp",
        "--source",
        "pdebench",
        "--input",
        "a",
        "--input",
        "b",
        "--output",
        "~/o",
        "--part",
        "1/4",
    ]
    assert polycli(*words, "--set", "split.test=0.5", "--limit", "3", "--workers", "2", "--dry-run").code == 0
    (request,) = seen
    assert [path.name for path in request.inputs] == ["a", "b"]
    assert (request.source, request.part, request.limit, request.workers) == ("pdebench", (1, 4), 3, 2)
    assert (request.dry_run, request.finalize, request.json) == (True, False, False)
    assert request.overrides == ("split.test=0.5",)
    assert "~" not in str(request.output)


@pytest.mark.parametrize(("asked", "printed"), [((), ""), (("--json",), '{\n  "nrmse": 0.5\n}\n')])
def test_what_a_verb_returns_is_printed_as_json_only_when_asked(polycli, verb, asked, printed):
    verb(lambda _: {"nrmse": 0.5})
    assert polycli("eval", "mpp", "--checkpoint", "run", *asked).out == printed


def test_nproc_runs_the_same_line_as_ranks_and_passes_their_exit_code_on(polycli, monkeypatch):
    seen = []

    def start(nproc, arguments):
        seen.append((nproc, list(arguments)))
        return 75

    monkeypatch.setattr("polycli.launch.start_local_ranks", start)
    assert polycli("eval", "mpp", "--nproc", "2", "--checkpoint", "run", "--split", "train").code == 75
    assert polycli("eval", "mpp", "--checkpoint", "run", "--nproc=3").code == 75
    assert seen == [
        (2, ["eval", "mpp", "--checkpoint", "run", "--split", "train"]),
        (3, ["eval", "mpp", "--checkpoint", "run"]),
    ]


def test_nproc_inside_a_rank_is_refused(polycli, monkeypatch):
    monkeypatch.setenv("RANK", "0")
    answer = polycli("eval", "mpp", "--checkpoint", "run", "--nproc", "2")
    assert answer.code == 2
    assert "RANK is set" in answer.err


def test_a_wrong_recipe_is_refused_before_ranks_are_started(polycli, monkeypatch):
    monkeypatch.setattr("polycli.launch.start_local_ranks", lambda *_: pytest.fail("ranks were started"))
    assert polycli("pretrain", "mpp", "--recipe", "mpp_ti", "--nproc", "2", "--set", "no.such=1").code == 2


def test_print_command_prints_the_equivalent_torchrun_line(polycli):
    words = ["pretrain", "mpp", "--recipe", "mpp_ti", "--nproc", "4", "--print-command", "--set", "data.stores=[a b]"]
    answer = polycli(*words)
    assert answer.code == 0
    assert answer.out == (
        "torchrun --standalone --nproc-per-node=4 -m polycli pretrain mpp --recipe mpp_ti --set 'data.stores=[a b]'\n"
    )


_WITHOUT_HEAVY = """
import sys
from polycli.__main__ import run
code = run(sys.argv[1:])
heavy = {"torch", "zarr", "deepspeed", "matplotlib", "h5py", "tensorstore", "numpy"} & set(sys.modules)
sys.exit(f"imported {heavy}" if heavy else code)
"""


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--help"], 0),
        (["pretrain", "--help"], 0),
        (["prepare", "mpp", "--help"], 0),
        (["keys", "calibrate", "xval", "levels"], 0),
        (["recipes", "ls"], 0),
        (["recipes", "check", "mpp_b"], 0),
        (["recipes", "schema", "mpp"], 0),
        (["weights", "ls"], 0),
        (["pretrain", "mpp", "--recipe", "mpp_b", "--set", "train.stpes=1"], 2),
        (["pretrain", "mpp", "--recipe", "mpp_demo_data"], 2),
        (["pretrain", "xval", "--recipe", "mpp_b"], 2),
        (["eval", "mpp", "--checkpoint", "x", "--set", "max_window=1"], 2),
        (["embed", "xval", "--checkpoint", "x", "--data", "x", "--output", "o", "--set", "batch=1"], 2),
    ],
)
def test_what_does_not_compute_imports_nothing_heavy(arguments, code):
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_HEAVY, *arguments], capture_output=True, text=True, check=False
    )
    assert "imported" not in done.stderr
    assert done.returncode == code, done.stderr


def test_verbs_that_draw_nothing_load_no_drawing_library():
    doors = [f"polycli.{family}.{verb}" for family in SHIPPED for verb in ("prepare", "predict", "embed", "calibrate")]
    program = f"import sys, {', '.join(doors)}\nsys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_help_draws_no_rich(polycli):
    program = "import sys\nfrom polycli.__main__ import run\nrun(['--help'])\nsys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("polycli pretrain a", "astroclip"),
        ("polycli pretrain mpp --recipe mpp_t", "mpp_ti"),
        ("polycli pretr", "pretrain"),
    ],
)
def test_the_shell_completes_verbs_families_and_recipes(words, offered):
    environment = {
        **os.environ,
        "_POLYCLI_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split()) - 1),
    }
    program = textwrap.dedent("import sys; sys.argv[0] = 'polycli'; from polycli.__main__ import main; main()")
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False, env=environment)
    assert offered in done.stdout.split()


def test_python_m_polycli_is_polycli():
    done = subprocess.run([sys.executable, "-m", "polycli", "--version"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"polycli {__version__}\n", "")
