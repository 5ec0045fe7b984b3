"""A picture of what is at a path, `polycli inspect PATH --figure OUT.png`: images, curves, or how values spread."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from polycli.errors import UserError
from polycli.families import find_family
from polycli.files.plain import open_plain, reason_of
from polycli.inspection.contents.head import read_head
from polycli.inspection.finding import FORECAST
from polycli.names import without_formulas
from polycli.references import resolve

#: Panels of a figure, bytes of an array that is drawn, rows whose values are counted, and points of a curve.
_MOST_PANELS, _LARGEST, _ROWS, _POINTS = 12, 2**28, 100_000, 2000
#: An image has at least so many points along both axes.
_SMALLEST_IMAGE = 8


@dataclass(frozen=True)
class Panel:
    """One picture: an image (H, W) or (H, W, 3), a curve, or numbers whose spread is shown."""

    title: str
    values: NDArray[Any]
    #: Along a curve; None for its place.
    x: NDArray[np.float64] | None = None
    labels: tuple[str, str] = ("", "")
    spread: bool = False


def draw(path: Path, file: Path) -> int:
    """Draw what is at `path` into `file`; returns how many panels there are.

    Raises:
        UserError: there is nothing that can be drawn, or the file has another ending than a picture's.
    """
    if file.suffix.lower() != ".png":
        raise UserError(f"--figure {file}: a name that ends in .png was expected")
    if not file.absolute().parent.is_dir():
        raise UserError(f"{file.absolute().parent}: no such folder", hint=f"mkdir -p {file.absolute().parent}")
    panels = _panels(path)[:_MOST_PANELS]
    if not panels:
        raise UserError(f"{path}: polycli finds nothing in it to draw", hint=f"polycli inspect {path} says what it is")
    from polycli.report.figures import drawing

    columns = min(4, len(panels))
    rows = math.ceil(len(panels) / columns)
    with drawing(file, (3.2 * columns, 2.8 * rows)) as figure:
        for place, panel in enumerate(panels):
            _draw(figure.add_subplot(rows, columns, place + 1), panel)
    return len(panels)


def _draw(axis: Any, panel: Panel) -> None:  # noqa: ANN401  # matplotlib is not typed for strict mypy.
    axis.set_title(without_formulas(panel.title))
    if panel.spread:
        axis.hist(panel.values, bins=min(50, max(5, math.isqrt(len(panel.values)))))
        axis.set_ylabel("rows")
    elif panel.values.ndim == 1:
        axis.plot(np.arange(len(panel.values)) if panel.x is None else panel.x, panel.values, linewidth=0.8)
        axis.set_xlabel(panel.labels[0])
        axis.set_ylabel(panel.labels[1])
    else:
        shown = axis.imshow(panel.values, origin="upper" if panel.values.ndim == 3 else "lower")
        axis.set_xticks([])
        axis.set_yticks([])
        if panel.values.ndim == 2:
            axis.figure.colorbar(shown, ax=axis, shrink=0.8)


def _panels(path: Path) -> list[Panel]:
    if path.is_dir():
        if (path / "MANIFEST.json").is_file():
            return _of_store(path)
        return _of_forecasts(path) or _of_columns(path)
    with open_plain(path) as file:
        start = file.read(16)
    for recognises, reads in _READERS:
        if recognises(start, path):
            arrays = reads(path)
            return [panel for name, values in arrays for panel in _of_array(name, values)] or _of_columns(path)
    return _of_columns(path)


def _of_store(path: Path) -> list[Panel]:
    """A store's pictures as its family shows them; else the first and the last frame of its first row."""
    from polycli.store.reader import open_store

    store = open_store(path)
    family = find_family(store.manifest.family)
    if family.pictures is not None:
        pictures = resolve(family.pictures)(store)
        count = min(4, store.manifest.rows)
        ids = store.row_ids(np.arange(count))
        found = [Panel(ids[row], pictures.image(row)) for row in range(count) if pictures.has_images]
        for row in range(count if pictures.has_curves else 0):
            curve = pictures.curve(row).shortened(_POINTS)
            found.append(Panel(ids[row], curve.y, curve.x, (curve.x_label, curve.y_label)))
        return found
    frames = store.manifest.arrays.get("fields")
    if frames is None or len(frames.shape) != 5 or not store.manifest.rows:
        return _of_columns(path)
    values = store.read_rows("fields", [0])[0]
    return _of_frames(values, store.manifest.about.get("fields") or [f"field {n}" for n in range(values.shape[1])])


