"""The objects that predict, embed and search are asked for: those of stores, and of files, which are prepared first."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from polycli.astroclip.data.preparation import ObjectPreparation
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.recipe.settings import ReadingSettings
from polycli.errors import StoreError, UserError
from polycli.outputs import is_zarr
from polycli.paths import expand_paths
from polycli.requests import EmbedRequest, PredictRequest, PrepareRequest
from polycli.store.reader import find_stores
from polycli.workflow.sources import find_source
from polycli.workflow.stores import open_stores


def open_data(request: PredictRequest | EmbedRequest, settings: ReadingSettings, *, scratch: Path) -> list[ObjectStore]:
    """The stores of the data; source files are prepared first, in `scratch`, as prepare would, and then forgotten."""
    paths = expand_paths(request.data)
    files = [path for path in paths if not _holds_stores(path)]
    found = [path for path in paths if path not in files]
    stores = find_stores(found, family="astroclip") if found or not files else []
    if files:
        if request.split is not None:
            raise UserError(
                f"--split {request.split}: {files[0]} is not a store, and files have no splits",
                hint="leave --split out",
            )
        source = settings.source or find_source("astroclip", files)
        target = scratch / f"{files[0].stem}.zarr"
        wanted = PrepareRequest(source=source, inputs=tuple(files), output=target, limit=request.limit)
        stores = [*stores, *ObjectPreparation(wanted, settings.recipe).make()]
    opened = open_stores(stores, family="astroclip", verify="auto", by_name=False)
    return [ObjectStore(store) for store in opened]


def chosen_rows(store: ObjectStore, request: PredictRequest | EmbedRequest) -> NDArray[np.int64]:
    """(n,) the rows of a store that a request is about.

    Raises:
        StoreError: there are none.
    """
    rows = store.rows(request.split)[: request.limit]
    if len(rows) == 0:
        raise StoreError(
            f"{store.path}: no object is in the split {request.split}; there are {dict(store.manifest.splits)}",
            hint="choose another --split",
        )
    return rows


def _holds_stores(path: Path) -> bool:
    """Whether a path is a store or another zarr, or a folder with such in it."""
    return path.is_dir() and any(is_zarr(place) for place in (path, *path.iterdir()))
