"""Records and numbers a second and core in `prepare xval`, against a plain loop over records, timed in turns.

The plain loop has the shape of the original project's: for each record one regular expression over the text, one call
of a Hugging Face tokenizer whose vocabulary is brackets and keys, one array of the numbers. It keeps float32 numbers
and drops what it does not know; ours keeps float64, every character and every key path.

    python benchmarks/xval_prepare.py [--records 2000] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tokenizers import AddedToken, Tokenizer
from tokenizers.models import BPE

from polycli.xval.data.staging import BlockWriter, StageTask, stage
from polycli.xval.recipe.sources import PlanetsSection
from polycli.xval.recipe.training import PrepareRecipe
from polycli.xval.sources.json import JsonSource
from polycli.xval.sources.planetary import records as planetary_records
from polycli.xval.sources.python_lines import PythonLinesSource

RECIPE = PrepareRecipe(family="xval", verb="prepare")
NUMBER = re.compile(r"(?<!\')-?\d+(\.\d+)?([eE][-+]?\d+)?(?!\'|\d)")
BRACKETS = ["{", "}", "[", "]", ",", "[[", "]]", "[[[", "]]]", "],[", "]],[[", "]]],[[["]


def plain_tokenizer(keys: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(BPE())
    tokenizer.add_special_tokens(["[END]", "[MASK]", "[PAD]", "[NUM]"])
    tokenizer.add_tokens([AddedToken(text) for text in (*BRACKETS, *(f"'{key}':" for key in keys))])
    return tokenizer


def plain_loop(lines: list[str], tokenizer: Tokenizer) -> int:
    """One record at a time, as text; returns how many numbers there were."""
    total = 0
    for line in lines:
        found: list[str] = []

        def keep(match: re.Match[str], found: list[str] = found) -> str:
            found.append(match.group())
            return "[NUM]"

        text = NUMBER.sub(keep, line.replace(" ", "")).replace("[NUM],[NUM]", "[NUM][NUM]")
        text = text.replace("[NUM],[NUM]", "[NUM][NUM]")
        ids = np.array(tokenizer.encode(text).ids)
        numbers = np.ones(len(ids), dtype=np.float32)
        numbers[ids == 3] = np.array(found, dtype=np.float32)
        total += len(found)
    return total


def read_only(source: JsonSource | PythonLinesSource, path: Path) -> int:
    """Parse, walk, check and make arrays; nothing is written."""
    total = 0
    for block in source.open([path], RECIPE, None).blocks:
        writer = BlockWriter(RECIPE, source=block.source)
        block.load(writer)
        _, note = writer.staged()
        total += note["numbers"]
    return total


def staged(source: JsonSource, path: Path) -> int:
    """The same, and each block on the disk, durably."""
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        for block in source.open([path], RECIPE, None).blocks:
            stage(StageTask(Path(folder) / "s.zarr", "0" * 64, block, RECIPE))
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--records", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    random = np.random.default_rng(0)
    # Records as planets are: what the numbers are does not matter here, how they are written does.
    made = planetary_records(PlanetsSection(steps=(30, 30)), range(32))
    values = [record for record in made if record is not None]
    models = tuple(values)
    while len(values) < arguments.records:
        base = models[len(values) % len(models)]
        steps = int(random.integers(30, 60))
        data = random.normal(size=(steps, len(base["description"]) - 1, 2)).tolist()
        values.append({"description": base["description"], "data": data})
    with tempfile.TemporaryDirectory() as folder:
        as_json, as_python = Path(folder) / "planets.jsonl", Path(folder) / "planets.txt"
        as_json.write_text("".join(f"{json.dumps(value, separators=(',', ':'))}\n" for value in values))
        as_python.write_text("".join(f"{str(value).replace(' ', '')}\n" for value in values))
        lines = as_python.read_text().splitlines()
        keys = ["description", "stepsize", "data", "m", "a", "e", *(f"planet{place}" for place in range(5))]
        tokenizer = plain_tokenizer(keys)
        numbers = plain_loop(lines, tokenizer)
        assert numbers == read_only(JsonSource(), as_json) == read_only(PythonLinesSource(), as_python)
        tasks: dict[str, Callable[[], int]] = {
            "plain loop": lambda: plain_loop(lines, tokenizer),
            "json": lambda: read_only(JsonSource(), as_json),
            "python-lines": lambda: read_only(PythonLinesSource(), as_python),
            "json, staged on disk": lambda: staged(JsonSource(), as_json),
        }
        times: dict[str, list[float]] = {name: [] for name in tasks}
        for _ in range(arguments.rounds):
            for name, task in tasks.items():
                started = time.process_time()
                task()
                times[name].append(time.process_time() - started)
    print(f"{len(values)} records, {numbers} numbers; processor time, median of {arguments.rounds} rounds in turns")
    base = times["plain loop"]
    for name, seconds in times.items():
        middle = statistics.median(seconds)
        ratio = statistics.median(one / other for one, other in zip(base, seconds, strict=True))
        print(
            f"{name:<22}{numbers / middle / 1e6:6.2f} M numbers/s {len(values) / middle:8.0f} records/s"
            f"{ratio:7.2f} times the plain loop"
        )


if __name__ == "__main__":
    main()
