r"""What stands beside `astroclip_templates_study`: baselines without training, the limit of 64 neighbours, real coadds.

    polycli study astroclip --recipe astroclip_templates_study --output templates
    python benchmarks/template_redshifts.py --study templates --real DESI --record astroclip_templates_beside

Baselines see the training and test objects of the study. Neighbours of what spectra are without any network (their
pixels, weighed by the share of the variance that is not noise, or the main components of these) know the redshifts of
the training objects, as those of an encoder's vectors do. Correlation with a template (Tonry and Davis 1979), weighed
by the noise, knows the template: the mean of all training spectra at rest, for which their redshifts must be known, or
the one training spectrum of the highest signal to noise with its redshift.

The oracle's vectors are true redshifts with a small error and beside them other numbers, as strong and unrelated, as
vectors that hold more than redshifts have.

`--real`: a folder with DESI's coadds and Redrock's file of one galaxy. Templates that the simulated survey taught are
asked for its redshift, and for those of copies that are moved to other redshifts, with the noise of DESI's sky added.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _record import add_option, finish
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from polycli.__main__ import run as command_line
from polycli.astroclip import open_objects
from polycli.astroclip.data.store import ObjectStore, Spectra
from polycli.astroclip.model.loaded import load_checkpoint
from polycli.astroclip.model.templates import Templates
from polycli.astroclip.recipe.model import TemplateSection
from polycli.astroclip.scoring.encode import Encoder
from polycli.astroclip.scoring.redshift import redshift_scores
from polycli.astroclip.scoring.redshifts.by_neighbours import answers_by_neighbours
from polycli.astroclip.scoring.redshifts.templates import redshifts
from polycli.report.bootstrap import Bootstrap
from polycli.report.probes import r2_score
from polycli.report.table import Table, number

Floats = NDArray[np.float64]
BOOTSTRAP = Bootstrap(samples=1000)
NEIGHBOURS = (4, 16, 64)
COMPONENTS = 32
#: Numbers beside the redshift in the oracle's vectors, and training objects.
BESIDE, OBJECTS = (0, 1, 3, 7), (1000, 4000, 16000)
#: Training objects that vectors of aligned spectra are read with.
SUBSETS = (500, 1000, 2000)
#: Copies of the real galaxy, their redshifts, and their median signal to noise in a pixel of the store.
COPIES, MOVED, SIGNAL = 400, (0.1, 0.55), (4.0, 2.0, 1.0)
BATCH = 256


@dataclass(frozen=True)
class Survey:
    """Training and test objects of a store."""

    store: ObjectStore
    train: NDArray[np.int64]
    test: NDArray[np.int64]

    def redshift(self, rows: NDArray[np.int64]) -> Floats:
        """(n,) true redshifts."""
        return self.store.target("redshift", rows)


def main() -> None:
    """Run it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path, required=True, help="the folder of the study")
    parser.add_argument("--real", type=Path, help="a folder with coadds of DESI")
    add_option(parser)
    options = parser.parse_args()
    store = open_objects(options.study / "stores/mock")
    survey = Survey(store, store.rows("train"), store.rows("test"))
    checkpoints = sorted((options.study / "runs").glob("templates-*"))
    aligned = sorted((options.study / "runs").glob("align-*"))
    found: dict[str, Any] = {"baselines": baselines(survey)}
    tables = [baseline_table(found["baselines"])]
    found["oracle"] = oracle(survey)
    tables.append(oracle_table(found["oracle"]))
    if aligned:
        found["objects"] = by_objects(survey, aligned)
        tables.append(objects_table(found["objects"]))
    if options.real is not None:
        found["real"] = real(survey, checkpoints, options.real)
        tables += [galaxy_table(found["real"]), moved_table(found["real"])]
    finish(options, found, *tables)


def baselines(survey: Survey) -> dict[str, Any]:
    """Scores by baseline and, for neighbours, their number."""
    truth = survey.redshift(survey.test)
    known = survey.redshift(survey.train)
    pixels = [seen_pixels(survey.store, rows) for rows in (survey.train, survey.test)]
    components = PCA(COMPONENTS, random_state=0).fit(pixels[0])
    inputs = {"pixels": pixels, "components": [components.transform(part) for part in pixels]}
    found: dict[str, Any] = {}
    for name, (train, test) in inputs.items():
        answers = answers_by_neighbours(train, known, test, NEIGHBOURS)
        found[name] = {str(count): scored(truth, by_weights["distance"]) for count, by_weights in answers.items()}
    section = template_section(survey.store)
    (values, share), (asked, weight) = (lines_of(survey.store, rows, section) for rows in (survey.train, survey.test))
    mean = rest_template(values, share, known, section)
    best = int(share.sum(axis=1).argmax())
    one = rest_template(values[best : best + 1], share[best : best + 1], known[best : best + 1], section)
    for name, template in (("mean spectrum", mean), ("one spectrum", one)):
        found[name] = {"-": scored(truth, correlated(asked, weight, template, section))}
    return found


