"""Arrays are streamed to their shards: memory is that of a few shards, however many there are."""

import json
import subprocess
import sys

import pytest

#: Prints by how much the largest memory of a process grew, in shards of 16 MiB, while it wrote so many of them.
_MEASURED = """
import json, resource, sys, tempfile
from pathlib import Path
import numpy as np
from polycli.store.column_writer import write_column
from polycli.store.layout import ArrayLayout
shards, row = int(sys.argv[1]), 8192
layout = ArrayLayout("spectrum", ("object", "wavelength"), "float32", (1, row), (512, row))
part = np.random.default_rng(0).normal(size=(128, row)).astype(np.float32)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with tempfile.TemporaryDirectory() as folder:
    write_column(Path(folder), layout, (512 * shards, row), (part for _ in range(4 * shards)))
print(json.dumps((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024 / 16))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="ru_maxrss is in other units, and glibc is Linux's")
def test_a_column_of_many_shards_takes_the_memory_of_a_few():
    """Freed pieces of chunks were kept: 11 shards' memory for 16 of them, and 2.5 times a file of 200 MB."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, "16"], capture_output=True, text=True, check=True, timeout=120
    )
    assert json.loads(done.stdout) < 9.3
