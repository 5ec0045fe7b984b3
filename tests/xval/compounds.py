"""A chemist's table by formula: made-up compounds and their solubility in five solvents, with gaps.

Molar mass, logP and melting point are drawn and depend on each other; log S is Yalkowsky's general solubility equation,
0.5 - 0.01 (melting point - 25) - logP, for water, moved towards organic solvents by logP, plus noise of 0.35 decades.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

HEADER = (
    "compound",
    "molar mass (g/mol)",
    "logP",
    "melting point (K)",
    "solvent",
    "temperature (K)",
    "solubility (mg/L)",
)
SOLVENTS = ("water", "ethanol", "acetone", "toluene", "hexane")
#: By solvent, how many decades each unit of logP adds to the solubility in water, and a constant.
LIFTS = {
    "water": (0.0, 0.0),
    "ethanol": (0.62, 0.3),
    "acetone": (0.7, 0.5),
    "toluene": (0.85, -0.4),
    "hexane": (0.8, -1.4),
}
#: The columns that have gaps: all but the name and the temperature, which was always written down.
MEASURED = (1, 2, 3, 4, 6)


def compounds(count: int, seed: int) -> list[list[str]]:
    """The cells of so many rows, none of them empty."""
    draw = np.random.default_rng(seed)
    carbons, rings, groups = draw.integers(4, 22, count), draw.integers(0, 4, count), draw.poisson(1.6, count)
    mass = 14.027 * carbons + 12.5 * rings + 16.2 * groups + draw.normal(6, 4, count) + 2
    partition = 0.42 * carbons - 0.25 * rings - 1.05 * groups - 0.4 + draw.normal(0, 0.35, count)
    melting = 255 + 3.1 * carbons + 38 * rings + 21 * groups + draw.normal(0, 14, count)
    warmth = draw.choice([288.15, 298.15, 308.15, 323.15], count, p=[0.1, 0.6, 0.2, 0.1])
    solvents = draw.choice(SOLVENTS, count, p=[0.4, 0.2, 0.15, 0.15, 0.1])
    slope, lift = (np.array([LIFTS[solvent][part] for solvent in solvents]) for part in (0, 1))
    moles = 0.5 - 0.01 * np.maximum(melting - warmth, 0) - (1 - slope) * partition + lift
    moles = moles + 0.012 * (warmth - 298.15) + draw.normal(0, 0.35, count)
    solubility = mass * 1000 * 10 ** np.minimum(moles, 0.5)
    return [
        [f"C{number + 1:04d}", f"{m:.2f}", f"{p:.2f}", f"{t:.1f}", str(solvent), f"{w:.2f}", f"{s:.3g}"]
        for number, (m, p, t, solvent, w, s) in enumerate(
            zip(mass, partition, melting, solvents, warmth, solubility, strict=True)
        )
    ]


def with_gaps(table: list[list[str]], seed: int, share: float) -> list[list[str]]:
    """The table where this share of the cells of each measured column is empty."""
    draw = np.random.default_rng(seed)
    found = [list(row) for row in table]
    for row in found:
        for place in MEASURED:
            if draw.random() < share:
                row[place] = ""
    return found


def write(path: Path, table: list[list[str]], columns: Sequence[int] = range(len(HEADER))) -> None:
    """Write a CSV of some columns, in the order that is given."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([row[place] for place in columns] for row in [list(HEADER), *table])
