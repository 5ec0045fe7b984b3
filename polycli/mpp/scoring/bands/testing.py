"""The bands of a calibrated model, tested while eval scores its rollouts: which apply, and what comes of them."""

from __future__ import annotations

from polycli.console import note, warn
from polycli.mpp.data.about import statistics_of
from polycli.mpp.data.parameters import parameters_of_rows
from polycli.mpp.model.loaded import LoadedNetwork
from polycli.mpp.predicting.bands import BandFinder, Bands
from polycli.mpp.recipe.settings import BandsSection
from polycli.mpp.scoring.bands.coverage import coverage_scores
from polycli.mpp.scoring.bands.meter import BandMeter
from polycli.mpp.scoring.film import BandStrip
from polycli.mpp.scoring.measure import Rollouts, Subset
from polycli.mpp.scoring.score_records import BandScores
from polycli.workflow.identity import Identities, KnownRows


class BandTests:
    """Looks up the bands of each dataset, measures rollouts against them, and counts how often they hold."""

    def __init__(self, loaded: LoadedNetwork, settings: BandsSection, *, allow_overlap: bool) -> None:
        """Read the calibration of the model, where there is one; errors as `BandFinder`."""
        self._finder = BandFinder(loaded, settings)
        self._allow_overlap = allow_overlap
        #: By dataset, where the model is calibrated for it.
        self._bands: dict[str, Bands] = {}

    def choose(self, subset: Subset) -> None:
        """Find the bands of a dataset; those that were made of the very trajectories that are scored test nothing."""
        bands = self._finder.find(subset.store.name, subset.about, parameters_of_rows(subset.store, subset.rows))
        if bands is not None and self._may_test(bands, subset):
            self._bands[subset.store.name] = bands

    def bands_of(self, dataset: str) -> Bands | None:
        """The bands of a dataset; None where it has none."""
        return self._bands.get(dataset)

    def meter(self, subset: Subset, steps: int) -> BandMeter | None:
        """Returns what measures `steps` steps of rollouts against the bands; None where there are none."""
        bands = self._bands.get(subset.store.name)
        if bands is None:
            return None
        shape = (len(subset.rows), steps, len(subset.about.fields))
        return BandMeter(shape, points=bands.settings.points, draws=bands.settings.draws, half_width=bands.half_width)

    def scores(self, subset: Subset, meter: BandMeter, rollouts: Rollouts) -> tuple[BandScores, tuple[BandStrip, ...]]:
        """`bands` of a dataset in scores.json, and what the film shows of the first trajectory for each field."""
        bands = self._bands[subset.store.name]
        validity = self._finder.validity(bands)
        spread = statistics_of(subset.store.manifest, subset.store.path)
        document = coverage_scores(
            bands,
            validity,
            meter,
            rollouts.errors["vrmse"]["model"],
            fields={field: spread[field]["std"] for field in subset.about.fields},
            between_frames=subset.about.dt * subset.time_stride,
        )
        level = bands.levels.index(validity.level)
        strips = tuple(
            BandStrip(meter.deviation[0, :, index], bands.half_width[level, :, index], validity.level)
            for index in range(meter.deviation.shape[2])
        )
        return document, strips

    def _may_test(self, bands: Bands, subset: Subset) -> bool:
        """Whether trajectories that were not calibrated on are scored, or all the same are to be; else it is said."""
        if bands.settings.from_frame != subset.first:
            note(
                f"{subset.store.name}: bands were made of forecasts from frame {bands.settings.from_frame} on, they "
                f"are tested on forecasts from frame {subset.first} on"
            )
        used = KnownRows.of_training(bands.data.rows.rows, bands.data.rows.parts, bands.data.rows.ids)
        count = int(used.content_of(Identities.of(subset.store, subset.rows)).sum())
        if not count:
            return True
        warn(
            f"{subset.store.name}: {count} of the {len(subset.rows)} trajectories to be scored were calibrated on: "
            + ("coverage flatters" if self._allow_overlap else "the bands are not tested")
        )
        return self._allow_overlap
