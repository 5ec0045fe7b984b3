"""`polycli calibrate astroclip`: held-back objects to intervals of properties that hold, kept beside the checkpoint."""

from __future__ import annotations

from polycli.astroclip.model.loaded import load_for
from polycli.astroclip.recipe.settings import CalibrateSettings
from polycli.astroclip.scoring.novelty.keep import keep_novelty
from polycli.astroclip.scoring.posteriors.calibration import PropertyCalibration
from polycli.console import rank
from polycli.recipes import default_recipe
from polycli.requests import CalibrateRequest, JsonDocument


def run(request: CalibrateRequest) -> JsonDocument | None:
    """Find intervals by column from objects that were held back.

    Raises:
        UserError: checkpoint, stores and settings do not fit each other, objects also test or were trained on, or there
            are too few; nothing was written.
    """
    settings = default_recipe("astroclip", "calibrate", request.overrides, schema=CalibrateSettings)
    if rank() > 0:
        return None  # Scores are made by one process.
    loaded = load_for(request.checkpoint, settings)
    if settings.novelty:
        kept = keep_novelty(loaded, settings, request)
        if loaded.model.properties is None:
            return kept
    return PropertyCalibration(loaded, settings, request).run()
