"""TensorBoard and Weights & Biases beside metrics.jsonl, where a recipe asks for them.

Both are a convenience: one that is not installed, or that fails, is given up with a warning, and the training goes on.
metrics.jsonl has every number.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Protocol, Self

import yaml

from polycli.console import warn
from polycli.engine.changes import RECIPE_NAME
from polycli.engine.run import Run
from polycli.errors import PreemptedError
from polycli.sections import LogSection

#: W&B's name for the run is kept in the run, so that a resumed training goes on in the same curves.
WANDB_ID_NAME = "wandb-id.txt"


class Tracker(Protocol):
    """One place that shows curves."""

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one point to each curve."""
        ...

    def close(self, *, failed: bool) -> None:
        """Hand over what is still held back."""
        ...


class TensorBoard:
    """Event files in RUN/tensorboard. What an earlier start wrote after `step` is hidden: it will be written again."""

    def __init__(self, run: Run, step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        writer: Any = SummaryWriter
        self.writer = writer(log_dir=str(run.path / "tensorboard"), purge_step=step + 1)

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one point to each curve."""
        for name, value in scalars.items():
            self.writer.add_scalar(name, value, step)

    def close(self, *, failed: bool) -> None:  # noqa: ARG002  # An event file does not say how a run ended.
        """Write what is still in memory."""
        self.writer.close()


class WeightsAndBiases:
    """A run in the project "polycli", or the one that WANDB_PROJECT names, with the resolved recipe as its config."""

    def __init__(self, run: Run, step: int) -> None:  # noqa: ARG002  # W&B itself passes over steps that it has.
        import wandb

        kept = run.path / WANDB_ID_NAME
        if not kept.is_file():
            kept.write_text(uuid.uuid4().hex + "\n", encoding="ascii")
        self.run = wandb.init(
            project=None if "WANDB_PROJECT" in os.environ else "polycli",
            name=run.path.resolve().name,
            id=kept.read_text(encoding="ascii").strip(),
            resume="allow",
            dir=str(run.path),
            config=yaml.safe_load((run.path / RECIPE_NAME).read_text(encoding="utf-8")),
            # Standard streams are left alone: stdout belongs to results.
            settings={"console": "off"},
        )

    def write(self, step: int, scalars: Mapping[str, float]) -> None:
        """Add one point to each curve."""
        self.run.log(dict(scalars), step=step)

    def close(self, *, failed: bool) -> None:
        """Send what is still here and say how the run ended."""
        self.run.finish(exit_code=int(failed))


class Trackers:
    """The trackers that a recipe asks for and that work, on rank 0. Closed at the end of a `with` block."""

    def __init__(self, log: LogSection, run: Run, *, step: int) -> None:
        self.run = run
        self._open: dict[str, Tracker] = {}
        if run.world.rank == 0:
            if log.tensorboard:
                with self._or_without("tensorboard"):
                    self._open["tensorboard"] = TensorBoard(run, step)
            if log.wandb:
                with self._or_without("wandb"):
                    self._open["wandb"] = WeightsAndBiases(run, step)

    def write(self, kind: str, step: int, values: Mapping[str, object], speed: Mapping[str, object]) -> None:
        """Show the numbers of one line of metrics.jsonl, but for those that are not finite."""
        named = {name if "/" in name else f"{kind}/{name}": value for name, value in values.items()}
        scalars = _finite_numbers({**named, **{f"speed/{name}": value for name, value in speed.items()}})
        for name in list(self._open) if scalars else ():
            with self._or_without(name):
                self._open[name].write(step, scalars)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        failed = error is not None and not isinstance(error, PreemptedError)
        for name in list(self._open):
            with self._or_without(name):
                self._open.pop(name).close(failed=failed)

    @contextmanager
    def _or_without(self, name: str) -> Iterator[None]:
        """Whatever goes wrong in here is said, and the tracker is not asked again."""
        try:
            yield
        except ImportError as error:
            self._give_up(name, f"is not installed ({error})", f"; pip install 'polycli[{name}]'")
        except Exception as error:  # noqa: BLE001  # Somebody else's service must not end a training of weeks.
            self._give_up(name, f"failed ({type(error).__name__}: {error})")

    def _give_up(self, name: str, reason: str, hint: str = "") -> None:
        self._open.pop(name, None)
        self.run.say(f"log.{name}: {name} {reason}; training goes on without it{hint}", warn)


def _finite_numbers(values: Mapping[str, object]) -> dict[str, float]:
    return {
        name: float(value)
        for name, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    }
