"""The exceptions that a user can cause or meet, each with the exit code that the shell sees.

Exit codes: 0 done, 1 failed, 2 the user's input is wrong, 75 stopped by a signal
after saving: run the same line again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pydantic import ValidationError


class PolycliError(Exception):
    """Anything that ends a command with one clear sentence instead of a traceback."""

    exit_code = 1
    #: Whether all ranks raise it together, so that rank 0 alone need say it.
    on_all_ranks = False

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message if self.hint is None else f"{self.message} ({self.hint})"


class UserError(PolycliError):
    """The input, the command line or the recipe is wrong; nothing was written."""

    exit_code = 2


class RecipeError(UserError):
    """A recipe has unknown, missing or ill-typed keys, or asks for what cannot be."""


class SourceError(UserError):
    """A source file is missing, truncated, or not in the layout that it should have."""


class StoreError(UserError):
    """A store is absent, incomplete, damaged, or does not fit what is asked of it."""


class CheckpointError(UserError):
    """A checkpoint is truncated, dangerous, of another family, or no checkpoint at all."""


class RunError(UserError):
    """A run directory cannot be used as asked."""


class BusyError(UserError):
    """Another process is writing where this one would."""


class MissingDependencyError(UserError):
    """An optional package is needed and not installed; the message names the extra."""


class TrainingError(PolycliError):
    """Training failed after it had begun."""


class BadNumbersError(TrainingError):
    """Loss or gradient stayed non-finite, as all ranks agree."""

    on_all_ranks = True


class UnevenBatchesError(TrainingError):
    """The ranks' parts of a global batch do not fit together, as all ranks agree."""

    on_all_ranks = True


class SaveError(TrainingError):
    """The last checkpoint of a training could not be written, as all ranks agree."""

    on_all_ranks = True


class PreemptedError(PolycliError):
    """A signal stopped the run after its state was saved, as all ranks agree."""

    exit_code = 75
    on_all_ranks = True


def problems_of(error: ValidationError) -> str:
    """The first problems that pydantic found in a document, as part of a sentence."""
    problems = error.errors()[:3]
    return "; ".join(f"{'.'.join(map(str, found['loc'])) or 'the document'}: {found['msg']}" for found in problems)
