"""What all benchmarks share: `--record NAME` writes docs/results/NAME.json, and the pages that quote it follow.

python benchmarks/_record.py        write the marked tables of all pages again, from their files
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from polycli.report.measurements import Measurement, fill_page
from polycli.report.table import Table, as_text

DOCS = Path(__file__).resolve().parents[1] / "docs"


def add_option(parser: argparse.ArgumentParser) -> None:
    """`--record NAME`, for a benchmark whose figures documentation quotes."""
    parser.add_argument("--record", metavar="NAME", help="write docs/results/NAME.json, and the pages that quote it")


def options_with_folder(description: str | None, what: str) -> argparse.Namespace:
    """The command line of a benchmark that leaves files, with `--folder` and `--record`; `what` is what it leaves."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help=f"where {what}, and stay")
    add_option(parser)
    return parser.parse_args()


@contextmanager
def folder_of(options: argparse.Namespace) -> Iterator[Path]:
    """The folder of `--folder`, or one that is gone afterwards; neither need be there."""
    with tempfile.TemporaryDirectory() as temporary:
        yield (options.folder or Path(temporary) / "made").absolute()


def finish(options: argparse.Namespace, figures: Mapping[str, Any], *tables: Table) -> None:
    """Print the tables and, with `--record`, keep them."""
    print("\n\n".join(map(as_text, tables)))
    if options.record is not None:
        command = shlex.join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
        path = DOCS / "results" / f"{options.record}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(Measurement.of(command, figures, tables).text(), encoding="utf-8")
        print(f"\nwrote {path}")
        fill_pages()


def fill_pages() -> None:
    """Write every marked table as its file has it."""
    for page in sorted(DOCS.rglob("*.md")):
        text = fill_page(page)
        if text != page.read_text(encoding="utf-8"):
            page.write_text(text, encoding="utf-8")
            print(f"wrote {page}")


if __name__ == "__main__":
    fill_pages()
