"""The shape of the house: small rooms, short files, nothing written twice, no circles, typed documents, one room for
DeepSpeed.
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import polycli
from polycli.families import SHIPPED

PACKAGE = Path(polycli.__file__).parent
MOST_MODULES = 20
MOST_LINES = 400
#: A function body of so many statements, nested ones included, may stand in one family alone.
TWICE_WRITTEN = 6
MODULES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in MODULES}
#: Files that are still to be divided. The list only shrinks.
STILL_LONG: frozenset[str] = frozenset()
#: Pairs that are still to be merged: `family/file:function = family/file:function`. The list only shrinks.
STILL_TWICE: frozenset[str] = frozenset()

#: How often `dict[str, Any]` stands in each file, which is an edge where JSON, YAML or another library's dictionaries
#: come in unchecked (decision 011). The numbers only shrink.
RAW = {
    "astroclip/model/published_names.py": 1,  # sections inferred from tensors, before pydantic checks them
    "checkpoints/identify.py": 1,  # JSON of anybody
    "doctor.py": 2,  # what a child process prints
    "engine/deepspeed/optimizers.py": 4,  # torch's own parameter groups
    "engine/run.py": 1,  # status.json
    "files/documents.py": 1,  # JSON of anybody
    "inspection/finding.py": 1,  # JSON of anybody
    "inspection/run_damage.py": 1,  # JSON of damaged runs
    "json_records.py": 1,  # records as documents
    "mpp/model/weights.py": 1,  # sections inferred from tensors
    "mpp/predicting/files.py": 1,  # zarr's own attributes
    "recipes/documents.py": 3,  # YAML of anybody
    "requests.py": 1,  # what a door returns for --json
    "search/rows_elsewhere.py": 1,  # a row of a file of any kind
    "status/embeddings.py": 1,  # the manifest of embeddings
    "status/runs.py": 2,  # lines of metrics.jsonl, a saved recipe
    "store/builder.py": 2,  # notes of finished pieces, which a family reads
    "store/embeddings/kind.py": 1,  # the manifest of embeddings
    "store/embeddings/plan.py": 2,  # settings of any family
    "store/embeddings/zarr_form.py": 1,  # zarr's own attributes
    "store/manifest.py": 2,  # what a family adds, which it validates
    "workflow/embedding/planning.py": 2,  # the manifest of embeddings
    "xval/data/description.py": 4,  # the manifest's part of a source, which is mostly for people
    "xval/model/weights.py": 1,  # sections inferred from tensors
}
#: Rooms that hand on records alone: neither JsonDocument nor a mapping to Any. The list only grows.
TYPED_ROOMS = (
    *("astroclip/scoring", "astroclip/training", "mpp/scoring", "mpp/scoring/bands", "mpp/scoring/comparison"),
    *("mpp/training", "xval/scoring", "xval/training", "checkpoints", "nn"),
)


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def test_no_folder_has_more_modules_than_one_can_look_over():
    counts = defaultdict(int)
    for path in MODULES:
        counts[path.parent] += path.name != "__init__.py"
    assert {str(folder): count for folder, count in counts.items() if count > MOST_MODULES} == {}


def test_no_file_is_longer_than_one_can_read_at_once():
    lengths = {str(path.relative_to(PACKAGE)): len(path.read_text().splitlines()) for path in MODULES}
    found = {path for path, lines in lengths.items() if lines > MOST_LINES}
    assert found - STILL_LONG == set()
    assert STILL_LONG - found == set(), "these are short now: take them off the list"


def test_every_file_says_what_it_is_in_its_first_line():
    silent = [str(path) for path, tree in TREES.items() if not (ast.get_docstring(tree) or "").splitlines()[:1]]
    assert silent == []


def shape(node: object) -> object:
    """A syntax tree without what its author was free to choose: names and constants."""
    if isinstance(node, list):
        return tuple(map(shape, node))
    if not isinstance(node, ast.AST):
        return None
    if isinstance(node, ast.Constant | ast.JoinedStr):
        return "constant"
    return type(node).__name__, *(shape(value) for _, value in ast.iter_fields(node))


def bodies(path: Path) -> Iterator[tuple[object, str]]:
    """The shape and the name of every function of a file that is long enough to matter."""
    for node in ast.walk(TREES[path]):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        body = node.body[1:] if ast.get_docstring(node) is not None else node.body
        statements = sum(isinstance(inner, ast.stmt) for outer in body for inner in ast.walk(outer))
        if statements >= TWICE_WRITTEN:
            yield shape(body), f"{path.relative_to(PACKAGE)}:{node.name}"


def twice_written() -> set[str]:
    """`family/file:function = family/file:function` of every body that stands in two families."""
    found: dict[object, list[str]] = defaultdict(list)
    for family in SHIPPED:
        for path in MODULES:
            if path.is_relative_to(PACKAGE / family):
                for shape, name in bodies(path):
                    found[shape].append(name)
    groups = [names for names in found.values() if len({name.partition("/")[0] for name in names}) > 1]
    return {" = ".join(sorted(names)) for names in groups}


def test_no_function_body_stands_in_two_families():
    found = twice_written()
    assert found - STILL_TWICE == set()
    assert STILL_TWICE - found == set(), "these are written once now: take them off the list"


def imports(tree: ast.Module) -> Iterator[str]:
    """What a module imports when it is imported itself: not what functions do, nor what types alone need."""
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            waiting.extend(ast.iter_child_nodes(node))


def test_no_module_imports_itself_by_way_of_others():
    names = {module_name(path) for path in MODULES}
    graph: Mapping[str, set[str]] = {module_name(path): set() for path in MODULES}
    for path, tree in TREES.items():
        for name in imports(tree):
            imported = name if name in names else name.rpartition(".")[0]
            if imported in names and imported != module_name(path):
                graph[module_name(path)].add(imported)
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_deepspeed_is_named_in_its_own_room_and_where_its_version_is_looked_up():
    outside = set()
    for path, tree in TREES.items():
        if path.is_relative_to(PACKAGE / "engine" / "deepspeed"):
            continue
        for node in ast.walk(tree):
            names = [
                getattr(node, "id", None),
                getattr(node, "value", None) if isinstance(node, ast.Constant) else None,
            ]
            if isinstance(node, ast.Import):
                names += [alias.name for alias in node.names]
            if isinstance(node, ast.ImportFrom):
                names.append(node.module)
            if any(isinstance(name, str) and name.partition(".")[0] == "deepspeed" for name in names):
                outside.add(str(path.relative_to(PACKAGE)))
    assert outside <= {"doctor.py"}


def test_dictionaries_of_anything_stand_at_edges_alone():
    counts = {
        str(path.relative_to(PACKAGE)): path.read_text(encoding="utf-8").count("dict[str, Any]") for path in MODULES
    }
    more = {path: count for path, count in counts.items() if count > RAW.get(path, 0)}
    assert more == {}, "write a frozen dataclass or a pydantic model; JSON is JsonObject, what is handed on is object"
    fewer = {path: counts.get(path, 0) for path, count in RAW.items() if counts.get(path, 0) < count}
    assert fewer == {}, "there are fewer now: lower the numbers in RAW"


@pytest.mark.parametrize("room", TYPED_ROOMS)
def test_typed_rooms_hand_on_records_alone(room):
    loose = ("JsonDocument", "Mapping[str, Any]", "dict[str, Any]")
    found = {
        f"{path.name}: {name}"
        for path in sorted((PACKAGE / room).glob("*.py"))
        for name in loose
        if name in path.read_text(encoding="utf-8")
    }
    assert found - {f"{Path(path).name}: dict[str, Any]" for path in RAW if str(Path(path).parent) == room} == set()
