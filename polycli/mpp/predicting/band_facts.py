"""The records that forecasts and scores keep of bands: the calibration that they come from, and the horizon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BandOrigin:
    """The calibration that bands come from."""

    #: The dataset of the calibration, and how many trajectories of it were used.
    calibrated_on: str
    trajectories: int
    #: The share of a field's points that a band is to hold.
    points: float
    from_frame: int
    draws: int
    #: For how many steps there are bands.
    steps: int


@dataclass(frozen=True, kw_only=True)
class Horizon:
    """The time for which forecasts are promised to be valid."""

    vrmse_below: float
    #: The share of trajectories of which it is promised.
    share_of_trajectories: float
    steps: int
    #: The same in the dataset's unit of time.
    time: float
    #: The steps of each field by itself.
    fields: Mapping[str, int]


@dataclass(frozen=True, kw_only=True)
class BandFacts:
    """Facts that a forecast tells of its bands."""

    bands: BandOrigin
    validity_horizon: Horizon