def _of_forecasts(path: Path) -> list[Panel]:
    """Return the first and the last frame of the first trajectory of each dataset that `predict` wrote; else nothing.

    Raises:
        UserError: frames cannot be read.
    """
    if not any((path / mark).is_file() for mark in ("zarr.json", ".zgroup")):
        return []
    import zarr

    panels = []
    try:
        root = zarr.open(path, mode="r")
        groups = [root, *(group for _, group in sorted(root.groups()))] if isinstance(root, zarr.Group) else []
        for group in groups:
            frames = group.get("fields") if group.attrs.get("format") == FORECAST else None
            if isinstance(frames, zarr.Array) and frames.ndim == 5 and all(frames.shape):
                # Of the first trajectory, no more than is drawn.
                ends = np.stack([np.asarray(frames[0, 0]), np.asarray(frames[0, -1])])
                names = [str(name) for name in cast("Sequence[object]", group.attrs["field_names"])]
                panels += _of_frames(ends, names, frames.shape[1])
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise UserError(
            f"{path}: cannot be read: {reason_of(error)}", hint="polycli inspect --verify says more"
        ) from error
    return panels


def _of_frames(values: NDArray[Any], names: Sequence[str], count: int | None = None) -> list[Panel]:
    """Return the first and the last frame of (time, field, x, y), of which `count` were before some were left out."""
    last = (len(values) if count is None else count) - 1
    return [
        Panel(f"{name}, frame {frame}", values[0 if frame == 0 else -1, place].T)
        for place, name in enumerate(names)
        for frame in dict.fromkeys((0, last))
    ]


def _of_array(name: str, values: NDArray[Any]) -> list[Panel]:
    """Images of an array: its two longest axes, the first and the last place along the others; a curve of one axis."""
    if values.dtype.kind not in "biuf" or values.size == 0:
        return []
    values = np.squeeze(values)
    if values.ndim == 1:
        return [Panel(name, values[:: math.ceil(len(values) / _POINTS)].astype(np.float64))] if len(values) > 1 else []
    if values.ndim < 2:
        return []
    axes = sorted(sorted(range(values.ndim), key=lambda axis: (values.shape[axis], axis))[-2:])
    if min(values.shape[axis] for axis in axes) < _SMALLEST_IMAGE:
        return [Panel(f"{name}, all values", _finite(values), spread=True)]
    images = np.moveaxis(values, axes, (-2, -1)).reshape(-1, *(values.shape[axis] for axis in axes))
    return [
        Panel(name if len(images) == 1 else f"{name}, {place + 1} of {len(images)}", images[place].astype(np.float64))
        for place in dict.fromkeys((0, len(images) - 1))
    ]


def _of_columns(path: Path) -> list[Panel]:
    """The spread of each column of numbers."""
    head = read_head(path, _ROWS)
    panels = []
    for name, values in head.columns.items():
        try:
            numbers = np.array([np.nan if value is None else value for value in values], np.float64)
        except (TypeError, ValueError):
            continue
        if numbers.ndim == 1 and name != "row" and len(known := _finite(numbers)):
            panels.append(Panel(name, known, spread=True))
    return panels


def _finite(values: NDArray[Any]) -> NDArray[np.float64]:
    numbers = values.astype(np.float64).ravel()
    return numbers[np.isfinite(numbers)]


def _small(size: int) -> bool:
    return size <= _LARGEST


def _hdf5(path: Path) -> list[tuple[str, NDArray[Any]]]:
    import h5py

    from polycli.files.hdf5 import open_hdf5

    found: list[tuple[str, NDArray[Any]]] = []
    with open_hdf5(path) as file:

        def note(name: str, node: object) -> bool | None:
            if isinstance(node, h5py.Dataset) and node.ndim >= 2:
                # Of many rows the first and the last are drawn.
                part = node if _small(node.nbytes) else node[[0, node.shape[0] - 1]]
                if _small(part.nbytes):
                    found.append((name, np.asarray(part[...])))
            return True if len(found) >= _MOST_PANELS else None

        file.visititems(note)
    return found


def _fits(path: Path) -> list[tuple[str, NDArray[Any]]]:
    from polycli.files.fits_files import open_fits

    with open_fits(path) as units:
        return [
            (unit.name or f"HDU {place}", np.asarray(unit.data))
            for place, unit in enumerate(units)
            if not hasattr(unit, "columns") and unit.header.get("NAXIS", 0) and _small(unit.size * 8)
        ]


def _numpy(path: Path) -> list[tuple[str, NDArray[Any]]]:
    from polycli.files.numpy_files import npz_headers, open_npy, read_npz

    if path.suffix != ".npz":
        array = open_npy(path)
        return [(path.stem, np.asarray(array))] if _small(array.nbytes) else [(path.stem, np.asarray(array[[0, -1]]))]
    headers = npz_headers(path).items()
    sizes = {name: header.dtype.itemsize * math.prod(header.shape) for name, header in headers}
    kinds = {name: header.dtype.kind for name, header in headers}
    return [(name, read_npz(path, name)) for name, size in sizes.items() if _small(size) and kinds[name] in "biuf"]


_READERS: Sequence[tuple[Callable[[bytes, Path], bool], Callable[[Path], list[tuple[str, NDArray[Any]]]]]] = (
    (lambda start, path: start.startswith(b"\x89HDF\r\n\x1a\n") or path.suffix in {".h5", ".hdf5"}, _hdf5),
    (lambda start, _: start.startswith(b"SIMPLE  ="), _fits),
    (lambda start, path: start.startswith(b"\x93NUMPY") or path.suffix == ".npz", _numpy),
)
