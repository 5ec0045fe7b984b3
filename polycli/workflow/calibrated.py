"""Finds the calibration that belongs to a checkpoint, for verbs that use bounds."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from polycli.checkpoints.calibration import Calibration, calibration_beside, read_calibration
from polycli.errors import UserError
from polycli.workflow.calibrate import refuse_other_weights
from polycli.workflow.loaded import LoadedCheckpoint

CalibrationUse = Literal["auto", "never", "must"]


def find_calibration(
    loaded: LoadedCheckpoint, *, family: str, use: CalibrationUse, file: Path | None
) -> Calibration | None:
    """The calibration in `file` or, where none is given, beside the weights; None where there is or is to be none.

    Raises:
        CheckpointError: it is damaged, or of other weights.
        UserError: there is none, and there must be one.
    """
    if use == "never":
        return None
    path = calibration_beside(loaded.model_file) if file is None else file
    if file is None and not path.exists():
        if use == "must":
            raise UserError(
                f"{path}: there is no calibration beside {loaded.model_file.name}",
                hint=f"polycli calibrate {family} --checkpoint {loaded.model_file} --data STORE",
            )
        return None
    calibration = read_calibration(path)
    refuse_other_weights(path, calibration, loaded, family=family)
    return calibration
