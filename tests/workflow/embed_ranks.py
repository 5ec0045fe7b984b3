"""One of the ranks of `test_embed`: all embed their units, and one of them meets a damaged chunk."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa

from polycli.console import rank
from polycli.errors import PolycliError, StoreError
from polycli.launch import leave_process_group
from polycli.requests import EmbedRequest
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import with_vectors
from polycli.workflow.embed import Rows, begin, embed


def tables(batches, first_row, advance):
    rows = np.concatenate(batches)
    if rank() == 1 and first_row > 4:
        raise StoreError("chunk 3 is damaged")
    return {"": with_vectors(pa.table({"row": rows}), {"toy_embedding": rows[:, None].astype(np.float32)})}


def main(output: Path) -> int:
    target = begin(EmbedRequest(checkpoint=Path("c"), data=(), output=output), overwrite=False)
    rows = Rows("toy", [np.array([row]) for row in range(40)], tables, count=40)
    embed(target, EmbeddingsHeader("toy", {}, {}), [rows], noun=("row", "rows"))
    return 0


if __name__ == "__main__":
    try:
        code = main(Path(sys.argv[1]))
    except PolycliError as error:
        sys.stderr.write(f"rank {rank()} says: {error}\n")
        code = error.exit_code
    except SystemExit as error:
        code = int(error.code or 0)
    leave_process_group()
    sys.exit(code)
