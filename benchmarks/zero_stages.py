"""How far training under DeepSpeed on two processes is from a plain torch loop, by ZeRO stage, offload and precision.

    python benchmarks/zero_stages.py [--record zero_stages]

The trainings are those of tests/engine/parity_ranks.py, which `make test` repeats; they take some seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from _record import add_option, finish

from polycli.launch import start_ranks
from polycli.report.table import Table

RANKS = Path(__file__).resolve().parents[1] / "tests" / "engine" / "parity_ranks.py"


def rows(results: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """One for each stage, offload and precision: the larger difference of one and of four micro-batches a step."""
    found: dict[tuple[int, bool, str], list[Mapping[str, Any]]] = {}
    for result in results:
        # Shorter trainings, of other optimizers and so on, say nothing of precision and offload.
        if "offload" in result:
            found.setdefault((result["stage"], result["offload"], result["precision"]), []).append(result)
    return [
        [
            str(stage),
            "yes" if offload else "no",
            precision,
            *(f"{max(result[key] for result in group):.1e}" for key in ("weights", "norm")),
        ]
        for (stage, offload, precision), group in sorted(found.items(), key=lambda item: (item[0][0], item[0][1]))
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_option(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        if start_ranks(1, [sys.executable, str(RANKS), str(output)]):
            sys.exit("the trainings failed")
        results = json.loads(output.read_text())
    table = Table(
        "Training on two processes against a plain torch loop",
        ["stage", "offload", "precision", "largest difference of a weight", "of the gradient norm"],
        rows(results),
        caption="20 steps of AdamW with clipping, the larger difference of one and of four micro-batches a step. "
        "Of a weight relative to the largest of its tensor.",
        labels=3,
    )
    finish(options, {"results": results}, table)


if __name__ == "__main__":
    main()
