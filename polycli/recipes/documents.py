"""Recipe files as plain data with the line of every key: safe YAML without surprises.

Scalars are read as YAML 1.2 has them: `1e-3` is a number, `on` and `12:30` are text, `010` is ten. Duplicate keys,
anchors and tags are refused, so what stands in the file is what the reader sees. Nothing is ever constructed but
mappings, lists, text, numbers, true, false and null.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

from polycli.errors import RecipeError
from polycli.files.plain import read_bytes, reason_of
from polycli.names import shortened_name

KeyPath = tuple[str | int, ...]

#: What PyYAML may find by itself; our own rules then read the scalar. Any other tag was written to construct something.
_TAGS = {
    f"tag:yaml.org,2002:{name}"
    for name in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp", "merge", "value")
}
#: Bytes of a recipe, levels in it, and characters of a number.
LONGEST_RECIPE, _DEEPEST, _LONGEST_NUMBER = 2**20, 50, 300
#: One more than the largest integer of 64 bits with a sign.
_LARGEST_INTEGER = 2**63
_TOO_DEEP = "this is not a recipe: it is nested too deeply"
_LINE_ENDS = re.compile("[\x85\u2028\u2029]")
_NULL = re.compile(r"~|null|Null|NULL|")
_BOOLEAN = re.compile(r"true|True|TRUE|false|False|FALSE")
_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(inf|Inf|INF)")
_NAN = re.compile(r"\.(nan|NaN|NAN)")


@dataclass(frozen=True)
class Origin:
    """The file and line at which a key was written."""

    source: str
    line: int | None = None
    #: Whether the file is not the user's own but one that a recipe leads to: nothing that stands there is shown.
    hidden: bool = False

    def __str__(self) -> str:
        return self.source if self.line is None else f"{self.source}:{self.line}"


@dataclass
class Document:
    """A mapping as it was written, and the origin of everything in it."""

    source: str
    data: dict[str, Any]
    origins: dict[KeyPath, Origin] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> Origin:
        """Returns the origin of `path`, or of the nearest thing around it that has one."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin(self.source)


def read_document(path: Path, *, source: str | None = None) -> Document:
    """The recipe file at `path`.

    Raises:
        RecipeError: it cannot be read, is not YAML, or is not a mapping; or a key stands twice.
    """
    name = source or str(path)
    try:
        text = read_bytes(path, LONGEST_RECIPE).decode("utf-8")
    except UnicodeDecodeError as error:
        raise RecipeError(f"{name}: cannot be read: it is not UTF-8 text") from error
    except OSError as error:
        raise RecipeError(f"{name}: cannot be read: {reason_of(error)}") from error
    document = Document(source=name, data={})
    root = _compose(text, name)
    if root is None:
        return document
    data = _Builder(document).build(root, ())
    if not isinstance(data, dict):
        raise RecipeError(f"{name}: a recipe is a mapping of keys to values, this is a {_kind(root)}")
    document.data = data
    return document


def read_value(text: str, *, source: str) -> Any:  # noqa: ANN401  # A YAML value is anything.
    """One YAML value, as in `--set key=value`; empty text is null."""
    root = _compose(text, source)
    return None if root is None else _Builder(Document(source=source, data={})).build(root, ())


