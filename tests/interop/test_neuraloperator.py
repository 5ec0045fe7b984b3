"""The neuraloperator package: our Fourier neural operator gives its numbers where it has its weights.

Runs in an environment of its own, `make test-interop`.
"""

import pytest
import torch

from polycli.mpp.model.baselines.fno import FourierOperator, SpectralConvolution
from polycli.mpp.recipe.networks import FnoSection

pytestmark = pytest.mark.interop
#: Along H even numbers of points alone: on odd ones, their 2.0.0 shifts the spectrum forwards where it should shift it
#: back, which moves every wavenumber by one.
GRIDS = [(16, 16), (12, 20), (10, 15), (8, 6)]
FIELDS, HISTORY, WIDTH, MODES, LAYERS = 3, 2, 8, 4, 3


def spectral_weights(convolution) -> tuple[torch.Tensor, torch.Tensor]:
    """Their matrices in our order: by wavenumber first, then input by output."""
    weight = convolution.weight
    dense = weight if torch.is_tensor(weight) else weight.to_tensor()
    ordered = dense.detach().permute(2, 3, 0, 1)
    return ordered.real, ordered.imag


@pytest.mark.parametrize("grid", GRIDS)
def test_a_spectral_convolution_is_theirs_on_any_grid(grid):
    from neuralop.layers.spectral_convolution import SpectralConv

    torch.manual_seed(0)
    theirs = SpectralConv(WIDTH, WIDTH, n_modes=(2 * MODES, 2 * MODES))
    ours = SpectralConvolution(WIDTH, MODES)
    real, imaginary = spectral_weights(theirs)
    assert real.shape == ours.real.shape
    with torch.no_grad():
        ours.real.copy_(real)
        ours.imaginary.copy_(imaginary)
        ours.bias.copy_(theirs.bias.flatten())
    x = torch.randn(2, WIDTH, *grid)
    torch.testing.assert_close(ours(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), theirs(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", GRIDS)
def test_the_whole_operator_is_theirs(grid):
    from neuralop.models import FNO

    torch.manual_seed(0)
    theirs = FNO(
        n_modes=(2 * MODES, 2 * MODES),
        in_channels=HISTORY * FIELDS,
        out_channels=FIELDS,
        hidden_channels=WIDTH,
        n_layers=LAYERS,
    ).eval()
    fields = tuple(f"a.{index}" for index in range(FIELDS))
    section = FnoSection(kind="fno", fields=fields, width=WIDTH, modes=MODES, blocks=LAYERS, history=HISTORY)
    ours = FourierOperator(section).eval()
    copy_weights(theirs, ours)
    x = torch.randn(2, HISTORY, FIELDS, *grid)
    selection = torch.eye(FIELDS)[None]
    with torch.no_grad():
        hidden = ours.hidden(x, selection, torch.ones(2, 2, dtype=torch.long))
        answer = ours.decoded(hidden, selection, grid)
        expected = theirs(x.flatten(1, 2))
    torch.testing.assert_close(answer, expected, rtol=1e-4, atol=1e-5)


def copy_weights(theirs, ours: FourierOperator) -> None:
    """Give our operator their weights; the first product of theirs is ours of fields, frames and positions together."""

    def matrix(layer) -> torch.Tensor:
        return layer.weight.detach().flatten(1)

    first, second = theirs.lifting.fcs
    inner = matrix(first)
    with torch.no_grad():
        # Field c of frame t is their channel t * FIELDS + c; ours multiplies a column by a matrix of the frame, so a
        # column that has one entry, and a matrix whose column for it is theirs, give their product.
        assert len(inner) >= FIELDS
        ours.lifting.space_bag.weight.zero_()
        ours.lifting.space_bag.weight[:FIELDS] = torch.eye(FIELDS)
        ours.lifting.space_bag.bias.zero_()
        ours.lifting.space_bag.bias[FIELDS] = 1.0
        ours.lifting.frames.zero_()
        for back in range(HISTORY):
            frame = HISTORY - 1 - back
            ours.lifting.frames[back, :, :FIELDS] = inner[:, frame * FIELDS : (frame + 1) * FIELDS]
        ours.lifting.frames[0, :, FIELDS] = first.bias
        ours.places.weight.copy_(inner[:, HISTORY * FIELDS :])
        ours.lifted.weight.copy_(matrix(second))
        ours.lifted.bias.copy_(second.bias)
        blocks = theirs.fno_blocks
        for index, layer in enumerate(ours.blocks):
            real, imaginary = spectral_weights(blocks.convs[index])
            layer.spectral.real.copy_(real)
            layer.spectral.imaginary.copy_(imaginary)
            layer.spectral.bias.copy_(blocks.convs[index].bias.flatten())
            layer.skip.weight.copy_(matrix(blocks.fno_skips[index].conv))
            for inside, own in zip(blocks.channel_mlp[index].fcs, (layer.narrow, layer.widen), strict=True):
                own.weight.copy_(matrix(inside))
                own.bias.copy_(inside.bias)
            layer.gate.copy_(blocks.channel_mlp_skips[index].weight.flatten())
        last_but_one, last = theirs.projection.fcs
        ours.projection.weight.copy_(matrix(last_but_one))
        ours.projection.bias.copy_(last_but_one.bias)
        ours.readout.weight.copy_(matrix(last))
        ours.readout.bias.copy_(last.bias)
