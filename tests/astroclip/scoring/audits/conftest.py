"""Simulated surveys in which the seeing, the depth or the sky tells the redshift, and clean ones."""

import numpy as np
import pytest

from polycli.astroclip import open_objects
from polycli.astroclip.sources.mock import images
from polycli.astroclip.sources.mock.population import BLOCK, block_of_galaxies


def observed(kind, count, seed, size=48):
    """Arrays of a survey in g, r, z; `kind` is the quantity that follows the redshift: psf, depth, sky, or none."""
    names = ("psf_fwhm", "noise", "sky")
    columns = {f"{name}_{band}": np.empty(count, np.float32) for name in names for band in "grz"}
    columns |= {f"mag_{band}": np.empty(count, np.float32) for band in "grz"}
    pixels, redshift = np.empty((count, 3, size, size), np.float32), np.empty(count)
    blocks = [block_of_galaxies(seed, block, 19.5) for block in range(-(-count // BLOCK))]
    # Normal scores of the redshift's rank, and as much of something else.
    everything = np.concatenate([block.redshift for block in blocks])[:count]
    score = (np.argsort(np.argsort(everything)) / count - 0.5) * np.sqrt(12)
    for number in range(count):
        galaxies, place = blocks[number // BLOCK], number % BLOCK
        generator = np.random.default_rng([seed, 1, number])
        seeing, look = images.draw_seeing(generator), images.draw_look(generator, galaxies, place)
        sky = 0.004 * generator.standard_normal()
        pull = 0.7 * score[number] + 0.7 * generator.standard_normal()
        if kind == "psf":
            seeing.psf[:] = np.clip(2.4 * np.exp(0.35 * pull), 1, 8)
        elif kind == "depth":
            seeing.noise[:] = 0.01 * np.exp(0.5 * pull)
        elif kind == "sky":
            sky = 0.01 * pull
        image = images.draw_image(galaxies, place, look, seeing, size)
        images.add_noise(image, seeing, generator)
        pixels[number], redshift[number] = image + np.float32(sky), galaxies.redshift[place]
        for index, band in enumerate("grz"):
            columns[f"psf_fwhm_{band}"][number] = seeing.psf[index]
            columns[f"noise_{band}"][number] = seeing.noise[index]
            columns[f"sky_{band}"][number] = sky
            columns[f"mag_{band}"][number] = 22.5 - 2.5 * np.log10(galaxies.flux[place, index])
    return {"image": pixels, "redshift": redshift, **columns}


@pytest.fixture(scope="session")
def survey(tmp_path_factory, prepare):
    """`survey(kind, count, seed)` prepares one and returns the path of its store."""
    made = {}

    def prepared(kind, count=240, seed=0):
        if (kind, count, seed) not in made:
            folder = tmp_path_factory.mktemp(f"{kind}{seed}")
            np.savez(folder / "survey.npz", **observed(kind, count, seed))
            prepare("arrays", folder / f"{kind}.zarr", "split.test=0.4", inputs=[folder / "survey.npz"])
            made[kind, count, seed] = folder / f"{kind}.zarr"
        return made[kind, count, seed]

    return prepared


@pytest.fixture(scope="session")
def clean(survey):
    """A clean survey, opened."""
    return open_objects(survey("none"))
