"""Recipes of containers, tox.ini and pyproject.toml name what there is; containers are built where the tools are."""

import configparser
import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "containers" / "Dockerfile"
APPTAINER = ROOT / "containers" / "polycli.def"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


def claimed():
    found = (re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", line) for line in PROJECT["classifiers"])
    return {match[1] for match in found if match}


def version(text):
    return tuple(map(int, text.split(".")))


def test_containers_have_a_python_that_is_claimed():
    docker = re.search(r"^ARG PYTHON=(\S+)$", DOCKERFILE.read_text(), re.MULTILINE)[1]
    apptainer = re.search(r"^From: python:(\S+)-slim$", APPTAINER.read_text(), re.MULTILINE)[1]
    assert docker == apptainer
    assert docker in claimed()
    assert all(version(one) >= version(PROJECT["requires-python"].removeprefix(">=")) for one in claimed())


def test_containers_ask_for_extras_that_exist():
    docker = re.search(r'^ARG EXTRAS="(\S+)"$', DOCKERFILE.read_text(), re.MULTILINE)[1]
    apptainer = re.search(r"^ +EXTRAS=(\S+)$", APPTAINER.read_text(), re.MULTILINE)[1]
    assert {docker, apptainer} <= EXTRAS.keys()


def test_containers_copy_what_there_is_and_all_that_the_wheel_needs():
    docker = {
        name.rstrip("/")
        for line in re.findall(r"^COPY (.+)$", DOCKERFILE.read_text(), re.MULTILINE)
        for name in line.split()[:-1]
    }
    section = APPTAINER.read_text().split("%files\n")[1].split("\n%")[0]
    apptainer = {line.split()[0] for line in section.splitlines() if line.strip()}
    assert docker == apptainer
    assert all((ROOT / name).exists() for name in docker)
    assert docker >= {"pyproject.toml", "polycli", "recipes", PROJECT["readme"], *PROJECT["license-files"]}


def test_the_extra_all_has_every_extra_for_use_but_what_is_gpl():
    (everything,) = EXTRAS["all"]
    names = set(re.fullmatch(r"polycli\[(.+)\]", everything)[1].split(","))
    assert names == EXTRAS.keys() - {"all", "dev", "rebound"}


def test_tox_tries_every_python_that_is_claimed_with_extras_that_exist():
    tox = configparser.ConfigParser(interpolation=None)
    tox.read(ROOT / "tox.ini")
    tried = {f"3.{name.removeprefix('py3')}" for name in tox["tox"]["env_list"].split(", ")}
    assert claimed() <= tried
    assert tox["testenv"]["extras"] in EXTRAS
    assert tox["tox"]["skip_missing_interpreters"] == "true"


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("tool", ["docker", "podman", "apptainer"])
def test_a_container_is_built_and_lists_recipes(tmp_path, tool):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    if tool != "apptainer" and subprocess.run([tool, "info"], capture_output=True, check=False).returncode:
        pytest.skip(f"{tool} is installed, but `{tool} info` fails: no daemon answers, or it may not run here")
    options = os.environ.get("PIP_OPTIONS", "")
    if tool != "apptainer":
        build = [
            tool,
            "build",
            "-f",
            str(DOCKERFILE),
            "-t",
            "polycli-test",
            "--build-arg",
            f"PIP_OPTIONS={options}",
            ".",
        ]
        start = [tool, "run", "--rm", "polycli-test"]
    else:
        image = str(tmp_path / "polycli.sif")
        build = ["apptainer", "build", "--build-arg", f"PIP_OPTIONS={options}", image, str(APPTAINER)]
        start = ["apptainer", "run", image]
    subprocess.run(build, cwd=ROOT, check=True)
    shown = subprocess.run([*start, "recipes", "ls"], capture_output=True, text=True, check=True).stdout
    assert "mpp_demo" in shown
