"""`polycli calibrate xval`: held-back records to intervals that hold, by key path, kept beside the checkpoint."""

from __future__ import annotations

from polycli.console import rank
from polycli.errors import CheckpointError
from polycli.recipes import default_recipe
from polycli.requests import CalibrateRequest, JsonDocument
from polycli.xval.model.loaded import load_checkpoint
from polycli.xval.recipe.settings import CalibrateSettings
from polycli.xval.scoring.coverage.calibration import NumberCalibration


def run(request: CalibrateRequest) -> JsonDocument | None:
    """Find intervals by key path from records that were held back.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, records also test or were trained on, or there
            are too few; nothing was written.
    """
    settings = default_recipe("xval", "calibrate", request.overrides, schema=CalibrateSettings)
    if rank() > 0:
        return None  # Scores are made by one process.
    loaded = load_checkpoint(request.checkpoint)
    if loaded.judge is not None:
        raise CheckpointError(
            f"{loaded.model_file}: answers for whole records; intervals are those of numbers that are filled in",
            hint="give the checkpoint of a model without `head`",
        )
    return NumberCalibration(loaded, settings, request).run()
