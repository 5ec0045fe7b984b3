"""One of the ranks of `test_embed`: all embed their units, and one of them meets a damaged chunk."""

import sys
from pathlib import Path

from toy_rows import HEADER, toy

from polycli.console import rank
from polycli.errors import PolycliError, StoreError
from polycli.launch import end_process, leave_process_group
from polycli.requests import EmbedRequest
from polycli.sections import UnitSettings
from polycli.workflow.embed import begin, embed
from polycli.workflow.embedding.rows import Opened


def look(rows):
    if rank() == 1 and rows[0] > 4:
        raise StoreError("chunk 3 is damaged")


def main(output: Path) -> int:
    target = begin(EmbedRequest(checkpoint=Path("c"), data=(), output=output), UnitSettings(unit_rows=1))
    embed(target, Opened(HEADER, [toy("toy", 40, 1, look=look)]), noun=("row", "rows"))
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
    end_process(code)
