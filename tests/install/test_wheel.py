"""A wheel in a fresh environment, outside the repository, does what people do first."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """Runs the `polycli` of a fresh environment, in which the wheel alone is new; other packages are those of here."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--wheel-dir", str(folder), str(ROOT)], check=True)
    (wheel,) = folder.glob("polycli-*.whl")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder / "venv")], check=True)
    python = folder / "venv" / "bin" / "python"
    line = [str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"]
    packages = Path(subprocess.run(line, capture_output=True, text=True, check=True).stdout.strip())
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True)
    # Behind the environment's own packages, so that polycli is the wheel's.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    outside = folder / "outside"
    outside.mkdir()
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}

    def run(*words, **more):
        done = subprocess.run(
            [str(python.parent / words[0]), *words[1:]],
            cwd=outside,
            env={**environment, "HOME": str(outside), **more},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout

    return run


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
    words = {"COMP_WORDS": "polycli pretrain ", "COMP_CWORD": "2", "_POLYCLI_COMPLETE": "complete_bash"}
    assert {"mpp", "xval", "astroclip"} <= set(installed("polycli", **words).split())
