"""Runs the blocks of a page in one folder, in their order, and compares what they print with what the page shows.

A line of a `console` block that begins with `$ ` is typed, as it stands; what follows is its whole output, both streams
together, where `...` stands for anything and white space counts once. With nothing below it, output is not looked at.
A command must end with 0, and with something else where the page shows an `error:`.

`polycli` runs in this process, which has torch already; lines with a pipe and other programs run in bash.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polycli.__main__ import run as polycli
from tests.docs.blocks import ROOT, Block

FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SHELL = re.compile(r"[|&;<>*$`~]|(?<!\S)[A-Z_]+=")
#: With POLYCLI_DOCS_SHORT=1 trainings take two steps, and what is printed is not compared: to try a page quickly.
SHORT = ("--set", "train.steps=2", "--set", "train.validate_every=2", "--set", "train.checkpoint_every=2")


@dataclass(frozen=True)
class Command:
    """One line that is typed, and what the page shows below it."""

    line: str
    shown: str


def commands_of(source: str) -> Iterator[Command]:
    """The commands of a console block."""
    line, shown, goes_on = "", [], False
    for text in source.splitlines():
        if goes_on:
            line += f"\n{text}"
        elif text.startswith("$ "):
            if line:
                yield Command(line, "\n".join(shown).strip("\n"))
            line, shown = text[2:], []
        else:
            shown.append(text)
            continue
        goes_on = text.endswith("\\")
    if line:
        yield Command(line, "\n".join(shown).strip("\n"))


@dataclass
class Session:
    """A page under way: its folder, its Python names, and what the last Python block printed."""

    folder: Path
    given: Mapping[str, Callable[[Path], None]]
    short: bool = bool(os.environ.get("POLYCLI_DOCS_SHORT"))
    names: dict[str, Any] = field(default_factory=lambda: {"__name__": "__main__"})
    printed: str = ""
    #: Is told each line after it ran, with its seconds.
    tell: Callable[[str], None] = lambda line: None

    def run(self, block: Block) -> None:
        """Run one block as its mark says."""
        if block.mark == "given":
            for name in block.said.split():
                if not (self.folder / name).exists():
                    self.given[name](self.folder / name)
        elif block.mark == "file":
            path = self.folder / block.said
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.source, encoding="utf-8")
        elif block.mark == "output":
            self._compare(block.place, "the Python block above", block.source, self.printed)
        elif block.language == "python":
            self._python(block)
        else:
            for command in commands_of(block.source):
                self._command(block, command)

    def _python(self, block: Block) -> None:
        code = compile("\n" * block.line + block.source, str(block.page), "exec", dont_inherit=True)
        with contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, self.names)  # noqa: S102  # The page's own code.
        self.printed = out.getvalue()

    def _command(self, block: Block, command: Command) -> None:
        started = time.monotonic()
        code, said = typed(command.line, self.folder, short=self.short)
        self.tell(f"{block.place} {time.monotonic() - started:7.1f} s  $ {' '.join(command.line.split())[:120]}")
        fails = any(line.startswith(("error:", "Error:")) for line in command.shown.splitlines())
        assert bool(code) == fails, f"{block.place}: `{command.line}` ended with {code}:\n{said}"
        if command.shown and not self.short:
            self._compare(block.place, f"`{command.line}`", command.shown, said)

    def _compare(self, place: str, what: str, shown: str, printed: str) -> None:
        if self.short:
            return
        agrees = doctest.OutputChecker().check_output(shown.strip() + "\n", printed.strip() + "\n", FLAGS)
        assert agrees, f"{place}: {what} printed\n{printed}\nand the page shows\n{shown}"


def typed(line: str, folder: Path, *, short: bool = False) -> tuple[int, str]:
    """What a line ends with and says, both streams together; `folder` is the working directory."""
    words = shlex.split(line.replace("\\\n", " "), comments=True)
    if words[0] == "polycli" and not SHELL.search(re.sub(r"'[^']*'|\s# .*$|\\\n", "", line)):
        shorter = SHORT if short and words[1] in {"pretrain", "finetune"} and "--dry-run" not in words else ()
        return _in_this_process([*words[1:], *shorter])
    tools = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(
        ["bash", "-c", line],
        cwd=folder,
        env=tools,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return ended.returncode, ended.stdout


def _in_this_process(words: Sequence[str]) -> tuple[int, str]:
    said = io.StringIO()
    kept = dict(os.environ)
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        code = polycli(words)
    # A training joins a process group, and is rank 0 by its environment; the next command is not.
    os.environ.clear()
    os.environ.update(kept)
    return code, said.getvalue()
