"""Calibrations: whose they are, for which data, and at which levels."""

from __future__ import annotations

from pathlib import Path

from polycli.checkpoints.calibration import CalibratedData, calibration_beside, read_calibration
from polycli.checkpoints.manifest import MODEL_NAME
from polycli.inspection.finding import Finding, describe


def describe_calibration(path: Path) -> Finding:
    """Describes a calibration, whose own hash is checked.

    Raises:
        CheckpointError: it is damaged or not sound.
    """
    found = read_calibration(path)
    facts = {
        "weights": f"{found.checkpoint}, SHA-256 {found.model_hash}",
        "levels": [f"{level:g}" for level in found.levels],
        "datasets": [
            f"{name}: {len(data.groups)} bounds, each from {_fewest(data)} rows or more"
            for name, data in found.data.items()
        ],
        "settings": [f"{key} {value}" for key, value in found.settings.items()],
        "version": found.version,
    }
    return describe(path, f"a calibration of a model of {found.family}", facts, found.model_dump(mode="json"))


def calibrated_datasets(checkpoint: Path, *, verify: bool) -> list[str]:
    """The datasets that the weights in a checkpoint are calibrated for; empty where they are not.

    Raises:
        CheckpointError: the calibration is damaged; without `verify` it is not read.
    """
    path = calibration_beside(checkpoint / MODEL_NAME)
    if not path.is_file():
        return []
    return list(read_calibration(path).data) if verify else [path.name]


def _fewest(data: CalibratedData) -> int:
    return min((group.units for group in data.groups.values()), default=0)
