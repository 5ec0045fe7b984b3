"""The tour in CONTRIBUTING.md leads from file to file as the code does."""

import ast
import re
from itertools import pairwise
from pathlib import Path

import polycli

REPOSITORY = Path(polycli.__file__).parents[1]
TOUR = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
STOPS = re.findall(r"`([\w/]+\.py): ([\w.]+)`", TOUR)
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven")


def names_in(path: Path) -> set[str]:
    """What a module defines, methods as CLASS.METHOD."""
    names = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{inner.name}" for inner in node.body if isinstance(inner, ast.FunctionDef)}
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return names


def test_every_file_and_name_of_the_tour_exists():
    assert len(STOPS) > 10
    assert [(path, name) for path, name in STOPS if name not in names_in(REPOSITORY / path)] == []


def test_the_way_to_the_gradient_has_as_many_files_as_the_tour_says_and_each_names_the_next():
    said, way = re.search(r"\*\*From `polycli pretrain mpp`.*?, (\w+) files:\n(.*?)\n\n\*\*", TOUR, re.DOTALL).groups()
    stops = re.findall(r"^\d+\. `([\w/]+\.py): ([\w.]+)`", way, re.MULTILINE)
    assert len(stops) == NUMBERS.index(said)
    for (path, _), (_, following) in pairwise(stops):
        called = following.split(".")[-1]
        assert re.search(rf"\b{called}\(", (REPOSITORY / path).read_text(encoding="utf-8")), (path, called)
    assert ".backward(" in (REPOSITORY / stops[-1][0]).read_text(encoding="utf-8")


def test_every_page_that_the_tour_names_exists():
    for path in re.findall(r"`((?:docs|tests|benchmarks)/[\w/.-]+\.(?:md|py))[`:]", TOUR):
        assert (REPOSITORY / path).is_file(), path
