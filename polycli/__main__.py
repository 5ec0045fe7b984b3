"""`polycli` and `python -m polycli`: runs a command line and turns whatever happens into an exit code and one line."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import traceback
from collections.abc import Sequence

from polycli import console, stopping
from polycli.commands.interrupted import after_interrupt
from polycli.errors import PolycliError, PreemptedError, UserError
from polycli.launch import end_process, leave_process_group


def main() -> None:
    """Entry point of the `polycli` command."""
    # Torch's threads spin while they wait for each other. Beside other programs on the same processors that made a
    # forward pass several times slower (docs/benchmarks.md). Read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    code = run(sys.argv[1:])
    if code == stopping.PREEMPTED:
        stopping.ignore()
    end_process(code)


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code. Expected problems become a sentence, others a traceback file."""
    # The only way to a JSON error from a command line that may not even parse.
    as_json = "--json" in arguments
    try:
        from polycli.cli import app
        from polycli.commands.options import Invocation

        app(args=list(arguments), prog_name="polycli", obj=Invocation(tuple(arguments)))
    except SystemExit as ending:
        # Typer turns Ctrl-C into an exit without a word.
        if _was_interrupted(ending):
            console.say(after_interrupt(arguments))
        leave_process_group()
        return ending.code if isinstance(ending.code, int) else int(ending.code is not None)
    except PolycliError as error:
        _report(error, as_json=as_json)
        if isinstance(error, UserError) or error.on_all_ranks:
            leave_process_group()
        return error.exit_code
    except KeyboardInterrupt:
        console.say(after_interrupt(arguments))
        return stopping.INTERRUPTED
    except MemoryError as error:
        if os.environ.get("POLYCLI_DEBUG"):
            traceback.print_exception(error, file=sys.stderr)
        _report(_out_of_memory(error), as_json=as_json)
        return 1
    except Exception as error:  # noqa: BLE001  # The last line of defence: it reports, and ends with 1.
        _report_unexpected(error, as_json=as_json)
        return 1
    return 0


def _was_interrupted(ending: BaseException | None) -> bool:
    while ending is not None and not isinstance(ending, KeyboardInterrupt):
        ending = ending.__cause__ or ending.__context__
    return ending is not None


def _out_of_memory(error: MemoryError) -> PolycliError:
    said = f": {error}" if str(error) else ""
    return PolycliError(f"there is not enough memory{said}", hint="ask for less at once, or for a larger machine")


def _report(error: PolycliError, *, as_json: bool) -> None:
    if not _speaks(error):
        return
    if isinstance(error, PreemptedError) and not as_json:
        # It did as it was asked and lost nothing, which is no error.
        console.say(error.message if error.hint is None else f"{error.message}: {error.hint}")
        return
    if as_json:
        _report_json(type(error).__name__, error.message, error.hint, error.exit_code)
        return
    console.error(error.message if error.hint is None else f"{error.message}\n  hint: {error.hint}")


def _speaks(error: PolycliError) -> bool:
    """Whether this rank says it, so that nobody reads the same sentence once per rank."""
    if "POLYCLI_LOCAL_RANKS" in os.environ:
        return True  # The parent, which --nproc made, shows the rank that failed, and only that.
    if error.on_all_ranks:
        return console.rank() == 0
    # Wrong input is the same for all ranks of a machine, so the first of each is enough.
    first_here = os.environ.get("LOCAL_RANK", os.environ.get("SLURM_LOCALID", "0")) == "0"
    return first_here or not isinstance(error, UserError)


def _report_unexpected(error: Exception, *, as_json: bool) -> None:
    """One line, and the traceback where it can be found: on the screen with POLYCLI_DEBUG=1, else in a file."""
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    first_line = what.splitlines()[0]
    if os.environ.get("POLYCLI_DEBUG"):
        traceback.print_exception(error, file=sys.stderr)
        where = None
    else:
        where = _write_traceback(error)
    if as_json:
        _report_json(type(error).__name__, str(error), where, 1)
    else:
        console.error(f"{first_line}\n  {where}" if where else first_line)


def _write_traceback(error: Exception) -> str:
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="polycli-", suffix=".traceback.txt", delete=False, encoding="utf-8"
        ) as file:
            file.write(f"polycli {' '.join(sys.argv[1:])}\n")
            traceback.print_exception(error, file=file)
    except OSError:
        # A full disk may be what went wrong in the first place.
        return "POLYCLI_DEBUG=1 shows the traceback"
    return f"the traceback is in {file.name}; POLYCLI_DEBUG=1 shows it here"


def _report_json(kind: str, message: str, hint: str | None, exit_code: int) -> None:
    """One line of JSON on stderr: stdout stays empty when there is no result."""
    document = {"error": {"kind": kind, "message": message, "hint": hint, "exit_code": exit_code}}
    print(json.dumps(document), file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
