"""`inspect --verify` of embeddings, forecasts, catalogues and Parquet files, by the hashes written with them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from polycli.checkpoints.calibration import SUFFIX, read_calibration
from polycli.errors import SourceError, StoreError
from polycli.files.fits_files import open_fits
from polycli.inspection.finding import FORECAST
from polycli.store.embeddings.manifest import FORMAT, MANIFEST_NAME, METADATA_KEY, PARQUET_SEAL_KEY, SEAL_KEY
from polycli.store.manifest import MANIFEST_NAME as STORE_MANIFEST
from polycli.store.sealing import FITS_SEAL, FITS_VERSION, HDF5_SEAL, check_entries, check_seal

_AGAIN = "make it again"
_PARQUET, _HDF5 = b"PAR1", b"\x89HDF\r\n\x1a\n"
_FITS = b"SIMPLE"
_FIRST_SEALED_VERSION = 2


def verify_content(path: Path) -> str | None:
    """Read all of `path` and compare it with its hashes; returns what to say of it, None where this is not its kind.

    A damage may hide what kind a file was, so kinds are told apart by less than a whole manifest.

    Raises:
        StoreError: something is missing or was changed.
    """
    check = _check_for(path)
    sealed = None if check is None else check(path)
    if sealed is None:
        return None
    if sealed:
        return "every file has the hash that was written with it"
    return "no hash was written with it; all of it can be read"


def _check_for(path: Path) -> Callable[[Path], bool | None] | None:
    if path.name.endswith(SUFFIX) and path.is_file():
        return _check_calibration
    if path.is_file():
        with path.open("rb") as file:
            start = file.read(len(_HDF5))
            file.seek(max(0, path.stat().st_size - len(_PARQUET)))
            end = file.read()
        if start.startswith(_PARQUET) or end == _PARQUET:
            return _check_parquet
        if start.startswith(_FITS):
            return _check_fits
        return _check_hdf5 if start == _HDF5 or path.suffix in {".h5", ".hdf5"} else None
    if (path / MANIFEST_NAME).is_file():
        return _check_folder
    group = path / "zarr.json"
    is_ours = group.is_file() and not (path / STORE_MANIFEST).exists() and b"polycli" in group.read_bytes()
    return _check_folder if is_ours else None


def _check_calibration(path: Path) -> bool:
    """Always True, for a calibration has a hash of itself, which is compared where it is read."""
    read_calibration(path)
    return True


def _check_folder(path: Path) -> bool:
    """Whether a folder or a zarr group, whose manifest is read, has hashes; if it has them, they hold."""
    place = path / MANIFEST_NAME
    if not place.is_file():
        place = path / "zarr.json"
    try:
        document = json.loads(place.read_text(encoding="utf-8"))
        attributes = document if place.name == MANIFEST_NAME else document["attributes"]
        # Before schema version 2 the attributes themselves were the manifest of some results.
        manifest = attributes.get(METADATA_KEY, attributes)
        known = manifest.get("format") in {FORMAT, FORECAST}
        sealed = _check_seal(place, manifest.get("schema_version", 1), manifest.get(SEAL_KEY))
        files = manifest.get("files") or {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{place}: damaged: it holds no manifest that can be read", hint=_AGAIN) from error
    if not known:
        raise StoreError(f"{place}: damaged: it does not say what it is", hint=_AGAIN)
    check_entries(path, files, hint=_AGAIN)
    if not sealed and not files:
        _read_zarr(path)
    return sealed or bool(files)


def _check_parquet(path: Path) -> bool:
    """Whether a Parquet file has a seal; if it has one, it holds, else the file was read to its end."""
    from pyarrow import ArrowException, parquet

    try:
        with parquet.ParquetFile(path, page_checksum_verification=True) as file:
            metadata = file.metadata.metadata or {}
            about: Mapping[str, Any] = json.loads(metadata.get(METADATA_KEY.encode(), b"{}"))
            seal = metadata.get(PARQUET_SEAL_KEY.encode(), b"").decode()
            sealed = _check_seal(path, about.get("schema_version", 1), seal)
            if not sealed:
                for _ in file.iter_batches():
                    pass
    except (ArrowException, OSError, ValueError, AttributeError) as error:
        raise StoreError(f"{path}: damaged: {error}", hint=_AGAIN) from error
    check_entries(path.parent, about.get("files") or {}, hint=_AGAIN)
    return sealed


def _check_hdf5(path: Path) -> bool | None:
    """Reads every chunk of an HDF5 file, as for Parquet; None for files that polycli did not write."""
    import h5py

    def read(_: str, node: object) -> None:
        if isinstance(node, h5py.Dataset):
            for part in node.iter_chunks() if node.chunks else [...]:
                node[part]

    try:
        with h5py.File(path, "r") as file:
            seal = bytes(file.attrs.get(HDF5_SEAL, b"")).decode()
            version = int(file.attrs.get("schema_version", 1))
            groups = [file, *(node for node in file.values() if isinstance(node, h5py.Group))]
            ours = any(group.attrs.get("format") == FORECAST for group in groups)
            if ours and not seal and version < _FIRST_SEALED_VERSION:
                file.visititems(read)
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise StoreError(f"{path}: damaged: {error}", hint=_AGAIN) from error
    return _check_seal(path, version, seal) if ours or seal else None


def _check_fits(path: Path) -> bool:
    """Whether a FITS file has a seal or, in every part, the format's own checksums; those that it has hold."""
    try:
        with open_fits(path, checksums=True) as file:
            headers = [part.header for part in file]
            cards = {key: header[key] for header in headers for key in (FITS_SEAL, FITS_VERSION) if key in header}
            sums = all("CHECKSUM" in header and "DATASUM" in header for header in headers)
    except SourceError as error:
        raise StoreError(error.message, hint=_AGAIN) from error
    version = cards.get(FITS_VERSION, 1)
    return _check_seal(path, version if isinstance(version, int) else 1, str(cards.get(FITS_SEAL, ""))) or sums


def _check_seal(file: Path, version: int, seal: str | None) -> bool:
    """Whether the file has a seal; if it has one, it holds."""
    if seal:
        check_seal(file, seal, hint=_AGAIN)
    elif version >= _FIRST_SEALED_VERSION:
        raise StoreError(f"{file}: damaged: the hash of its content is not in it", hint=_AGAIN)
    return bool(seal)


def _read_zarr(path: Path) -> None:
    import zarr

    try:
        for _, node in zarr.open_group(path, mode="r").members(max_depth=None):
            if isinstance(node, zarr.Array):
                node[...]
    except (OSError, ValueError, RuntimeError) as error:
        raise StoreError(f"{path}: damaged: {error}", hint=_AGAIN) from error
