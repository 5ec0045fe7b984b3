"""Files that predict and embed are given, as the sources of prepare read them, and the older layout of array files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polycli.mpp.data.source import Dataset, named
from polycli.mpp.recipe.arrays import ArraysSection, Axis
from polycli.mpp.recipe.settings import ReadingSettings
from polycli.mpp.recipe.training import PrepareRecipe
from polycli.mpp.sources.array_files import open_arrays
from polycli.mpp.sources.arrays import ArraysSource
from polycli.mpp.sources.pdebench import PdebenchSource
from polycli.workflow.sources import find_source, load_source

#: Time between frames, where nothing tells: a forecast then counts frames.
_ASSUMED_DT = 1.0
#: What predict took arrays for before they could be described.
_OLDER: dict[int, tuple[Axis, ...]] = {
    4: ("time", "field", "x", "y"),
    5: ("trajectory", "time", "field", "x", "y"),
}
_OLDER_NAME = "fields"


def open_datasets(
    paths: Sequence[Path], settings: ReadingSettings, limit: int | None, known_fields: Sequence[str]
) -> list[Dataset]:
    """The datasets that files and folders hold: of array files in the older layout one each, of all others as prepare.

    Lines that are proposed prefer `known_fields`, those of the checkpoint.

    Raises:
        SourceError: no source reads a path, different ones would, or something is not said of an array.
    """
    section = settings.described
    older = {path: axes for path in paths if (axes := _older_axes(path, section, settings.source)) is not None}
    found: list[Dataset] = []
    for path, axes in older.items():
        whole = section.model_copy(update={"axes": axes, "array": section.array or _older_array(path)})
        found += ArraysSource(_ASSUMED_DT, known_fields).open([path], _recipe(settings, whole), limit)
    others = [path for path in paths if path not in older]
    if others:
        name = settings.source or ("arrays" if section != ArraysSection() else find_source("mpp", others))
        source = ArraysSource(_ASSUMED_DT, known_fields) if name == "arrays" else load_source("mpp", name)
        datasets: list[Dataset] = source.open(others, _recipe(settings, section), limit)
        found += datasets if settings.dataset.name is None else named(datasets, settings.dataset.name)
    return found


def _recipe(settings: ReadingSettings, section: ArraysSection) -> PrepareRecipe:
    return PrepareRecipe(family="mpp", verb="prepare", arrays=section, dataset=settings.dataset, well=settings.well)


def _older_array(path: Path) -> str | None:
    return None if path.suffix.lower() == ".npy" else _OLDER_NAME


def _older_axes(path: Path, section: ArraysSection, source: str | None) -> tuple[Axis, ...] | None:
    """The axes of the one array of an npy file, or of `fields` in HDF5, where the settings do not say them."""
    if section.axes or isinstance(section.fields, dict) or section.array not in {None, _OLDER_NAME} or source:
        return None
    if path.is_dir() or not ArraysSource().accepts(path) or path.suffix.lower() == ".npz":
        return None
    if path.suffix.lower() != ".npy" and PdebenchSource().accepts(path):
        return None
    with open_arrays(path) as file:
        info = file.arrays.get(_older_array(path) or path.stem)
        return None if info is None else _OLDER.get(len(info.shape))
