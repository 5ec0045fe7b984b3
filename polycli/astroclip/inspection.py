"""Tells `polycli inspect` about AstroCLIP's stores and the published encoders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from polycli.families import Inspector

if TYPE_CHECKING:
    from torch import Tensor


#: Objects whose columns are read to tell their ranges.
_MOST_OBJECTS = 1_000_000


def _values(known: NDArray[Any]) -> str:
    if len(known) == 0:
        return "no value"
    if known.dtype == object:
        return f"texts such as {known[0]!r}"
    if known.dtype.kind == "b":
        return f"{int(known.sum())} true, {int((~known).sum())} false"
    if known.dtype.kind in "iu":
        return f"{known.min()} to {known.max()}"  # Ids have more digits than `g` writes.
    return f"{known.min():g} to {known.max():g}"


def _bits(quality: NDArray[Any], bits: dict[str, int]) -> str:
    """Names the bits that some objects have, with their number."""
    from polycli.astroclip.data.judging.flags import names_of_bits

    found = names_of_bits(quality, bits)
    said = ", ".join(f"{name} ({bits[name]}) of {count:,}" for name, count in found.items())
    return f"{said or 'no bit set'}, of {len(quality):,} objects"


class AstroclipInspector(Inspector):
    """Facts of this family, by their names."""

    def store(self, about: Mapping[str, Any]) -> Mapping[str, object]:
        """Bands and size of the images, wavelengths of the spectra, properties, and how the two were paired."""
        image, spectrum, pairing = (about.get(name) or {} for name in ("image", "spectrum", "pairing"))
        return {
            "images": image and f"{''.join(image['bands'])}, {' x '.join(map(str, image['size']))} [{image['unit']}]",
            "spectra": spectrum
            and f"{'at most ' if spectrum.get('own') else ''}{spectrum['pixels']} pixels, {spectrum['first']:g} to "
            f"{spectrum['last']:g} {spectrum['wavelength_unit']} [{spectrum['flux_unit']}]"
            f"{', each on wavelengths of its own' if spectrum.get('own') else ''}",
            "properties": [
                f"{entry['name']} [{entry['unit']}]" if entry["unit"] else entry["name"]
                for entry in about.get("properties", ())
            ],
            "paired by": pairing and f"{pairing['by']}: {pairing['pairs']} pairs",
        }

    def columns(self, store: Path) -> Mapping[str, str]:
        """Each column's unit, range of known values, and how many objects have none, of the first million objects."""
        from polycli.astroclip.data.description import OWN_COLUMNS
        from polycli.astroclip.data.store import open_objects

        objects = open_objects(store)
        rows = range(min(len(objects), _MOST_OBJECTS))
        units = {**OWN_COLUMNS, **{entry.name: entry.unit for entry in objects.about.properties}}
        found = {}
        for name in objects.columns:
            values = objects.column(name, rows)
            known = np.ma.compressed(values) if isinstance(values, np.ma.MaskedArray) else values
            if values.dtype.kind == "f":
                known = known[np.isfinite(known)]
            if values.dtype == object:
                known = np.array([value for value in known if value != ""], dtype=object)
            if name == "quality":
                found[name] = _bits(values, objects.about.quality)
                continue
            gaps = len(values) - len(known)
            unit = f" [{units[name]}]" if units.get(name) else ""
            said = _values(known)
            found[name] = f"{said}{unit}{f', {gaps} of {len(values)} unknown' if gaps else ''}"
        return found

    def rows(self, store: Path, count: int) -> Mapping[str, Sequence[object]]:
        """All columns of the first objects."""
        from polycli.astroclip.data.store import open_objects

        columns: Mapping[str, Sequence[object]] = open_objects(store).table(range(count)).to_pydict()
        return columns

    def tensors(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Describes the sizes of the encoders; None where the tensors are of no such model."""
        from polycli.astroclip.model.published_names import infer_section, our_names

        try:
            section = infer_section(our_names(tensors))
        except (KeyError, ValueError, IndexError):
            return None  # Some of the names are ours by chance.
        sizes = {part: values for part, values in section.items() if part != "heads"}
        if not sizes:
            return None
        return "; ".join(
            f"{part} {', '.join(f'{name} {value}' for name, value in values.items())}" for part, values in sizes.items()
        )
