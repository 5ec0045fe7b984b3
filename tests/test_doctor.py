"""doctor looks at everything, says what is missing, and fails only for what is needed."""

import json
import shutil
import sys
from types import SimpleNamespace

import pytest

from polycli import __main__ as entry
from polycli import doctor


@pytest.fixture
def quick(monkeypatch):
    """Answers of the child processes, which take seconds otherwise."""
    answers = {
        doctor._DEVICES: {"cuda": None, "devices": [], "threads": 2, "bfloat16": False},
        doctor._CODECS: {"equal": True},
    }
    monkeypatch.setattr(doctor, "_ask_child", answers.__getitem__)
    return answers


def state_of(name):
    return {finding.name: finding.state for finding in doctor.examine()}[name]


def test_json_is_one_document_with_a_state_for_everything(quick, capsys):
    assert entry.run(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {finding["state"] for finding in findings} <= {"ok", "warn"}
    names = {finding["name"] for finding in findings}
    assert {"python", "packages", "training", "devices", "compiler", "zarr codecs", "memory", "disk"} <= names


def test_lines_begin_with_the_state(quick, capsys, monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)  # Nobody watches, so no line is folded.
    assert entry.run(["doctor"]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert line.split()[0] in {"ok", "warn"}


def test_a_missing_package_that_is_needed_fails_and_deepspeed_only_warns(quick, capsys, monkeypatch):
    version = doctor._version
    monkeypatch.setattr(doctor, "_version", lambda name: None if name in {"zarr", "deepspeed"} else version(name))
    assert entry.run(["doctor"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("fail  packages: missing: zarr") for line in lines)
    assert any(line.startswith("warn  training: missing: deepspeed") for line in lines)


def test_codecs_that_do_not_read_back_fail(quick):
    quick[doctor._CODECS] = {"equal": False}
    assert state_of("zarr codecs") == "fail"
    quick[doctor._CODECS] = "no module named zarr"
    assert state_of("zarr codecs") == "fail"


def test_gpus_are_named_and_a_cuda_build_without_one_is_a_warning(quick):
    quick[doctor._DEVICES] = {"cuda": "12.8", "devices": ["Some GPU"], "threads": 2, "bfloat16": True}
    (found,) = [finding for finding in doctor.examine() if finding.name == "devices"]
    assert (found.state, "Some GPU (CUDA 12.8, with bfloat16)" in found.message) == ("ok", True)
    quick[doctor._DEVICES] = {"cuda": "12.8", "devices": [], "threads": 2, "bfloat16": False}
    assert state_of("devices") == "warn"


def test_no_compiler_is_a_warning_that_says_what_needs_one(quick, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    (found,) = [finding for finding in doctor.examine() if finding.name == "compiler"]
    assert found.state == "warn"
    assert "engine.compile alone" in found.message


def test_the_compiler_is_the_one_that_engine_compile_would_call(quick, monkeypatch, tmp_path):
    compiler = tmp_path / "my-compiler"
    compiler.write_text("#!/bin/sh\necho my compiler 1.0\n")
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    (found,) = [finding for finding in doctor.examine() if finding.name == "compiler"]
    assert found.message == "my compiler 1.0, for engine.compile"


def test_little_memory_disk_or_a_read_only_cache_is_a_warning(quick, monkeypatch, tmp_path):
    monkeypatch.setattr(doctor, "MEMORY_BYTES", 2**80)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/proc/nothing/here")
    assert [state_of(name) for name in ("memory", "disk", "compile cache")] == ["warn"] * 3


def test_what_a_child_process_says_or_why_it_cannot_is_passed_on():
    assert doctor._ask_child("print('noise'); print('{\"a\": 1}')") == {"a": 1}
    assert "no such thing" in doctor._ask_child("raise RuntimeError('no such thing')")
    assert doctor._ask_child("import sys; sys.exit(3)") == "exit code 3"


def test_the_codecs_that_stores_use_work_here():
    assert doctor._ask_child(doctor._CODECS) == {"equal": True}


def test_nothing_heavy_is_imported_to_ask(quick):
    before = set(sys.modules)
    doctor.examine()
    assert not {"torch", "zarr", "deepspeed"} & (set(sys.modules) - before)
