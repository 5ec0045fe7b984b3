"""SpecFormer on grids of their own: padding and grid change little or nothing, and the published form is as it was."""

import pytest
import torch

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.masking import chunk_mask
from polycli.astroclip.recipe.model import HeadSection, ModelSection, SpectrumSection
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.training.objectives import MaskedModelling
from polycli.errors import UserError

SIZES = {"embed_dim": 32, "depth": 2, "num_heads": 4, "grid": "native"}
LINES = (3728.8, 4862.7, 4960.3, 5008.2, 6564.6, 6718.3)


def network(*, heads=False, **sizes):
    torch.manual_seed(0)
    head = HeadSection(embed_dim=16, num_heads=2) if heads else None
    return AstroClip(ModelSection(spectrum=SpectrumSection(**(SIZES | sizes)), heads=head)).eval()


def galaxy(wavelength, redshift, slope):
    """A continuum with emission lines of 400 km/s, the same function of wavelength on any grid."""
    flux = 3 * (wavelength / 6000) ** slope
    for place, line in enumerate(LINES):
        middle = line * (1 + redshift)
        flux = flux + (2 + place) * torch.exp(-0.5 * ((wavelength - middle) / (middle * 400 / 3e5)) ** 2)
    return flux[None].float()


def relative_errors(found, expected):
    return (found - expected).norm(dim=1) / expected.norm(dim=1)


def linear_grid():
    return torch.arange(3600.0, 9000.0, 0.8, dtype=torch.float64)


def sdss_grid():
    """Pixels of 69 km/s: 0.83 A in the blue and 2.1 A in the red."""
    return 10 ** torch.arange(3.5563, 3.9542, 1e-4, dtype=torch.float64)


@pytest.mark.parametrize("heads", [False, True])
def test_padding_changes_no_vector(heads):
    model = network(heads=heads, inputs=("ivar", "mask"))
    generator = torch.Generator().manual_seed(1)
    flux = torch.randn(3, 437, generator=generator) + 3
    ivar, mask = torch.rand(3, 437, generator=generator), torch.rand(3, 437, generator=generator) < 0.1
    wavelength = torch.linspace(4000, 4400, 437).expand(3, -1)
    pad = torch.nn.functional.pad
    longer = (pad(flux, (0, 90), value=7.0), pad(ivar, (0, 90), value=2.0), pad(mask, (0, 90), value=True))

    with torch.no_grad():
        alone = model.embed_spectrum(flux, ivar, mask, wavelength)
        padded = model.embed_spectrum(*longer, pad(wavelength, (0, 90)))

    assert relative_errors(padded, alone).max() < 1e-6


def test_order_in_the_batch_and_what_masked_pixels_hold_change_no_vector():
    model = network(heads=True)
    wavelength = linear_grid()[:900].float().expand(3, -1)
    flux = torch.randn(3, 900, generator=torch.Generator().manual_seed(2))
    mask = torch.zeros(3, 900, dtype=torch.bool)
    mask[:, 200:300] = True
    order = torch.tensor([2, 0, 1])

    with torch.no_grad():
        vectors = model.embed_spectrum(flux, None, mask, wavelength)
        other = model.embed_spectrum(torch.where(mask, 100.0, flux)[order], None, mask, wavelength)

    assert relative_errors(other, vectors[order]).max() < 1e-6


def test_one_galaxy_on_two_grids_is_nearer_to_itself_than_to_any_other_galaxy():
    model = network()
    seen = [(0.05, -1.0), (0.10, -1.0), (0.20, 0.5), (0.25, 1.0)]

    def vectors(grid):
        with torch.no_grad():
            return torch.cat(
                [model.embed_spectrum(galaxy(grid, *each), None, None, grid.float()[None]) for each in seen]
            )

    one, other = vectors(linear_grid()), vectors(sdss_grid())
    assert torch.nn.functional.cosine_similarity(one, other).min() > 0.99  # measured: 0.9948
    distances = torch.cdist(one, other)
    assert distances.argmin(dim=1).tolist() == [0, 1, 2, 3]
    assert distances.argmin(dim=0).tolist() == [0, 1, 2, 3]


