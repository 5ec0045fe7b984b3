"""Names of things that are fetched when they are used, as `package.module:NAME`, so that knowing of them is light."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def resolve(reference: str) -> Any:  # noqa: ANN401  # A reference may be to anything.
    """The object that `package.module:NAME` names; its module is imported.

    >>> resolve("math:tau")
    6.283185307179586
    """
    module, _, name = reference.partition(":")
    return getattr(importlib.import_module(module), name)


def summary(reference: str) -> str:
    """The first line of what the module of `package.module:NAME` says of itself; the module is not imported.

    >>> summary("json.decoder:JSONDecoder")
    'Implementation of JSONDecoder'
    """
    spec = find_spec(reference.partition(":")[0])
    if spec is None or spec.origin is None:
        return ""
    text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8"))) or ""
    return next(iter(text.splitlines()), "")


def lazily(package: str, names: Mapping[str, str]) -> Callable[[str], Any]:
    """A `__getattr__` for a package (PEP 562) that fetches each of its public names when it is asked for.

    `names` has the references by name.
    """

    def get(name: str) -> Any:  # noqa: ANN401
        if name in names:
            return resolve(names[name])
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get