def seen_pixels(store: ObjectStore, rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(n, pixels) standardised spectra, each pixel times the share of its variance that is not noise."""
    parts = []
    for start in range(0, len(rows), BATCH):
        flux, weight = standardised(store.read_spectra(rows[start : start + BATCH]))
        parts.append((flux * weight / (1 + weight)).numpy())
    return np.concatenate(parts)


def standardised(spectra: Spectra) -> tuple[torch.Tensor, torch.Tensor]:
    """Spectra of mean 0 and deviation 1, and their inverse variances in these units, 0 where masked."""
    flux, ivar, mask = (torch.from_numpy(np.ascontiguousarray(part)) for part in spectra)
    deviation, mean = torch.std_mean(flux, dim=1, keepdim=True)
    return (flux - mean) / deviation, ivar * deviation.square() * ~mask.bool()


def template_section(store: ObjectStore) -> TemplateSection:
    """The logarithmic grid that templates would have for this store's spectra."""
    wavelength = store.wavelength
    first, last = float(wavelength[0]), float(wavelength[-1])
    return TemplateSection(count=1, first=first, last=last, step=(last - first) / (len(wavelength) - 1))


def lines_of(store: ObjectStore, rows: NDArray[np.int64], section: TemplateSection) -> tuple[Floats, Floats]:
    """Deviations from the continuum on logarithmic wavelengths (n, bins), and the share of each that is not noise."""
    maker = Templates(section, 1)
    values, share = [], []
    with torch.no_grad():
        for start in range(0, len(rows), BATCH):
            lines = maker.lines(*standardised(store.read_spectra(rows[start : start + BATCH])))
            values.append(lines.values.double().numpy())
            share.append(lines.share.double().numpy())
    return np.concatenate(values), np.concatenate(share)


def rest_template(values: Floats, share: Floats, redshift: Floats, section: TemplateSection) -> Floats:
    """The mean of lines at rest, (bins + shifts,); bin `shifts` is at `section.first`."""
    shift = np.rint(np.log1p(redshift) / section.log_step).astype(np.int64)
    total, weight = np.zeros(section.bins + section.shifts), np.zeros(section.bins + section.shifts)
    for one, trust, moved in zip(values, share, shift, strict=True):
        begin = section.shifts - min(int(moved), section.shifts)
        total[begin : begin + section.bins] += one * trust
        weight[begin : begin + section.bins] += trust
    return total / np.maximum(weight, 1e-9)


def correlated(values: Floats, share: Floats, template: Floats, section: TemplateSection) -> Floats:
    """The redshifts at which a template fits best: the highest correlation, weighed by `share` and normalised."""
    period = 2 * len(template)
    pattern, square = (np.fft.rfft(each, period) for each in (template, template**2))

    def at_shifts(weighed: Floats, kernel: NDArray[np.complex128]) -> Floats:
        """Sums over n of weighed[n] kernel[n + k] for k from `shifts` down to 0: redshifts rise."""
        sums: Floats = np.fft.irfft(np.fft.rfft(weighed, period).conj() * kernel, period)
        return sums[:, section.shifts :: -1]

    fit = at_shifts(values * share, pattern) / np.sqrt(np.maximum(at_shifts(share, square), 1e-9))
    found: Floats = np.expm1(fit.argmax(axis=1) * section.log_step)
    return found


def oracle(survey: Survey) -> dict[str, Any]:
    """R2 by 64 neighbours of true redshifts with an error of 0.005 and other numbers, by how many and objects."""
    generator = np.random.default_rng(0)
    truth, known = survey.redshift(survey.test), survey.redshift(survey.train)
    found: dict[str, Any] = {}
    for beside in BESIDE:
        for count in OBJECTS:
            # As the survey's, which has fewer: drawn again, a little moved.
            targets = generator.choice(known, count) * (1 + 0.01 * generator.standard_normal(count))
            vectors = [
                np.column_stack(
                    [
                        (some + 0.005 * generator.standard_normal(len(some))) / known.std(),
                        generator.standard_normal((len(some), beside)),
                    ]
                )
                for some in (targets, truth)
            ]
            answers = answers_by_neighbours(vectors[0], targets, vectors[1], (64,))[64]
            scores = {weights: scored(truth, predicted)["r2"] for weights, predicted in answers.items()}
            found.setdefault(str(beside), {})[str(count)] = scores
    return found


def by_objects(survey: Survey, aligned: list[Path]) -> dict[str, Any]:
    """R2 from aligned spectra by 64 neighbours among so many training objects, a list over checkpoints."""
    truth = survey.redshift(survey.test)
    found: dict[str, Any] = {}
    for path in aligned:
        encoder = encoder_of(path, survey.store)
        train, test = encoder.vectors("spectrum", survey.train), encoder.vectors("spectrum", survey.test)
        order = np.random.default_rng(0).permutation(len(train))
        for count in (*SUBSETS, len(train)):
            some = order[:count]
            answers = answers_by_neighbours(train[some], survey.redshift(survey.train[some]), test, (64,))[64]
            for weights, predicted in answers.items():
                entry = found.setdefault(str(count), {}).setdefault(weights, [])
                entry.append(scored(truth, predicted)["r2"])
    return found


def real(survey: Survey, checkpoints: list[Path], folder: Path) -> dict[str, Any]:
    """Redshifts of real galaxies, and scores of moved copies of the first whose redshift is known, by checkpoint."""
    with tempfile.TemporaryDirectory() as scratch:
        output = Path(scratch) / "real.zarr"
        grid = survey.store.wavelength
        step = (grid[-1] - grid[0]) / (len(grid) - 1)
        settings = (f"resample.first={grid[0]:g}", f"resample.last={grid[-1]:g}", f"resample.step={step:g}")
        words = ["prepare", "astroclip", "--source", "desi", "--input", str(folder), "--output", str(output)]
        if command_line([*words, *(word for setting in settings for word in ("--set", setting))]):
            sys.exit(1)
        store = open_objects(output)
        rows = np.arange(len(store))
        pipeline = store.target("redshift", rows)
        spectra = store.read_spectra(rows)
        ids = store.id_texts(rows)
        first = int(np.flatnonzero(np.isfinite(pipeline))[0])
        found: dict[str, Any] = {"galaxies": {}, "moved": {}, "signal_to_noise": {}}
        for path in checkpoints:
            encoder = encoder_of(path, survey.store)
            shifts = encoder.vectors("spectrum", survey.train, source="templates")[:, 0]
            constant = float(np.median(shifts - np.log1p(survey.redshift(survey.train))))
            said = redshifts(encoder.encode(spectra, source="templates")[:, 0], constant)
            for row, name in enumerate(ids):
                entry = found["galaxies"].setdefault(name, {"pipeline": finite(pipeline[row]), "templates": []})
                entry["templates"].append(float(said[row]))
            for signal in SIGNAL:
                moved, truth = copies(spectra, first, float(pipeline[first]), grid, signal)
                answers = [
                    encoder.encode(Spectra(*(part[start : start + BATCH] for part in moved)), source="templates")[:, 0]
                    for start in range(0, COPIES, BATCH)
                ]
                scores = scored(truth, redshifts(np.concatenate(answers), constant))
                for name, value in scores.items():
                    found["moved"].setdefault(str(signal), {}).setdefault(name, []).append(value)
    for row, name in enumerate(ids):
        found["signal_to_noise"][name] = median_signal(spectra, row)
    return found


def copies(spectra: Spectra, row: int, redshift: float, grid: Floats, signal: float) -> tuple[Spectra, Floats]:
    """One galaxy at other redshifts, with noise as its own inverse variances have it, scaled to a signal to noise."""
    generator = np.random.default_rng(0)
    truth = generator.uniform(*MOVED, COPIES)
    flux, ivar, mask = (np.asarray(part[row]) for part in spectra)
    good = (ivar > 0) & ~mask.astype(bool)
    deviation = np.where(good, 1 / np.sqrt(np.where(good, ivar, 1)), 0.0)
    scale = float(np.median(flux[good] / deviation[good])) / signal
    made = np.zeros((COPIES, len(grid)), np.float32)
    weight = np.zeros_like(made)
    for place, moved in enumerate(truth):
        there = grid * (1 + redshift) / (1 + moved)
        inside = (there >= grid[0]) & (there <= grid[-1]) & good
        light = np.interp(there, grid[good], flux[good])
        made[place] = light + scale * deviation * generator.standard_normal(len(grid))
        weight[place] = np.where(inside, ivar / scale**2, 0)
        made[place][~inside] = light[inside].mean()
    return Spectra(made, weight, np.zeros(made.shape, bool)), truth


def median_signal(spectra: Spectra, row: int) -> float:
    """The median signal to noise per pixel."""
    flux, ivar, mask = (np.asarray(part[row]) for part in spectra)
    good = (ivar > 0) & ~mask.astype(bool)
    return float(np.median(flux[good] * np.sqrt(ivar[good])))


def encoder_of(path: Path, store: ObjectStore) -> Encoder:
    """A checkpoint that reads a store."""
    return Encoder(load_checkpoint(path, quiet=True).model, store, precision="float32", batch_size=BATCH)


def scored(truth: Floats, predicted: Floats) -> dict[str, float | None]:
    """R2, bias, sigma_NMAD and the share of outliers."""
    errors = redshift_scores(truth, predicted, BOOTSTRAP)
    fit = r2_score(truth, predicted, BOOTSTRAP)
    return {
        "r2": fit.r2,
        "bias": errors.bias,
        "sigma_nmad": errors.sigma_nmad,
        "outliers": errors.outlier_fraction,
    }


def finite(value: float) -> float | None:
    """None for what is not a number."""
    return float(value) if np.isfinite(value) else None


NAMES = {
    "pixels": ("pixels", "redshifts of the training objects"),
    "components": (f"{COMPONENTS} main components of the pixels", "redshifts of the training objects"),
    "mean spectrum": ("correlation with the mean training spectrum at rest", "redshifts of the training objects"),
    "one spectrum": ("correlation with the clearest training spectrum", "one redshift"),
}


def baseline_table(found: dict[str, Any]) -> Table:
    """What needs no training."""
    rows = []
    for name, by_count in found.items():
        for count, scores in by_count.items():
            rows.append((*NAMES[name], count, *(number(value) for value in scores.values())))
    columns = ("from", "knows", "neighbours", "R2", "bias", "sigma_NMAD", "outliers")
    return Table("Redshifts of the same test spectra without a network", columns, rows, labels=2)


def oracle_table(found: dict[str, Any]) -> Table:
    """How far apart 64 neighbours are."""
    rows = [
        (beside, *(number(scores[weights]) for scores in by_count.values() for weights in ("distance", "kernel")))
        for beside, by_count in found.items()
    ]
    columns = [f"{int(count):,} objects, {text}" for count in OBJECTS for text in ("distance", "kernel")]
    return Table(
        "R2 by 64 neighbours of vectors that hold the true redshift and as strong other numbers",
        ("other numbers", *columns),
        rows,
        caption="Redshifts have an error of 0.005; neighbours weigh by inverse distance, or by a Gaussian kernel.",
    )


def spread(values: list[float]) -> str:
    """The median with the smallest and the largest."""
    return f"{number(float(np.median(values)))} ({number(min(values))} to {number(max(values))})"


def spread_table(title: str, columns: Sequence[str], found: Mapping[str, Mapping[str, list[float]]]) -> Table:
    """By row, and by column behind the first, the values of all seeds."""
    rows = [(name, *(spread(values) for values in by_column.values())) for name, by_column in found.items()]
    return Table(title, columns, rows, caption="Median over seeds, with the smallest and the largest.")


def objects_table(found: dict[str, Any]) -> Table:
    """Aligned spectra by the number of training objects."""
    return spread_table(
        "R2 of the redshift from aligned spectra by 64 neighbours among fewer objects",
        ("training objects", "inverse distance", "all alike", "Gaussian kernel"),
        {f"{int(count):,}": by_weights for count, by_weights in found.items()},
    )


def galaxy_table(found: dict[str, Any]) -> Table:
    """Real galaxies."""
    rows = []
    for name, entry in found["galaxies"].items():
        pipeline = entry["pipeline"]
        answers = ", ".join(f"{value:.4f}" for value in entry["templates"])
        said = "-" if pipeline is None else f"{pipeline:.4f}"
        rows.append((name, number(found["signal_to_noise"][name]), said, answers))
    columns = ("TARGETID", "signal to noise in 3.2 A", "Redrock", "templates, by seed")
    return Table(
        "Real coadds of DESI, by templates that simulated spectra taught",
        columns,
        rows,
        caption="The constant is that of the simulated training objects.",
    )


def moved_table(found: dict[str, Any]) -> Table:
    """Copies of the real galaxy."""
    return spread_table(
        f"One real galaxy at {COPIES} redshifts from {MOVED[0]:g} to {MOVED[1]:g}, by the likeliest shift",
        ("signal to noise in 3.2 A", "R2", "bias", "sigma_NMAD", "outliers"),
        {f"{float(signal):g}": scores for signal, scores in found["moved"].items()},
    )


if __name__ == "__main__":
    main()
