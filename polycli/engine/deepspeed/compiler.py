"""The C++ compiler that `engine.compile` needs: nothing else in a training compiles. Imports nothing heavy."""

from __future__ import annotations

import os
import shutil
import sys

from polycli.errors import MissingDependencyError


def find_compiler() -> str | None:
    """The path of the compiler that torch.compile calls: CXX, else g++ (clang++ on macOS); None where it is missing."""
    return shutil.which(os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++"))


def check_compiler() -> None:
    """`MissingDependencyError` without a compiler: torch.compile writes C++, on GPUs too, where it launches kernels."""
    if find_compiler() is None:
        raise MissingDependencyError(
            "engine.compile needs a C++ compiler, and there is no g++ on PATH, nor does CXX name another",
            hint="install g++, or --set engine.compile=false; polycli doctor says what this machine has",
        )
