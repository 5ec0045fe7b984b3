"""Short runs of every family, hashed, so that two states of the code can be compared bit for bit.

    make_goldens.py OUT.json --tree CHECKOUT [--shared FOLDER] [--jobs N]     run the code in CHECKOUT
    make_goldens.py --compare A.json B.json                                   say what differs; exit 1 if anything does

OUT.json maps a name to a hash; OUT.d/NAME.json holds the document that was hashed. Only the command line is used, so
the same script runs every commit. Processors round differently: goldens are compared where they were made, and never
committed.
"""

import argparse
import difflib
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from canonical import Json, as_text, hash_of
from scenarios import FAMILIES
from session import Session, runs_code_of

#: Lines of a difference that are printed; the documents have all.
SHOWN_LINES = 12
SHOWN_WIDTH = 150


def make(output: Path, tree: Path, shared: Path | None, jobs: int) -> int:
    """Run everything and write `output`; returns the exit code, 1 where a command failed."""
    if not runs_code_of(tree):
        print(f"{tree}: not a checkout of polycli that Python would run", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="goldens-") as folder, ThreadPoolExecutor(jobs) as pool:
        sessions = [Session(tree, Path(folder).resolve() / family.__name__, shared) for family in FAMILIES]
        for session in sessions:
            session.work.mkdir()
        list(pool.map(lambda family, session: family(session), FAMILIES, sessions))
    documents = {name: document for session in sessions for name, document in session.documents.items()}
    failures = [failure for session in sessions for failure in session.failures]
    write_goldens(output, documents)
    print(f"{output}: {len(documents)} goldens, {len(failures)} failed commands", *failures, sep="\n", file=sys.stderr)
    return int(bool(failures))


def write_goldens(output: Path, documents: dict[str, Json]) -> None:
    """Write the hashes to `output`, and the documents beside it in place of those of an earlier run."""
    folder = output.with_suffix(".d")
    shutil.rmtree(folder, ignore_errors=True)
    for name, document in documents.items():
        path = folder / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(as_text(document), encoding="utf-8")
    hashes = {name: hash_of(document) for name, document in sorted(documents.items())}
    output.write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")


def compare(first: Path, second: Path) -> int:
    """Print the names that differ, with the first lines that do; 1 if any does, 2 where a file is absent."""
    missing = [str(path) for path in (first, second) if not path.is_file()]
    if missing:
        print(
            f"{', '.join(missing)}: no such file; make one: make_goldens.py OUT.json --tree CHECKOUT", file=sys.stderr
        )
        return 2
    before, after = (json.loads(path.read_text(encoding="utf-8")) for path in (first, second))
    names = sorted({*before, *after})
    differing = [name for name in names if before.get(name) != after.get(name)]
    for name in differing:
        if name in before and name in after:
            print(f"{name}: differs", *(f"    {line[:SHOWN_WIDTH]}" for line in changes(first, second, name)), sep="\n")
        else:
            print(f"{name}: only in {first if name in before else second}")
    print(f"{len(differing)} of {len(names)} goldens differ")
    return int(bool(differing))


def changes(first: Path, second: Path, name: str) -> list[str]:
    """The first lines that differ between two documents of one name, where both were kept."""
    paths = [path.with_suffix(".d") / f"{name}.json" for path in (first, second)]
    if not all(path.is_file() for path in paths):
        return []
    before, after = (path.read_text(encoding="utf-8").splitlines() for path in paths)
    lines = [line for line in difflib.unified_diff(before, after, n=0, lineterm="") if line[0] in "+-"]
    return lines[2 : 2 + SHOWN_LINES]


def main(words: Sequence[str]) -> int:
    """Read the command line and do what it says."""
    parser = argparse.ArgumentParser(description="Short runs of every family, hashed, to compare states of the code.")
    here = Path(__file__).parents[2]
    parser.add_argument("output", type=Path, nargs="?", metavar="OUT.json", help="where the hashes go")
    parser.add_argument("--tree", type=Path, default=here, help="the checkout to run; this one if absent")
    parser.add_argument("--shared", type=Path, help="a folder with real input: pdebench/ and desi/")
    parser.add_argument("--jobs", type=int, default=1, help="how many families run at a time")
    parser.add_argument("--compare", type=Path, nargs=2, metavar=("A.json", "B.json"), help="compare instead of run")
    options = parser.parse_args(words)
    if options.compare:
        return compare(*options.compare)
    if options.output is None:
        parser.error("OUT.json is missing")
    shared = None if options.shared is None else options.shared.resolve()
    return make(options.output, options.tree.resolve(), shared, options.jobs)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
