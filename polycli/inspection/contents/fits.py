"""FITS files: every HDU with its kind, shape and unit, and the columns of its tables with theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from polycli.files.fits_files import open_fits
from polycli.inspection.contents.listing import listing
from polycli.inspection.finding import Finding, byte_size, describe
from polycli.names import clean


def describe_fits(path: Path) -> Finding:
    """Lists the HDUs of a file and, by the name of its table, each column.

    Raises:
        SourceError: it is truncated or damaged.
    """
    parts: dict[str, str] = {}
    columns: dict[str, list[str]] = {}
    shapes = []
    with open_fits(path) as units:
        for place, unit in enumerate(units):
            name = f"{place} {clean(unit.name)}".rstrip()
            parts[name] = _described(unit)
            shapes.append(f"{unit.name or place} {' x '.join(map(str, getattr(unit, 'shape', ())))}".strip())
            if hasattr(unit, "columns"):
                columns[name] = [_column(column) for column in unit.columns]
    facts: dict[str, object] = {"size": byte_size(path.stat().st_size)}
    document = {
        "kind": "a FITS file",
        "path": str(path),
        **facts,
        "extensions": shapes,
        **({"columns": columns} if columns else {}),
    }
    finding = listing(describe(path, "a FITS file", facts, document), "HDUs", parts)
    for name, found in columns.items():
        split = (text.partition(" ") for text in found)
        finding = listing(finding, f"columns of {name}", {column: about for column, _, about in split})
    return finding


def _described(unit: Any) -> str:  # noqa: ANN401  # astropy has no types.
    header = unit.header
    if hasattr(unit, "columns"):
        return f"table, {header.get('NAXIS2', 0)} rows of {len(unit.columns)} columns"
    shape = " x ".join(str(header[f"NAXIS{axis}"]) for axis in range(int(header.get("NAXIS", 0)), 0, -1))
    if not shape:
        return f"no data, {len(header)} cards"
    bits = header.get("BITPIX", 0)
    kind = f"{'float' if bits < 0 else 'int'}{abs(bits)}"
    unit_of_pixels = f" [{clean(header['BUNIT'])}]" if header.get("BUNIT") else ""
    return f"image, {shape} {kind}{unit_of_pixels}"


def _column(column: Any) -> str:  # noqa: ANN401
    unit = f" [{clean(column.unit)}]" if column.unit else ""
    return f"{clean(column.name)} {column.format}{unit}"
