"""Numbers per second that eval answers for, against one forward pass for each number: `python benchmarks/xval_eval.py`.

The plain way takes a record, masks one number, runs the model on that one row, and reads the answer, as the original's
evaluation does. Beside it eval's two ways: `single` hides the same one number at a time but fills batches with many
rows, and gives the same answers; `share` hides in turns as many numbers as training does. Ways are timed in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence

import numpy as np
import torch

from polycli.xval.data.collate import Tokenization
from polycli.xval.data.pool import Language
from polycli.xval.model.numformer import Numformer
from polycli.xval.numbers import make_encoding
from polycli.xval.numbers.scaling import Scaling
from polycli.xval.recipe.model import ModelSection
from polycli.xval.recipe.sources import PlanetsSection
from polycli.xval.records.encode import RecordEncoder
from polycli.xval.records.records import Records
from polycli.xval.records.structure import MASK, NUM
from polycli.xval.records.vocabulary import Vocabulary
from polycli.xval.scoring.fill import Filler
from polycli.xval.scoring.turns import turns_of
from polycli.xval.sources import planetary
from polycli.xval.training.masking import record_seeds


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    records, language = planets(options.records, options.small)
    sizes = {"embed_dim": options.width, "num_heads": 6, "blocks": options.blocks, "feed_forward": 4 * options.width}
    section = ModelSection(**sizes, context=1024, dropout=0.0)
    tokenization = Tokenization(language, make_encoding("xval"), Scaling({}), 1024)
    torch.manual_seed(0)
    model = Numformer(section, tokenization.tokens).eval()
    filler = Filler(model, tokenization, options.batch_tokens)
    seeds = record_seeds(0, "planets", np.arange(len(records)), 0, purpose="eval")
    share = turns_of(records, seeds, groups=(), share=0.3)
    single = turns_of(records, seeds, groups=(), share=None)
    # A sample of the numbers is enough to time one pass for each: every one costs the same.
    sample = np.sort(np.random.default_rng(0).choice(len(single), options.sample, replace=False))
    some = np.full(len(single), -1, dtype=np.int64)
    some[sample] = single[sample]
    print(
        f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}, {options.threads} threads; {len(records)} "
        f"records, {len(single):,} numbers, {records.token_lengths.mean():.0f} tokens on average; width "
        f"{options.width}, {options.blocks} blocks"
    )
    check(filler, records, some, sample)
    ways: dict[str, tuple[int, Callable[[], object]]] = {
        "one forward per number": (len(sample), lambda: plain(filler, records, sample)),
        "eval, masking=single": (len(sample), lambda: filler.once(records, some)),
        "eval, masking=share": (len(single), lambda: filler.once(records, share)),
    }
    speeds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(options.repeats):
        for name, (count, run) in ways.items():
            started = time.perf_counter()
            run()
            speeds[name].append(count / (time.perf_counter() - started))
    reference = statistics.median(speeds["one forward per number"])
    for name, values in speeds.items():
        median = statistics.median(values)
        print(f"{name:24} {median:10,.1f} numbers/s (best {max(values):,.1f})   {median / reference:8.1f}x")


def planets(count: int, small: bool) -> tuple[Records, Language]:  # noqa: FBT001
    """Planetary systems in the neutral form."""
    few = {"planets": (2, 3), "steps": (6, 10), "duration": (3, 5)} if small else {}
    section = PlanetsSection(substeps=1, **few)
    encoder = RecordEncoder()
    for number, value in enumerate(planetary.records(section, range(count))):
        if value is not None:
            encoder.add(value, id=str(number))
    records = encoder.records()
    return records, Language(Vocabulary(encoder.keys), records.key_paths)


def plain(filler: Filler, records: Records, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
    """One row, one number, one forward pass."""
    answers = []
    for number in numbers:
        row = int(np.searchsorted(records.number_offsets, number, side="right")) - 1
        ids = records.tokens_of(row).astype(np.int64)
        slots = np.flatnonzero(ids == NUM)
        values = np.ones(len(ids), dtype=np.float32)
        values[slots] = records.numbers[records.numbers_of(row)]
        slot = slots[number - records.number_offsets[row]]
        ids[slot], values[slot] = MASK, 1
        with torch.no_grad():
            found = filler.model.outputs(torch.from_numpy(ids)[None], torch.from_numpy(values)[None])
        assert found.numbers is not None
        answers.append(float(found.numbers[0, slot]))
    return np.array(answers)


def check(filler: Filler, records: Records, some: np.ndarray, sample: np.ndarray) -> None:
    """Both ways of one number at a time must answer alike."""
    few = sample[:8]
    np.testing.assert_allclose(filler.once(records, some).values[few], plain(filler, records, few), atol=1e-4)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--records", type=int, default=16)
    parser.add_argument("--small", action="store_true", help="the demo's systems instead of the paper's")
    parser.add_argument("--sample", type=int, default=60, help="numbers that the plain way and `single` answer for")
    parser.add_argument("--width", type=int, default=96)
    parser.add_argument("--blocks", type=int, default=3)
    parser.add_argument("--batch-tokens", type=int, default=16_384)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
