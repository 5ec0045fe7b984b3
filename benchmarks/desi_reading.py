"""Spectra per second from a DESI coadd file, cameras joined: `python benchmarks/desi_reading.py [--file COADD]`.

Without a file, one of 500 spectra is written first. Beside our reader stands the plain way: every HDU read whole with
astropy and the cameras joined spectrum by spectrum. Runs of both are interleaved; both give the same numbers. Rates are
per second of processor time, so that other work on the machine does not count; the file lies in memory by then.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from polycli.astroclip.sources.desi_files import GRID
from polycli.astroclip.sources.desi_spectra import read_spectra

CAMERAS = {"B": (3600.0, 2751), "R": (5760.0, 2326), "Z": (7520.0, 2881)}
BLOCK = 128


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(dir=options.scratch) as scratch:
        path = options.file or write_coadd(Path(scratch) / "coadd.fits", options.spectra)
        with fits.open(path) as file:
            count = len(file["FIBERMAP"].data)
        print(f"{os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; {count} spectra, blocks of {BLOCK}")
        ours, plain = [], []
        for _ in range(options.runs):
            start = time.process_time()
            edges = range(0, count, BLOCK)
            blocks = [read_spectra(path, np.arange(first, min(first + BLOCK, count))) for first in edges]
            ours.append(count / (time.process_time() - start))
            start = time.process_time()
            flux, ivar = plainly(path)
            plain.append(count / (time.process_time() - start))
        measured = ivar > 0
        np.testing.assert_allclose(np.concatenate([block[1] for block in blocks]), ivar, rtol=1e-4)
        np.testing.assert_allclose(
            np.concatenate([block[0] for block in blocks])[measured], flux[measured], rtol=1e-4, atol=1e-5
        )
    for name, rates in (("ours", ours), ("spectrum by spectrum", plain)):
        print(f"{name:<22} median {statistics.median(rates):8.0f} spectra/s, best {max(rates):8.0f}")
    ratios = [one / other for one, other in zip(ours, plain, strict=True)]
    print(f"ratio                  median {statistics.median(ratios):8.1f}")


def plainly(path: Path) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    with fits.open(path) as file:
        arrays = {hdu.name: np.asarray(hdu.data) for hdu in file if hdu.name[:2] in ("B_", "R_", "Z_")}
    count = len(arrays["B_FLUX"])
    flux, weight = np.zeros((count, GRID.size), np.float32), np.zeros((count, GRID.size), np.float32)
    for row in range(count):
        total = np.zeros(GRID.size)
        for camera in CAMERAS:
            start = round((arrays[f"{camera}_WAVELENGTH"][0] - GRID[0]) / 0.8)
            piece = slice(start, start + arrays[f"{camera}_WAVELENGTH"].size)
            ivar = np.where(arrays[f"{camera}_MASK"][row] == 0, arrays[f"{camera}_IVAR"][row], 0)
            total[piece] += arrays[f"{camera}_FLUX"][row] * ivar
            weight[row, piece] += ivar
        good = weight[row] > 0
        flux[row] = np.where(good, total / np.where(good, weight[row], 1), 0)
    return flux, weight


def write_coadd(path: Path, count: int) -> Path:
    generator = np.random.default_rng(0)
    table = fits.BinTableHDU.from_columns(
        [
            fits.Column("TARGETID", "K", array=np.arange(count)),
            fits.Column("COADD_FIBERSTATUS", "J", array=np.zeros(count)),
        ],
        name="FIBERMAP",
    )
    hdus = [fits.PrimaryHDU(), table]
    for camera, (first, pixels) in CAMERAS.items():
        hdus += [
            fits.ImageHDU(first + 0.8 * np.arange(pixels), name=f"{camera}_WAVELENGTH"),
            fits.ImageHDU(generator.standard_normal((count, pixels)).astype(np.float32), name=f"{camera}_FLUX"),
            fits.ImageHDU(generator.uniform(1, 2, (count, pixels)).astype(np.float32), name=f"{camera}_IVAR"),
            fits.ImageHDU((generator.random((count, pixels)) < 0.01).astype(np.uint32), name=f"{camera}_MASK"),
            fits.ImageHDU(np.ones((count, 11, pixels), np.float32), name=f"{camera}_RESOLUTION"),
        ]
    fits.HDUList(hdus).writeto(path)
    return path


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--file", type=Path, help="a coadd-*.fits")
    parser.add_argument("--spectra", type=int, default=500)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--scratch", type=Path, help="where a file is written")
    return parser.parse_args()


if __name__ == "__main__":
    main()
