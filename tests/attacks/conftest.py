"""The folder that attacks begin with, the process that runs commands, and the count at the end."""

import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from arena import Answer, Worker, build
from judging import Tally, listing, problem_of

from polycli.report.measurements import Measurement

#: Where commands may write.
OUTPUT = "out"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--attacks N`: how many times as many attacks as usual."""
    parser.addoption("--attacks", type=float, default=1.0, help="how many times as many attacks as usual")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Every test here is an attack, and takes as long as its rounds do."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.attack)
            item.add_marker(pytest.mark.timeout(1800))


@pytest.fixture(scope="session")
def seed() -> int:
    """Of every choice; printed, and taken from POLYCLI_ATTACK_SEED where it is set."""
    return int(os.environ.get("POLYCLI_ATTACK_SEED") or random.SystemRandom().randrange(10**9))


@pytest.fixture(scope="session")
def worker() -> Iterator[Worker]:
    """What runs commands."""
    worker = Worker()
    yield worker
    worker.close()


@pytest.fixture(scope="session")
def arena(worker: Worker, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sound stores, runs and embeddings of every family."""
    kept = os.environ.get("POLYCLI_ATTACK_ARENA")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("arena")
    if not (folder / "whole").exists():
        build(worker, folder)
        (folder / "whole").touch()
    return folder


@pytest.fixture(scope="session")
def tally(seed: int) -> Iterator[Tally]:
    """Counts of all attacks, printed at the end."""
    tally = Tally()
    yield tally
    print(f"\nPOLYCLI_ATTACK_SEED={seed}", *tally.lines(), sep="\n")
    if record := os.environ.get("POLYCLI_ATTACK_RECORD"):
        figures = {
            "seed": seed,
            "tried": dict(tally.tried),
            "wrong": {kind: len(found) for kind, found in tally.wrong.items()},
        }
        command = f"POLYCLI_ATTACK_SEED={seed} make attack"
        Path(record).write_text(Measurement.of(command, figures, [tally.table()]).text(), encoding="utf-8")


class Attack:
    """Runs one kind of attack, many times, each in a folder of its own."""

    def __init__(self, kind: str, worker: Worker, folder: Path, seed: int, tally: Tally, share: float) -> None:
        self.kind, self.worker, self.tally, self.share = kind, worker, tally, share
        #: Whether the sizes are the user's own words.
        self.may_lack_memory = False
        self.place, self.rng = folder, random.Random(f"{seed}/{kind}")  # noqa: S311  # repeatable on purpose
        self.folder = folder

    def rounds(self, count: int) -> Iterator[random.Random]:
        """So many rounds, each with an empty folder, `self.folder`."""
        for number in range(max(1, round(count * self.share))):
            self.folder = self.place / f"{number:05d}"
            self.folder.mkdir()
            yield self.rng
            shutil.rmtree(self.folder)

    def polycli(
        self, *words: object, how: str = "", seconds: float = 30, right: Callable[[Answer], str | None] | None = None
    ) -> Answer:
        """Run a command; count whether it was right. `right` says what is wrong with a result that came with exit 0."""
        before = listing(self.folder, leaving_out={OUTPUT})
        answer = self.worker.polycli(*map(str, words), folder=self.folder, seconds=seconds)
        problem = problem_of(answer, seconds, may_lack_memory=self.may_lack_memory)
        after = listing(self.folder, leaving_out={OUTPUT})
        if problem is None and before != after:
            changed = sorted(name for name in {*before, *after} if before.get(name) != after.get(name))
            problem = f"wrote outside of its output: {', '.join(changed[:5])}"
        if problem is None and answer.code == 0 and right is not None:
            problem = right(answer)
        self.tally.note(self.kind, answer, problem, how)
        return answer

    def assert_right(self) -> None:
        """Fail with the first few that were wrong."""
        wrong = self.tally.wrong.get(self.kind, [])
        assert not wrong, f"{len(wrong)} of {self.tally.tried[self.kind]} wrong\n" + "\n".join(wrong[:12])


@pytest.fixture
def attack(
    request: pytest.FixtureRequest, worker: Worker, arena: Path, tmp_path: Path, seed: int, tally: Tally
) -> Callable[[str], Attack]:
    """Makes an attack of a kind; the test fails at its end where one was wrong."""
    made = []

    def begin(kind: str) -> Attack:
        folder = tmp_path / "rounds" / kind.replace(" ", "-")
        folder.mkdir(parents=True)
        made.append(Attack(kind, worker, folder, seed, tally, request.config.getoption("--attacks")))
        return made[-1]

    return begin
