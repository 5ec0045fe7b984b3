"""Processor milliseconds for one pair of the simulated survey: `OMP_NUM_THREADS=1 python benchmarks/mock_survey.py`.

Processor time, not the clock: other work on the machine does not count.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import numpy as np

from polycli.astroclip.recipe.preparing import MockSection
from polycli.astroclip.sources.mock.population import BLOCK, block_of_galaxies
from polycli.astroclip.sources.mock.source import MockReader

#: Milliseconds of one core that a pair may cost.
AIM = 15.0


def main() -> None:
    options = arguments()
    section = MockSection(size=options.size)
    reader = MockReader(section)
    whole, population = [], []
    for block in range(options.blocks):
        start = time.process_time()
        block_of_galaxies(section.seed, block, section.magnitude_limit)
        population.append((time.process_time() - start) / BLOCK * 1e3)
        rows = np.arange(block * BLOCK, (block + 1) * BLOCK)
        start = time.process_time()
        payload = reader.read(np.zeros(BLOCK, np.int32), rows)
        whole.append((time.process_time() - start) / BLOCK * 1e3)
    assert payload.image is not None
    print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {options.blocks} blocks of {BLOCK} pairs")
    print(f"images {payload.image.shape[1:]}, spectra of 7781 pixels")
    print(f"whole pair        median {statistics.median(whole):6.2f} ms, best {min(whole):6.2f} ms (aim {AIM:g})")
    print(f"of it, population median {statistics.median(population):6.2f} ms, best {min(population):6.2f} ms")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--size", type=int, default=152)
    return parser.parse_args()


if __name__ == "__main__":
    main()
