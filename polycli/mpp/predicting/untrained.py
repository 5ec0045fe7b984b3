"""Compares what predict and embed are given with what the model was trained on."""

from __future__ import annotations

from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.model.trained import check_trained
from polycli.mpp.predicting.inputs import ContextSource
from polycli.mpp.recipe.settings import ModelSettings


def check_source(source: ContextSource, loaded: LoadedNetwork, settings: ModelSettings, *, tells: bool = False) -> None:
    """Compare fields, time between frames and units with those of the training.

    `tells` says that the model will be told what it can be told, such as the time between frames.

    Raises:
        StoreError: they differ, and the settings do not allow it.
    """
    check_trained(
        loaded.trained,
        source.name,
        source.about,
        time_stride=loaded.time_stride,
        allow=settings.allow_untrained,
        # An array file may say nothing of time: what holds where nothing was given is no reason to refuse it.
        dt_known=source.dt_known,
        dt_told=tells and "dt" in loaded.section.told,
    )
