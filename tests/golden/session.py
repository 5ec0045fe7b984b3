"""Runs polycli's commands with the code of one checkout, and keeps documents of what they print and write."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from canonical import Json, documents_of, parsed

Values = dict[str, str | int | float]


@dataclass
class Session:
    """The commands of one checkout that run in one folder."""

    tree: Path
    work: Path
    #: Real input; what needs it is left out where there is none.
    shared: Path | None
    documents: dict[str, Json] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def polycli(self, name: str, words: str, output: str, settings: Values | None = None) -> None:
        """Run `polycli WORDS --output OUTPUT --json --set ...`; keep what it printed and wrote under `name`.

        Of a command that fails the exit code alone is kept, and those that need its output fail too.
        """
        arguments = [*words.split(), "--output", output, "--json"]
        for key, value in (settings or {}).items():
            arguments += ["--set", f"{key}={value}"]
        started = time.monotonic()
        ended = subprocess.run(
            [sys.executable, "-m", "polycli", *arguments],
            cwd=self.work,
            env=environment(self.tree),
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        print(f"{time.monotonic() - started:5.1f} s  {name}", file=sys.stderr)
        if ended.returncode:
            self.documents[f"{name}/exit"] = ended.returncode
            self.failures.append(f"{name}: exit {ended.returncode}: {ended.stderr.strip()[-600:]}")
            return
        hide = {str(self.work): "WORK", str(self.tree): "TREE"}
        self.documents[f"{name}/stdout"] = parsed(ended.stdout, hide)
        if "--dry-run" not in arguments:
            self.documents.update(documents_of(self.work / output, name, hide))


def environment(tree: Path) -> dict[str, str]:
    """Variables for one thread on a CPU and the code of `tree`; none of a launcher or of Slurm are handed on."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    return {**kept, **threads, "PYTHONPATH": str(tree), "CUDA_VISIBLE_DEVICES": "", "PYTHONDONTWRITEBYTECODE": "1"}


def runs_code_of(tree: Path) -> bool:
    """Whether `python -m polycli` runs the code in `tree`, not another one that is installed."""
    line = [sys.executable, "-c", "import polycli; print(polycli.__file__)"]
    ended = subprocess.run(line, env=environment(tree), cwd="/", capture_output=True, text=True, check=False)
    return ended.returncode == 0 and Path(ended.stdout.strip()).is_relative_to(tree)
