"""A film of one rollout: truth, model and difference side by side, a row for each field."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from polycli.report.figures import SOFTWARE

#: Pixels of the longer side of a panel, at least; small grids are enlarged by whole factors.
_PANEL = 160
_GAP = 4
_LINE = 14
_MILLISECONDS = 120
_COLUMNS = ("truth", "model", "model - truth")
#: Pixels of the strip under a field's panels that shows its error and its band.
_STRIP = 40
_BAND, _INK, _OUTSIDE = (205, 225, 240), (27, 31, 36), (213, 94, 0)


@dataclass(frozen=True)
class BandStrip:
    """The error of the filmed rollout in one field, and the band that is to hold it, at every step of the rollout."""

    #: The smallest half-width that holds the forecast, by step.
    deviation: NDArray[np.float64]
    #: Of the band, by step.
    half_width: NDArray[np.float64]
    level: float


def write_film(
    folder: Path,
    stem: str,
    *,
    fields: Sequence[str],
    steps: Sequence[int],
    truth: NDArray[np.float32],
    prediction: NDArray[np.float32],
    bands: Sequence[BandStrip] = (),
) -> list[Path]:
    """Write `folder`/stem.gif and, where ffmpeg is installed, stem.mp4; gives the files.

    Args:
        folder: where they go.
        stem: their name.
        fields: names, one for each row.
        steps: numbers of the frames.
        truth: (time, field, x, y).
        prediction: as `truth`; what is not finite is left white.
        bands: for each field, where the model is calibrated; drawn as a strip under its panels.
    """
    scales = [_scale(truth[:, place]) for place in range(truth.shape[1])]
    reaches = [_reach(truth[:, place], prediction[:, place]) for place in range(truth.shape[1])]
    frames = []
    for index, step in enumerate(steps):
        rows = [
            [
                _panel(truth[index, place], *scales[place], "viridis"),
                _panel(prediction[index, place], *scales[place], "viridis"),
                _panel(prediction[index, place] - truth[index, place], -reaches[place], reaches[place], "PuOr_r"),
            ]
            for place in range(len(fields))
        ]
        frames.append(_frame(rows, fields, step, bands))
    gif = folder / f"{stem}.gif"
    # The comment marks the file as ours, as the figures are marked.
    frames[0].save(
        gif, save_all=True, append_images=frames[1:], duration=_MILLISECONDS, loop=0, comment=SOFTWARE.encode()
    )
    return [gif, *_write_mp4(folder / f"{stem}.mp4", frames)]


def _scale(values: NDArray[np.float32]) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _reach(truth: NDArray[np.float32], prediction: NDArray[np.float32]) -> float:
    """The 99.9th percentile of the error, so that one bad pixel does not make the rest white."""
    with np.errstate(invalid="ignore", over="ignore"):
        error = np.abs(prediction - truth)
    finite = error[np.isfinite(error)]
    return max(float(np.quantile(finite, 0.999)) if finite.size else 0.0, 1e-30)


def _panel(values: NDArray[np.float32], low: float, high: float, palette: str) -> Image.Image:
    """One field as a picture, x to the right and y upwards."""
    import matplotlib as mpl

    with np.errstate(invalid="ignore", over="ignore"):
        shares = np.clip((values.T[::-1].astype(np.float64) - low) / (high - low), 0, 1)
    colours = mpl.colormaps[palette](np.ma.masked_invalid(shares), bytes=True)
    colours[~np.isfinite(shares)] = 255
    picture = Image.fromarray(np.ascontiguousarray(colours[..., :3]))
    factor = max(1, round(_PANEL / max(picture.size)))
    return picture.resize((picture.width * factor, picture.height * factor), Image.Resampling.NEAREST)


def _frame(
    rows: Sequence[Sequence[Image.Image]], fields: Sequence[str], step: int, bands: Sequence[BandStrip]
) -> Image.Image:
    width, height = rows[0][0].size
    strip = _STRIP + _GAP if bands else 0
    block = height + _LINE + _GAP + strip
    page = Image.new("RGB", (3 * (width + _GAP) + _GAP, _LINE + len(rows) * block), (255, 255, 255))
    draw = ImageDraw.Draw(page)
    for column, name in enumerate(_COLUMNS):
        text = f"{name}, step {step}" if column == 0 else name
        draw.text((_GAP + column * (width + _GAP), 1), text, fill=(27, 31, 36))
    for row, (panels, field) in enumerate(zip(rows, fields, strict=True)):
        top = _LINE + row * block
        draw.text((_GAP, top), field, fill=(87, 96, 106))
        for column, panel in enumerate(panels):
            page.paste(panel, (_GAP + column * (width + _GAP), top + _LINE))
        if bands:
            page.paste(_strip(bands[row], page.width - 2 * _GAP, step), (_GAP, top + _LINE + height + _GAP))
    return page


def _strip(band: BandStrip, width: int, step: int) -> Image.Image:
    """The error up to `step` as a line over the band as an area, step 1 at the left; outside the band it is orange.

    Upwards is logarithmic, because errors of rollouts grow by factors.
    """
    picture = Image.new("RGB", (width, _STRIP), (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    count = min(len(band.deviation), len(band.half_width))
    known = np.concatenate([band.deviation[:count], band.half_width[:count]])
    logarithms = np.log(known[np.isfinite(known) & (known > 0)])
    low, high = (float(logarithms.min()), float(logarithms.max())) if logarithms.size else (0.0, 1.0)
    places = np.linspace(0, width - 1, max(count, 2))

    def height(value: float) -> float:
        if not value > 0:
            return float(_STRIP - 1)
        share = (np.log(value) - low) / max(high - low, 1e-12) if np.isfinite(value) else 1.0
        return float((_STRIP - 1) * (0.9 - 0.8 * np.clip(share, 0, 1)))

    area = [(places[index], height(band.half_width[index])) for index in range(count)]
    draw.polygon([(0, _STRIP), *area, (places[count - 1], _STRIP)], fill=_BAND)
    for index in range(1, min(step, count)):
        inside = band.deviation[index] <= band.half_width[index]
        line = [(places[at], height(band.deviation[at])) for at in (index - 1, index)]
        draw.line(line, fill=_INK if inside else _OUTSIDE, width=2)
    if step <= count:
        at, now = places[step - 1], height(band.deviation[step - 1])
        draw.ellipse([at - 2, now - 2, at + 2, now + 2], fill=_INK)
    draw.text((2, 1), f"error (line) and band of {100 * band.level:g} %, logarithmic", fill=(87, 96, 106))
    return picture


def _write_mp4(file: Path, frames: Sequence[Image.Image]) -> list[Path]:
    """The film as MP4; nothing where ffmpeg is not installed or, as builds without the codec, cannot write it."""
    if shutil.which("ffmpeg") is None:
        return []
    # Even sizes, which the codec asks for.
    width, height = (size - size % 2 for size in frames[0].size)
    line = f"ffmpeg -loglevel error -y -f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {1000 / _MILLISECONDS:g} -i -"
    line += " -pix_fmt yuv420p -metadata"
    data = b"".join(frame.crop((0, 0, width, height)).tobytes() for frame in frames)
    done = subprocess.run(
        [*line.split(), f"comment={SOFTWARE}", str(file)], input=data, capture_output=True, check=False
    )
    if done.returncode == 0:
        return [file]
    file.unlink(missing_ok=True)
    return []
