"""Spectra as a spectrum encoder takes them: what stands beside their fluxes travels along with these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from jaxtyping import Bool, Float
from torch import Tensor


class SpectrumInputs(NamedTuple):
    """Some spectra; what an encoder does not look at may be None."""

    #: In 1e-17 erg/s/cm2/A.
    flux: Float[Tensor, "b l"]
    #: Inverse variance of the flux.
    ivar: Float[Tensor, "b l"] | None = None
    #: True where a pixel is not to be used.
    mask: Bool[Tensor, "b l"] | None = None
    #: In Angstrom, 0 where a spectrum is padded.
    wavelength: Float[Tensor, "b l"] | None = None

    @classmethod
    def of(cls, batch: Mapping[str, Tensor]) -> SpectrumInputs | None:
        """The spectra of a batch of objects, in which they have these names; None where it has none."""
        if "flux" not in batch:
            return None
        return cls(batch["flux"], batch.get("ivar"), batch.get("mask"), batch.get("wavelength"))
