"""The `mock` source: any number of simulated galaxies, each a function of the survey's seed and its own number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.columns import Column
from polycli.astroclip.data.description import PIXEL_SCALE, ImageDescription, SpectrumDescription
from polycli.astroclip.data.source import Listing, Payload
from polycli.astroclip.recipe.preparing import MockSection, PrepareRecipe
from polycli.astroclip.sources.mock import images, spectra, votes
from polycli.astroclip.sources.mock.continuum import BANDS
from polycli.astroclip.sources.mock.population import BLOCK, Galaxies, block_of_galaxies
from polycli.errors import SourceError

#: Release number in the ids, packed as DESI packs them: bits 42 up release, 22 up brick, 0 up object.
_RELEASE = 9010
_OBJECTS_PER_BRICK = 1024
_BRICKS = 2**20
#: The survey's patch of sky: centre, and half its width in degrees.
_PATCH = (180.0, 0.0, 10.0)
#: Seconds for one pair on one process.
SECONDS = 0.008
_COLUMNS = (
    ("logm", "log10(Msun)"),
    ("ssfr", "log10(1/yr)"),
    ("age", "Gyr"),
    ("metallicity", "log10(Zsun)"),
    ("b_over_t", ""),
    ("axis_ratio", ""),
    ("dust", "mag"),
    ("radius", "kpc"),
    *((f"mag_{band}", "mag AB") for band in BANDS),
    ("fibermag_r", "mag AB"),
    ("snr", "median per pixel"),
    *((f"psf_fwhm_{band}", "arcsec") for band in BANDS),
    *((f"noise_{band}", "nanomaggy per pixel") for band in BANDS),
)


@dataclass(frozen=True)
class Observation:
    """One galaxy as it is observed."""

    image: NDArray[np.float32]
    spectrum: NDArray[np.float32]
    ivar: NDArray[np.float32]
    mask: NDArray[np.bool_]
    #: In the order of the columns of the source.
    numbers: tuple[float, ...]
    morphology: str
    #: In the order of `votes.COLUMNS`.
    votes: tuple[int, ...]


@dataclass(frozen=True)
class MockReader:
    """Makes the galaxies that are asked for. `rows` are their numbers."""

    section: MockSection

    def narrowed(self, files: Sequence[int]) -> MockReader:
        """Returns this reader: a simulation has no files."""
        del files
        return self

    def read(self, files: NDArray[np.int32], rows: NDArray[np.int64]) -> Payload:
        """Simulates images and spectra of some rows, with the truth about them."""
        del files
        galaxies = {
            int(block): block_of_galaxies(self.section.seed, int(block), self.section.magnitude_limit)
            for block in np.unique(rows // BLOCK)
        }
        seen = [observe(self.section, galaxies[int(row) // BLOCK], int(row)) for row in rows]
        redshift = np.array([galaxies[int(row) // BLOCK].redshift[int(row) % BLOCK] for row in rows])
        numbers = np.array([one.numbers for one in seen], np.float32)
        labels = np.empty(len(seen), dtype=object)
        labels[:] = [one.morphology for one in seen]
        columns = [Column(name, numbers[:, index], unit, "mock") for index, (name, unit) in enumerate(_COLUMNS)]
        return Payload(
            image=np.stack([one.image for one in seen]),
            spectrum=np.stack([one.spectrum for one in seen]),
            ivar=np.stack([one.ivar for one in seen]),
            mask=np.stack([one.mask for one in seen]),
            redshift=redshift.astype(np.float64),
            columns=(*columns, Column("morphology", labels, "", "mock"), *_counts([one.votes for one in seen])),
        )


def observe(section: MockSection, galaxies: Galaxies, number: int) -> Observation:
    """Galaxy `number` of the survey, of which `galaxies` is the block that it is in."""
    place = number % BLOCK
    generator = np.random.default_rng([section.seed, 1, number])
    seeing = images.draw_seeing(generator)
    look = images.draw_look(generator, galaxies, place)
    image = images.draw_image(galaxies, place, look, seeing, section.size)
    fibre = images.fibre_flux(image)
    images.add_neighbours(image, look, seeing)
    images.add_noise(image, seeing, generator)
    light = spectra.draw_spectrum(generator, galaxies, place, fibre / galaxies.flux[place])
    spectrum, ivar, mask = spectra.observe(generator, light)
    return Observation(
        image=image,
        spectrum=spectrum,
        ivar=ivar,
        mask=mask,
        numbers=(
            galaxies.mass[place],
            galaxies.ssfr[place],
            galaxies.age[place],
            galaxies.metallicity[place],
            galaxies.bulge_fraction[place],
            galaxies.axis_ratio[place],
            galaxies.dust[place],
            galaxies.radius[place],
            *(22.5 - 2.5 * np.log10(galaxies.flux[place])),
            22.5 - 2.5 * np.log10(fibre[1]),
            float(np.median(light * np.sqrt(ivar))),
            *(seeing.psf * images.FWHM * PIXEL_SCALE),
            *seeing.noise,
        ),
        morphology=images.morphology(galaxies, place, look),
        votes=votes.draw_votes(section.seed, number, galaxies, place, look),
    )


def _counts(found: Sequence[tuple[int, ...]]) -> list[Column]:
    """The columns of votes, of some galaxies or of none."""
    counts = np.array(found, np.int64).reshape(-1, len(votes.COLUMNS))
    return [Column(name, counts[:, index], "", "mock") for index, name in enumerate(votes.COLUMNS)]


class MockSource:
    """A survey as the recipe's `mock` section asks for."""

    def accepts(self, path: Path) -> bool:
        """Always False: a simulation reads no files."""
        del path
        return False

    def open(self, inputs: Sequence[Path], recipe: PrepareRecipe, limit: int | None) -> Listing:
        """Ids and positions; all else is made when it is read.

        Raises:
            SourceError: there are inputs.
        """
        if inputs:
            raise SourceError(
                f"the mock source reads no files, but {inputs[0]} was given as input", hint="leave --input out"
            )
        section = recipe.mock
        count = section.objects if limit is None else min(limit, section.objects)
        numbers = np.arange(count, dtype=np.int64)
        ra, dec = _positions(section.seed, count)
        grid = spectra.WAVELENGTH
        promised = (*(Column(name, np.zeros(0, np.float32), unit, "mock") for name, unit in _COLUMNS),)
        return Listing(
            source="mock",
            reader=MockReader(section),
            ids=_ids(section.seed, numbers),
            id_name="TARGETID",
            ra=ra,
            dec=dec,
            redshift=np.full(count, np.nan),
            file=np.zeros(count, np.int32),
            row=numbers,
            files=(),
            file_names=(),
            image=ImageDescription(bands=BANDS, size=(section.size, section.size)),
            spectrum=SpectrumDescription(
                pixels=grid.size, first=float(grid[0]), last=float(grid[-1]), step=spectra.STEP
            ),
            wavelength=grid,
            promised=(*promised, Column("morphology", np.zeros(0, object), "", "mock"), *_counts([])),
            seconds=SECONDS,
        )


def _ids(seed: int, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ids above 2**53, as real ones are, so that nothing that goes through a float stays unnoticed."""
    brick = (seed * 997 + numbers // _OBJECTS_PER_BRICK) % _BRICKS
    return (np.int64(_RELEASE) << 42) | (brick << 22) | (numbers % _OBJECTS_PER_BRICK)


def _positions(seed: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Galaxies in groups, the groups anywhere in the patch."""
    ra, dec, half = _PATCH
    parts = []
    for block in range(-(-count // BLOCK)):
        generator = np.random.default_rng([seed, 2, block])
        centres = generator.uniform(-half, half, (8, 2))
        offsets = 0.3 * generator.standard_normal((BLOCK, 2))
        parts.append(centres[generator.integers(0, 8, BLOCK)] + offsets)
    places = np.concatenate(parts)[:count]
    return np.mod(ra + places[:, 0], 360.0), dec + places[:, 1]
