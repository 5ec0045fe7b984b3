"""What the engine's tests share: the toy task, one process group of one process, and metrics without times."""

import gc
import importlib
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from polycli.engine.deepspeed.backend import load_deepspeed
from polycli.launch import World, join_process_group


@pytest.fixture(scope="session")
def toy() -> ModuleType:
    """The module `toy.py` beside this file, which scripts of several ranks import too."""
    spec = importlib.util.spec_from_file_location("toy", Path(__file__).with_name("toy.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["toy"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def imported() -> None:
    """Libraries are there, and the collections of garbage that each start at ZeRO 3 asks for pass over them."""
    load_deepspeed()
    importlib.import_module("torch._dynamo")  # the first optimizer would import it
    gc.collect()
    gc.freeze()


@pytest.fixture
def world(imported: None) -> World:
    """One process alone. Joined anew for every test, because each starts without a rank's variables."""
    return join_process_group()


@pytest.fixture(scope="session")
def metrics_of() -> Callable[[Path], list[dict[str, Any]]]:
    """A run's metrics without what time makes vary."""

    def read(run: Path) -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        return [{key: value for key, value in line.items() if key != "speed"} for line in lines]

    return read
