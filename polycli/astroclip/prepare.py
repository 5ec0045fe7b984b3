"""`polycli prepare astroclip`: images and spectra, however stored, to one store, with catalogues joined on."""

from __future__ import annotations

from polycli.astroclip.data.preparation import ObjectPreparation
from polycli.requests import JsonDocument, PrepareRequest


def run(request: PrepareRequest) -> JsonDocument:
    """Prepare what is asked for; see `Preparation.run`."""
    return ObjectPreparation(request).run()