def test_a_spectrum_of_one_value_is_the_same_on_every_grid_but_for_the_places_of_its_ends():
    """Pixels and tokens count by their width, so that a grid that is finer in the blue does not count the blue more."""
    model = network()
    blue = torch.where(linear_grid() < 6000, 1.0, 3.0).float()[None]
    fine = torch.where(sdss_grid() < 6000, 1.0, 3.0).float()[None]

    firsts = []
    for flux, grid in ((blue, linear_grid()), (fine, sdss_grid())):
        backbone = model.spectrum_encoder.specformer
        weight = backbone.weight(flux, None, grid.float()[None])
        firsts.append(backbone.tokens(flux, weight)[0, 0, :2])
        # The shares add up to the logarithmic length of the spectrum, over the usual token's, for twofold overlap.
        share = backbone.pieces(weight, grid.float()[None]).share[0, 1:]
        assert float(share.sum()) * 0.003 / 2 == pytest.approx(float((grid[-1] / grid[0]).log()), rel=0.06)
    torch.testing.assert_close(*firsts, atol=1e-3, rtol=0)


def test_tokens_know_their_wavelength():
    """The same pixels, a thousand Angstrom further on, are another spectrum."""
    model = network()
    grid = linear_grid()[:900].float()[None]
    flux = torch.randn(1, 900, generator=torch.Generator().manual_seed(3))

    with torch.no_grad():
        here, there = (model.embed_spectrum(flux, None, None, grid + shift) for shift in (0, 1000))

    assert (here - there).norm() / here.norm() > 0.01


def test_the_hidden_stretches_and_the_loss_of_a_spectrum_are_those_without_padding():
    model = MaskedModelling(network(), MaskingSection(chunks=3, chunk_length=5)).eval()
    flux = torch.randn(2, 900, generator=torch.Generator().manual_seed(4))
    batch = {
        "flux": flux,
        "mask": torch.zeros(2, 900, dtype=torch.bool),
        "wavelength": linear_grid()[:900].float().expand(2, -1),
        "keys": keys_of(0, torch.arange(2)),
    }
    pad = torch.nn.functional.pad
    padded = {
        **batch,
        "flux": pad(flux, (0, 300)),
        "mask": pad(batch["mask"], (0, 300), value=True),
        "wavelength": pad(batch["wavelength"], (0, 300)),
    }

    with torch.no_grad():
        torch.testing.assert_close(model(padded)[0], model(batch)[0], atol=1e-6, rtol=0)


def test_stretches_of_whole_spectra_are_those_of_the_published_way():
    keys = keys_of(5, torch.arange(50))
    there = torch.ones(50, 120, dtype=torch.bool)
    plain = chunk_mask(keys, 120, chunks=6, chunk_length=7)

    assert torch.equal(chunk_mask(keys, 120, chunks=6, chunk_length=7, there=there), plain)
    later = torch.nn.functional.pad(there, (30, 10))
    moved = chunk_mask(keys, 160, chunks=6, chunk_length=7, there=later)
    assert torch.equal(moved[:, 30:150], plain)
    assert not (moved & ~later).any()


def test_stretches_of_spectra_too_short_for_them_are_half_a_region_and_never_beyond_their_ends():
    """One that is long enough beside them has its stretches as they are asked for."""
    keys = keys_of(5, torch.arange(50))
    there = torch.arange(26) < torch.tensor([24, 20, 4, 2, 0]).repeat(10)[:, None]
    hidden = chunk_mask(keys, 26, chunks=3, chunk_length=7, there=there)
    # Regions of 8 tokens have room for 7, of those of 6 a half is hidden, of those of 1 all.
    assert hidden.sum(dim=1).tolist() == [21, 9, 3, 1, 0] * 10
    assert not (hidden & ~there).any()


def test_wavelengths_are_asked_for_by_name():
    with pytest.raises(UserError, match="own grids, and their wavelengths were not given"):
        network().embed_spectrum(torch.randn(1, 900))
    with pytest.raises(UserError, match=r"wavelengths are \(1, 10\), and the spectra are \(1, 900\)"):
        network().embed_spectrum(torch.randn(1, 900), None, None, torch.ones(1, 10))


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"name": "conv_attention"}, "grid native is of specformer"),
        ({"templates": {}, "inputs": ("ivar",)}, "templates are for one grid of wavelengths"),
        ({"section_length": 1, "section_step": 1}, "a section_length of 2 at least: one pixel has no width"),
    ],
)
def test_what_knows_one_grid_alone_is_refused_by_name(sizes, message):
    with pytest.raises(ValueError, match=message):
        SpectrumSection(grid="native", **sizes)