def write_document(data: Mapping[str, Any]) -> str:
    """YAML that `read_document` reads back equal."""
    text: str = yaml.dump(_plain(data), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        root: yaml.Node | None = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = None if error.problem_mark is None else error.problem_mark.line + 1
        raise RecipeError(f"{Origin(source, line)}: this is not YAML: {error.problem or error.context}") from error
    except RecursionError as error:
        raise RecipeError(f"{source}: {_TOO_DEEP}") from error
    except yaml.YAMLError as error:
        raise RecipeError(f"{source}: this is not YAML: {str(error).splitlines()[0]}") from error
    return root


class _Builder:
    """Turns a node tree into plain data and notes where each key stood."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.seen: set[int] = set()

    def build(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401
        # An alias hands out the same node again. Refusing it also refuses documents that contain themselves.
        if len(path) > _DEEPEST:
            raise self.problem(node, _TOO_DEEP)
        if id(node) in self.seen:
            raise self.problem(node, "anchors and aliases are not part of recipes; write the value out or `extends`")
        self.seen.add(id(node))
        if node.tag not in _TAGS:
            raise self.problem(node, f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not part of recipes")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self.entry(item, (*path, index)) for index, item in enumerate(node.value)]
        text = str(node.value)
        quoted = isinstance(node, yaml.ScalarNode) and node.style in {"'", '"', "|", ">"}
        if quoted:
            return text
        value = _plain_scalar(text) if len(text) <= _LONGEST_NUMBER or not _FLOAT.fullmatch(text) else math.inf
        if isinstance(value, float) and math.isinf(value) and not _INFINITE.fullmatch(text):
            raise self.problem(node, f"the number {shortened_name(text, 20)} is beyond what a float64 holds")
        if isinstance(value, float) and _INTEGER.fullmatch(text) and value != int(text):
            lost = f"the whole number {shortened_name(text, 20)} is beyond 64 bits and would lose digits"
            raise self.problem(node, f"{lost}: write it with a decimal point, or in quotes if it is a name")
        return value

    def entry(self, node: yaml.Node, path: KeyPath) -> Any:  # noqa: ANN401
        self.document.origins[path] = Origin(self.document.source, node.start_mark.line + 1)
        return self.build(node, path)

    def mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.problem(key_node, "a key must be text")
            key = str(key_node.value)
            here = (*path, key)
            line = key_node.start_mark.line + 1
            if key in found:
                first = self.document.origins[here].line
                raise self.problem(key_node, f"`{dotted(here)}` stands twice, first in line {first}")
            if key == "<<":
                raise self.problem(key_node, "`<<` is not part of recipes; use `extends`")
            self.document.origins[here] = Origin(self.document.source, line)
            found[key] = self.build(value_node, here)
        return found

    def problem(self, node: yaml.Node, text: str) -> RecipeError:
        return RecipeError(f"{Origin(self.document.source, node.start_mark.line + 1)}: {text}")


def _plain_scalar(text: str) -> Any:  # noqa: ANN401
    """An unquoted scalar by the core schema of YAML 1.2."""
    if _NULL.fullmatch(text):
        return None
    if _BOOLEAN.fullmatch(text):
        return text.lower() == "true"
    if _INTEGER.fullmatch(text):
        # Beyond 64 bits it can only be meant as a real number, and where a count is expected it is refused as one.
        return whole if abs(whole := int(text)) < _LARGEST_INTEGER else float(text)
    if _FLOAT.fullmatch(text):
        number = float(text)
        # `steps: 1e5` is a count to whoever writes it, and an integer is as good where a real number is asked for.
        is_whole = "." not in text and abs(number) < _LARGEST_INTEGER and number.is_integer()
        return int(number) if is_whole else number
    if found := _INFINITE.fullmatch(text):
        return float(found[1] + "inf")
    return float("nan") if _NAN.fullmatch(text) else text


class _Dumper(yaml.SafeDumper):
    """Quotes text that either YAML version would read as something else; short lists stay on one line."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002
        return True

    def represent_text(self, text: str) -> yaml.ScalarNode:
        # Unicode's own line ends are folded into blanks unless they are escaped, which double quotes alone do.
        style = '"' if _LINE_ENDS.search(text) else None if _plain_scalar(text) == text else "'"
        return self.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    def represent_plain_list(self, items: list[Any]) -> yaml.SequenceNode:
        flow = all(not isinstance(item, dict | list) for item in items)
        return self.represent_sequence("tag:yaml.org,2002:seq", items, flow_style=flow)


_Dumper.add_representer(str, _Dumper.represent_text)
_Dumper.add_representer(list, _Dumper.represent_plain_list)


def dotted(path: KeyPath) -> str:
    """Renders the path of a key as messages do: `a.b[0].c`."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _plain(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, PurePath) else value


def _kind(node: yaml.Node) -> str:
    return "list" if isinstance(node, yaml.SequenceNode) else "single value"
