"""How a training that fails says so: a sentence for the user where there is one, and the reason in status.json."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

from polycli.engine.memory import is_out_of_memory, out_of_memory
from polycli.engine.run import Run
from polycli.errors import PolycliError, PreemptedError, TrainingError, UserError
from polycli.launch import GRACE_SECONDS, LOCAL_RANKS_VARIABLE, World
from polycli.sections import EngineSection, TrainSection


@contextmanager
def failures_in(run: Run, train: TrainSection, engine: EngineSection, world: World) -> Iterator[None]:
    """Leave the reason of a failure in status.json, and turn what a user can mend into a sentence."""
    try:
        yield
    except (UserError, PreemptedError, SystemExit):
        # A start that was refused leaves the run as it was.
        raise
    except PolycliError as error:
        run.fail(error.message)
        raise
    except (RuntimeError, MemoryError) as error:
        if is_out_of_memory(error):
            explained = out_of_memory(error, train, engine, world)
            run.fail(explained.message)
            raise explained from error
        if _lost_another_rank(error):
            if LOCAL_RANKS_VARIABLE in os.environ:
                # The rank that failed says why; the parent ends this one.
                time.sleep(2 * GRACE_SECONDS)
            raise TrainingError("another process of this run has ended") from error
        run.fail(f"{type(error).__name__}: {error}")
        raise
    except BaseException as error:
        run.fail(f"{type(error).__name__}: {error}")
        raise


def _lost_another_rank(error: Exception) -> bool:
    """Whether a collective failed because its other end is gone."""
    text = str(error)
    return "gloo" in text or "Connection closed by peer" in text or ("NCCL" in text and "remote" in text)
