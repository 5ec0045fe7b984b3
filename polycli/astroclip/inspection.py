"""Tells `polycli inspect` about AstroCLIP's stores and the published encoders."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from polycli.families import Inspector

if TYPE_CHECKING:
    from torch import Tensor


class AstroclipInspector(Inspector):
    """Facts of this family, by their names."""

    def store(self, about: Mapping[str, Any]) -> Mapping[str, object]:
        """Bands and size of the images, wavelengths of the spectra, properties, and how the two were paired."""
        image, spectrum, pairing = (about.get(name) or {} for name in ("image", "spectrum", "pairing"))
        return {
            "images": image and f"{''.join(image['bands'])}, {' x '.join(map(str, image['size']))} [{image['unit']}]",
            "spectra": spectrum
            and f"{spectrum['pixels']} pixels, {spectrum['first']:g} to {spectrum['last']:g} "
            f"{spectrum['wavelength_unit']} [{spectrum['flux_unit']}]",
            "properties": [
                f"{entry['name']} [{entry['unit']}]" if entry["unit"] else entry["name"]
                for entry in about.get("properties", ())
            ],
            "paired by": pairing and f"{pairing['by']}: {pairing['pairs']} pairs",
        }

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
