"""What messages, hints and documentation name exists: verbs, families, options, recipes and keys."""

import ast
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import click
import pytest
from typer.main import get_command

import polycli
from polycli.cli import app
from polycli.families import SHIPPED, VERBS, find_family
from polycli.recipes import recipe_schemas, settings_schema, shipped_names
from polycli.recipes.schema import key_path

PACKAGE = Path(polycli.__file__).parent
REPOSITORY = PACKAGE.parent
COMMANDS: dict[str, click.Command] = get_command(app).commands
#: Help of every command, and what only torchrun and Slurm have.
ALWAYS = {"--help"}
PAGES = sorted([*REPOSITORY.glob("*.md"), *(REPOSITORY / "docs").rglob("*.md")])
SCRIPTS = sorted([*(REPOSITORY / "docs").rglob("*.sh"), REPOSITORY / "Makefile"])
MODULES = sorted(PACKAGE.rglob("*.py"))
#: Pages that tell of what was, of what others have, or of what does not exist.
OF_THE_PAST = {"CHANGELOG.md", "when-it-fails.md"}
#: What begins with `polycli.` and is no Python: keys of metadata, groups of entry points.
NOT_PYTHON = {"polycli.sha256", "polycli.families", "polycli.sources"}


def strings(path: Path) -> Iterator[str]:
    """Every text of a module; what an f-string fills in is an X."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.value


def code_of_page(text: str) -> Iterator[str]:
    """Code spans and indented or fenced lines of a page."""
    yield from (span.replace("\n", " ") for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", text))
    yield from re.findall(r"^(?: {4}|\t)(.*)$", text, flags=re.MULTILINE)
    yield from (line for block in re.findall(r"```.*?\n(.*?)```", text, flags=re.DOTALL) for line in block.splitlines())


def command_lines(text: str) -> Iterator[str]:
    """What follows `polycli` wherever it names a command, up to where the line or the code ends."""
    text = text.replace("\\\n", " ")
    for found in re.finditer(r"(?<![\w./-])polycli ([a-z]+\b[^`\n;|&]*)", text):
        if found[1].split()[0] in COMMANDS:
            yield found[1].split(" # ")[0]


def texts() -> Iterator[tuple[str, str]]:
    """The name of a file, and a command line in it without `polycli`."""
    for path in MODULES:
        yield from ((str(path.relative_to(REPOSITORY)), line) for text in strings(path) for line in command_lines(text))
    for path in PAGES:
        if path.name not in OF_THE_PAST:
            for code in code_of_page(path.read_text(encoding="utf-8")):
                yield from ((str(path.relative_to(REPOSITORY)), line) for line in command_lines(code))
    for path in SCRIPTS:
        yield from ((str(path.relative_to(REPOSITORY)), line) for line in command_lines(path.read_text()))


LINES = sorted(set(texts()))


def test_there_are_lines_to_look_at():
    assert {line.split()[0] for _, line in LINES} >= set(COMMANDS)


def test_every_option_that_a_line_gives_is_one_of_its_command():
    wrong = []
    for where, line in LINES:
        command = COMMANDS[line.split()[0]]
        commands = [command, *getattr(command, "commands", {}).values()]
        known = {option for one in commands for parameter in one.params for option in parameter.opts} | ALWAYS
        # In prose, the options of two verbs may stand in one sentence.
        wrong += [(where, line, option) for option in re.findall(r"(?<=\s)--[a-z][a-z-]*", line) if option not in known]
    assert wrong == []


def test_every_family_has_the_verb_that_a_line_asks_of_it():
    wrong = []
    for where, line in LINES:
        words = line.split()
        if len(words) > 1 and words[1].strip(".,:") in SHIPPED and words[0] in VERBS:
            family = words[1].strip(".,:")
            wrong += [] if words[0] in find_family(family).verbs else [(where, line)]
    assert wrong == []


def test_a_familys_own_texts_name_verbs_that_it_has():
    wrong = []
    for name in SHIPPED:
        missing = set(VERBS) - set(find_family(name).verbs)
        for path in MODULES:
            if path.is_relative_to(PACKAGE / name):
                for text in strings(path):
                    named = set(re.findall(r"\b(?:or|and|then|to) ([a-z]+) (?:this|it|one)\b|`([a-z]+)`", text))
                    wrong += [(str(path), verb) for pair in named for verb in pair if verb in missing]
    assert wrong == []


def test_every_recipe_that_a_line_names_is_shipped():
    wrong = []
    for where, line in LINES:
        named = re.findall(r"--recipe[= ]([\w./-]+)", line)
        files = [name for name in named if re.search(r"[A-Z]|\.ya?ml$|/", name)]
        wrong += [(where, line, name) for name in named if name not in files and name not in shipped_names()]
    assert wrong == []


@pytest.fixture(scope="module")
def schemas():
    """By family: all schemas that `--set` may change."""
    return {
        name: [
            *recipe_schemas(name).values(),
            *(schema for verb in VERBS if (schema := settings_schema(name, verb)) is not None),
        ]
        for name in SHIPPED
    }


def test_every_key_that_a_text_sets_is_one_of_a_recipe(schemas):
    every = [schema for found in schemas.values() for schema in found]
    said = [
        (path, schemas.get(path.relative_to(PACKAGE).parts[0], every), text)
        for path in MODULES
        for text in strings(path)
    ]
    said += [(path, every, path.read_text()) for path in [*PAGES, *SCRIPTS] if path.name not in OF_THE_PAST]
    wrong = []
    for path, known, text in said:
        # `key` and X stand for any.
        keys = set(re.findall(r"--set ['\"]?([a-z][\w.-]*)=", text)) - {"key"}
        wrong += [(str(path), key) for key in keys if "X" not in key and not any(key_path(s, key, {}) for s in known)]
    assert wrong == []


def test_every_python_name_that_a_page_gives_exists():
    names = set()
    for path in PAGES:
        if path.name not in OF_THE_PAST:
            text = path.read_text(encoding="utf-8")
            names |= set(re.findall(r"`(polycli(?:\.\w+)+)", text))
            for module, imported in re.findall(r"^\s*from (polycli[\w.]*) import ([\w, ]+)", text, flags=re.MULTILINE):
                names |= {f"{module}.{name.split()[0]}" for name in imported.split(",")}
    assert len(names) > 3
    names = {name for name in names if ".".join(name.split(".")[:2]) not in NOT_PYTHON}
    assert [name for name in sorted(names) if not _exists(name)] == []


def _exists(name: str) -> bool:
    """Whether a dotted name is a module, or something in one."""
    module, _, rest = name.rpartition(".")
    try:
        pkgutil.resolve_name(f"{module}:{rest}")
    except (ImportError, AttributeError):
        return find_spec(name) is not None if module in sys.modules or find_spec(module) else False
    return True


def test_readmes_table_says_which_verbs_and_sources_there_are():
    rows = re.findall(r"^\| \*\*(\w+)\*\* \| (`.*?) \| (.*) \|$", (REPOSITORY / "README.md").read_text(), re.MULTILINE)
    assert [name for name, _, _ in rows] == list(SHIPPED)
    for name, sources, verbs in rows:
        family = find_family(name)
        assert set(re.findall(r"`([\w-]+)`", sources)) == set(family.sources)
        assert verbs.split(" | ") == ["yes" if verb in family.verbs else "" for verb in VERBS[1:]]
