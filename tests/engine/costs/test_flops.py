"""Operations are counted from shapes alone, and many blocks from few."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from polycli.engine.costs.activations import kept_bytes
from polycli.engine.costs.flops import forward_flops, over_blocks


class Attention(nn.Module):
    """Four products of the width squared, dropout, and attention of two heads."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads_of, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x):
        query, key, value = self.heads_of(x).unflatten(-1, (3, 2, -1)).permute(2, 0, 3, 1, 4)
        seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=0.1 if self.training else 0.0)
        return self.output(seen.transpose(1, 2).flatten(2))


def test_a_multiplication_and_an_addition_are_two_operations():
    assert forward_flops(lambda: nn.Linear(3, 5), lambda layer: layer(torch.empty(7, 3))) == 2 * 7 * 3 * 5
    convolution = forward_flops(lambda: nn.Conv2d(3, 8, 5, padding=2), lambda layer: layer(torch.empty(2, 3, 10, 6)))
    assert convolution == 2 * (2 * 10 * 6) * (3 * 5 * 5) * 8


@pytest.mark.parametrize("training", [True, False])
def test_attention_is_counted_where_it_is_fused(training):
    batch, length, width = 2, 9, 8
    found = forward_flops(lambda: Attention(width).train(training), lambda m: m(torch.empty(batch, length, width)))
    assert found == 2 * batch * (4 * length * width**2 + 2 * length**2 * width)


def test_counting_allocates_nothing_and_leaves_random_numbers_alone():
    before = torch.get_rng_state()
    # 4 TiB of weights, 8 GiB of input.
    found = forward_flops(
        lambda: nn.Sequential(nn.Linear(2**20, 2**20), nn.Dropout(0.5)), lambda model: model(torch.empty(2**11, 2**20))
    )
    assert found == 2 * 2**51
    assert torch.equal(torch.get_rng_state(), before)


def test_what_is_kept_for_the_backward_pass_is_counted_without_parameters_and_each_tensor_once():
    # Of gelu(linear(x)): x, and the linear layer's output.
    found = kept_bytes(
        lambda: nn.Sequential(nn.Linear(16, 32), nn.GELU()),
        lambda model: model(torch.empty(10, 16, requires_grad=True)),
    )
    assert found == 4 * (10 * 16 + 10 * 32)


@pytest.mark.parametrize(("blocks", "counted"), [(1, [1]), (3, [3]), (12, [2, 3])])
def test_two_and_three_blocks_tell_of_any_number(blocks, counted):
    asked = []

    def cost(count):
        asked.append(count)
        # The first and the last block differ from those between.
        return 100 + (11 if count > 1 else 0) + 7 * max(count - 2, 0)

    assert over_blocks(blocks, cost) == (100 if blocks == 1 else 111 + 7 * (blocks - 2))
    assert asked == counted


def test_a_fourier_transform_of_real_numbers_is_half_of_a_complex_one():
    class There(nn.Module):
        def forward(self, x):
            return torch.fft.rfft2(x, dim=(1, 2))

    class Back(nn.Module):
        def forward(self, x):
            return torch.fft.irfft2(x, s=(8, 16), dim=(1, 2))

    # 2.5 N log2 N of 8 x 16 points, for three channels.
    expected = 3 * 2.5 * 128 * 7
    assert forward_flops(There, lambda model: model(torch.empty(1, 8, 16, 3))) == expected
    assert forward_flops(Back, lambda model: model(torch.empty(1, 8, 9, 3, dtype=torch.complex64))) == expected
