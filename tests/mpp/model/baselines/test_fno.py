"""The Fourier neural operator, against a sum over modes written out, and what any operator of its kind must do."""

import math

import pytest
import torch

from polycli.errors import UserError
from polycli.mpp.model.baselines.fno import FourierOperator, SpectralConvolution
from polycli.mpp.recipe.networks import FnoSection

FIELDS = ("a.one", "a.two", "b.three")
PERIODIC, WALLS = torch.tensor([[1, 1]]), torch.tensor([[0, 0]])


def operator(**changes) -> FourierOperator:
    torch.manual_seed(3)
    sizes = {"width": 6, "modes": 3, "blocks": 2, "history": 3, "fields": FIELDS, "positions": False}
    return FourierOperator(FnoSection(kind="fno", **sizes | changes)).double().eval()


def by_direct_sum(layer: SpectralConvolution, x: torch.Tensor) -> torch.Tensor:
    """Every kept wave of the input by its own sum, times its matrix, times the wave."""
    height, width = x.shape[1:3]
    rows, columns = torch.meshgrid(torch.arange(height).double(), torch.arange(width).double(), indexing="ij")
    total = torch.zeros(*x.shape, dtype=torch.float64)
    lowest, highest = min(layer.modes, height // 2), min(layer.modes, width // 2)
    for along_h in range(-lowest, lowest):
        for along_w in range(highest + 1):
            wave = torch.exp(2j * math.pi * (along_h * rows / height + along_w * columns / width))
            coefficient = torch.einsum("bhwd,hw->bd", x.to(wave.dtype), wave.conj()) / (height * width)
            matrix = torch.complex(
                layer.real[layer.modes + along_h, along_w], layer.imaginary[layer.modes + along_h, along_w]
            )
            term = torch.einsum("bd,do,hw->bhwo", coefficient, matrix, wave)
            # A real field holds a wave and its mirror image; those that are their own mirror along W stand once.
            total += term.real * (1 if along_w == 0 or 2 * along_w == width else 2)
    return total + layer.bias


@pytest.mark.parametrize("grid", [(12, 10), (9, 15), (4, 12), (6, 6)])
def test_the_spectral_convolution_is_the_sum_over_its_modes(grid):
    torch.manual_seed(0)
    layer = SpectralConvolution(3, 4).double()
    torch.nn.init.normal_(layer.bias)
    x = torch.randn(2, *grid, 3, dtype=torch.float64)
    torch.testing.assert_close(layer(x), by_direct_sum(layer, x))


def test_wavenumbers_beyond_the_modes_do_not_pass():
    layer = SpectralConvolution(1, 3).double()
    place = 2 * math.pi * torch.arange(16, dtype=torch.float64) / 16
    high = torch.cos(5 * place)[None, :, None, None].expand(1, 16, 16, 1)
    assert layer(high).abs().max() < 1e-12
    assert layer(torch.cos(2 * place)[None, :, None, None].expand(1, 16, 16, 1)).abs().max() > 1e-3


def test_a_finer_grid_of_the_same_field_gives_the_same_result():
    layer = SpectralConvolution(1, 3).double()

    def wave(points):
        place = 2 * math.pi * torch.arange(points, dtype=torch.float64) / points
        return (torch.cos(place[:, None] + 2 * place[None]) + 0.3)[None, ..., None]

    torch.testing.assert_close(layer(wave(36))[:, ::3, ::3], layer(wave(12)))


@pytest.mark.parametrize("grid", [(12, 12), (9, 14)])
def test_without_positions_it_commutes_with_shifts_of_a_periodic_grid(grid):
    model = operator()
    x, labels = torch.randn(2, 3, 2, *grid, dtype=torch.float64), torch.tensor([0, 2])
    bcs = PERIODIC.expand(2, 2)
    shifted = model(x.roll((2, 5), (3, 4)), labels, bcs)
    torch.testing.assert_close(shifted, model(x, labels, bcs).roll((2, 5), (2, 3)))
    with_positions = operator(positions=True)
    moved = with_positions(x.roll((2, 5), (3, 4)), labels, bcs)
    assert (moved - with_positions(x, labels, bcs).roll((2, 5), (2, 3))).abs().max() > 1e-3


def test_samples_of_one_batch_with_other_sides_get_what_they_get_alone():
    model = operator(positions=True)
    x, labels = torch.randn(4, 3, 2, 10, 8, dtype=torch.float64), torch.tensor([0, 2])
    bcs = torch.tensor([[1, 1], [0, 0], [2, 1], [1, 1]])
    together = model(x, labels, bcs)
    for sample in range(4):
        alone = model(x[sample : sample + 1], labels, bcs[sample : sample + 1])
        torch.testing.assert_close(together[sample : sample + 1], alone)
    rows = model(x, labels.expand(4, 2), bcs)
    torch.testing.assert_close(rows, together)


def test_a_wall_is_no_periodic_side():
    model = operator()
    x, labels = torch.randn(1, 3, 3, 12, 12, dtype=torch.float64), torch.arange(3)
    assert (model(x, labels, PERIODIC) - model(x, labels, WALLS)).abs().max() > 1e-3


def test_fewer_frames_than_it_has_weights_for_are_the_latest_ones():
    model = operator()
    # The weights of the last frame come first, so that cutting the others away leaves a model of a shorter history.
    short = operator(history=1)
    tensors = model.state_dict()
    tensors["lifting.frames"] = tensors["lifting.frames"][:1]
    short.load_state_dict(tensors)
    x, labels = torch.randn(1, 1, 3, 8, 8, dtype=torch.float64), torch.arange(3)
    torch.testing.assert_close(model(x, labels, PERIODIC), short(x, labels, PERIODIC))
    with pytest.raises(UserError, match="4 frames of context; this network has weights for 3 at most"):
        model(torch.randn(1, 4, 3, 8, 8), labels, PERIODIC)
