"""A wheel in a fresh environment, outside the repository, does what people do first."""

import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from tests.install.test_containers import claimed

ROOT = Path(__file__).resolve().parents[2]


def built(folder):
    """The wheel, in this folder."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("polycli-*.whl")
    return wheel


def runner(python, outside):
    """Runs programs of the environment of `python` in the folder `outside`, with nothing of this environment."""
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}

    def run(*words, **more):
        done = subprocess.run(
            [str(python.parent / words[0]), *words[1:]],
            cwd=outside,
            env={**environment, "HOME": str(outside), **more},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    return run


COMPLETING = {"COMP_WORDS": "polycli pretrain ", "COMP_CWORD": "2", "_POLYCLI_COMPLETE": "complete_bash"}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs the `polycli` of a fresh environment, in which the wheel alone is new; other packages are those of here."""
    folder = tmp_path_factory.mktemp("wheel")
    wheel = built(folder)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    line = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip())
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True)
    # Behind the environment's own packages, so that polycli is the wheel's.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    outside = folder / "outside"
    outside.mkdir()
    return runner(python, outside)


@pytest.mark.slow
def test_the_wheel_is_what_runs(installed):
    place = Path(installed("python", "-c", "import polycli; print(polycli.__file__)").strip())
    assert ROOT not in place.parents


@pytest.mark.slow
def test_help_and_recipes_of_the_wheel_are_those_of_the_repository(installed):
    assert "pretrain" in installed("polycli", "--help")
    listed = installed("polycli", "recipes", "ls", COLUMNS="400")
    names = [path.stem for path in sorted((ROOT / "recipes").rglob("*.yaml"))]
    assert names
    assert [name for name in names if name not in listed] == []


@pytest.mark.slow
def test_completion_answers_in_the_shell(installed):
    assert {"mpp", "xval", "astroclip"} <= set(installed("polycli", **COMPLETING).split())


@pytest.mark.wheel
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("version", sorted(claimed()))
def test_a_wheel_with_all_that_it_needs_does_the_demo_in_a_fresh_environment(tmp_path, version):
    """With PIP_OPTIONS as the Makefile has it, for instance the address of PyTorch's CPU builds."""
    here = ".".join(map(str, sys.version_info[:2]))
    base = sys.executable if version == here else shutil.which(f"python{version}")
    if base is None:
        pytest.skip(f"there is no python{version} on this machine")
    subprocess.run([base, "-m", "venv", str(tmp_path / "venv")], check=True)
    python, outside = tmp_path / "venv" / "bin" / "python", tmp_path / "outside"
    outside.mkdir()
    options = [*shlex.split(os.environ.get("PIP_OPTIONS", "")), "-c", str(ROOT / "constraints" / "cpu.txt")]
    install = [
        str(python),
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-compile",
        "--no-input",
        "--disable-pip-version-check",
        *options,
    ]
    subprocess.run([*install, str(built(tmp_path))], cwd=outside, check=True)
    run = runner(python, outside)
    place = Path(run("python", "-c", "import polycli; print(polycli.__file__)").strip())
    assert place.is_relative_to(tmp_path)
    assert "pretrain" in run("polycli", "--help")
    assert {"mpp", "xval", "astroclip"} <= set(run("polycli", **COMPLETING).split())
    run("polycli", "demo", "mpp", "--output", "demo")
    assert "<html" in (outside / "demo" / "report" / "report.html").read_text(encoding="utf-8")
