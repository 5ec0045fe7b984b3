"""What is right: a result or one sentence, nothing written elsewhere, no traceback, little memory, not for ages."""

import hashlib
import os
import re
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from arena import Answer

from polycli.report.table import Table

#: Control characters other than line ends and tabs; half characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]")
MOST_MEMORY = 2 * 2**30
#: How the one sentence begins: polycli's, the same as JSON, and that of a line whose words make no command.
_SENTENCES = ("error:", '{"error":', "Error:")


@dataclass
class Tally:
    """How many attacks of each kind were tried, and which ended wrong."""

    tried: Counter[str] = field(default_factory=Counter)
    ends: dict[str, Counter[int]] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=dict)

    def note(self, kind: str, answer: Answer, problem: str | None, how: str) -> None:
        """Count one attack."""
        self.tried[kind] += 1
        self.ends.setdefault(kind, Counter())[answer.code] += 1
        if problem:
            words = " ".join(answer.arguments)[:300]
            self.wrong.setdefault(kind, []).append(f"{problem}\n    polycli {words}\n    {how}")
            print(f"\nWRONG {kind}: {problem}\n    polycli {words}\n    {how}", file=sys.stderr)

    def lines(self) -> list[str]:
        """A table for people: kind, tried, right, exit codes."""
        rows = [f"{'attack':<28} {'tried':>6} {'right':>6}  exit codes"]
        for kind, count in sorted(self.tried.items()):
            right = count - len(self.wrong.get(kind, ()))
            ends = ", ".join(f"{code}: {times}" for code, times in sorted(self.ends[kind].items()))
            rows.append(f"{kind:<28} {count:>6} {right:>6}  {ends}")
        total = sum(self.tried.values())
        rows.append(f"{'all':<28} {total:>6} {total - sum(map(len, self.wrong.values())):>6}")
        return rows

    def table(self) -> Table:
        """The same for the documentation."""
        rows = []
        for kind, count in sorted(self.tried.items()):
            ends = self.ends[kind]
            right = count - len(self.wrong.get(kind, ()))
            rows.append([kind, str(count), str(right), str(ends[0]), str(count - ends[0])])
        sums = [str(sum(int(row[place]) for row in rows)) for place in range(1, 5)]
        return Table("Attacks", ["attack", "tried", "right", "with a result", "refused"], [*rows, ["all", *sums]])


def problem_of(answer: Answer, seconds: float, *, may_lack_memory: bool = False) -> str | None:
    """What is wrong with how a command ended, whatever it was given; None where nothing is.

    Memory may be lacking where the user asks for much by a number of his own, never because of what a file says.
    """
    said = answer.stderr
    last = said.strip().splitlines()[-1:] or [""]
    if answer.code == -999:
        return f"not done after {seconds:.0f} s: {last[0][:200]}"
    if answer.code < 0:
        return f"ended by signal {-answer.code}: {last[0][:300]}"
    if answer.code not in (0, 1, 2):
        return f"exit code {answer.code}: {last[0][:300]}"
    if "Traceback" in said or "the traceback is in" in said or "LEFT RUN" in said:
        line = next((line for line in said.splitlines() if line.startswith(("error:", '{"error":'))), last[0])
        return f"traceback: {line[:400]}"
    if found := _CONTROL.search(said + answer.stdout):
        return f"a control character {found[0]!r} reached the terminal"
    errors = [line for line in said.splitlines() if line.startswith(_SENTENCES)]
    if answer.code and len(errors) != 1:
        return f"exit code {answer.code} with {len(errors)} sentences: {said[-300:]!r}"
    if "there is not enough memory" in said and not may_lack_memory:
        return f"memory was taken on the word of a file: {errors[0][:300]}"
    if answer.memory > MOST_MEMORY:
        return f"{answer.memory / 2**30:.1f} GiB were taken"
    return None


def listing(folder: Path, *, leaving_out: set[str] = frozenset()) -> dict[str, tuple[int, int, str]]:
    """Size, time and content of everything in a folder, to see whether anything was changed."""
    found = {}
    for path, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if name not in leaving_out]
        for name in names:
            file = Path(path, name)
            if name in leaving_out:
                continue
            status = file.lstat()
            plain = file.is_file() and not file.is_symlink() and status.st_size < 2**20
            digest = hashlib.sha256(file.read_bytes()).hexdigest() if plain else ""
            found[str(file.relative_to(folder))] = (status.st_size, status.st_mtime_ns, digest)
    return found
