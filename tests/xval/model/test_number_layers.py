"""Number spaces invert, banks saturate decade by decade, and codes keep their order."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from polycli.xval.model.number_layers import (
    AsinhSpace,
    LinearSpace,
    MultiscaleBank,
    NumberEncoder,
    number_space,
)
from polycli.xval.recipe.model import ModelSection

SECTION = ModelSection(embed_dim=8, num_heads=2, blocks=1, feed_forward=16, context=8)


@given(st.floats(min_value=-(2.0**100), max_value=2.0**100, width=32, allow_subnormal=False))
def test_asinh_space_inverts(number):
    space = AsinhSpace.of((-4, 4))
    # float32 codes near 5 have a spacing of 5e-7, and sinh multiplies it by 18 decades of e over 5.
    tolerance = 1e-4 * abs(number) + 1e-9
    assert abs(float(space.decode(space.encode(torch.tensor(number)))) - number) <= tolerance


def test_asinh_space_is_the_formula_and_maps_its_largest_number_to_five():
    space = AsinhSpace.of((-4, 4))
    numbers = np.array([0.0, 1e-5, -3e-4, 1.0, -123.4, 1e4, 1e7])
    expected = 5 * np.arcsinh(numbers / 1e-4) / np.arcsinh(1e8)
    np.testing.assert_allclose(space.encode(torch.tensor(numbers).float()).numpy(), expected, rtol=1e-5)
    assert float(space.encode(torch.tensor(1e4))) == pytest.approx(5)


def test_every_code_decodes_to_a_finite_number():
    space = AsinhSpace.of((-30, 30))
    codes = torch.tensor([-1e30, -100.0, 0.0, 100.0, 1e30])
    assert torch.isfinite(space.decode(codes)).all()


def test_linear_space_is_no_space():
    x = torch.randn(5)
    assert torch.equal(LinearSpace().decode(LinearSpace().encode(x)), x)
    assert number_space("linear", (-1, 1)) == LinearSpace()


@pytest.mark.parametrize("number", [0.0, 1e-30, -2e-3, 1.0, 7e5, -3e38])
def test_the_bank_is_the_sum_of_its_saturating_terms(number):
    bank = MultiscaleBank(8, (-2, 2), 1.0)
    terms = [number / math.hypot(number, 10.0**k) for k in range(-2, 3)]
    expected = bank.vectors.weight.detach() @ torch.tensor(terms, dtype=torch.float32)
    torch.testing.assert_close(bank(torch.tensor([[number]]))[0, 0].detach(), expected, rtol=1e-5, atol=1e-6)


def test_a_bank_that_starts_at_zero_is_plain_xval():
    plain = NumberEncoder(SECTION)
    multiscale = NumberEncoder(SECTION.model_copy(update={"encoding": "multiscale", "bank_start": 0.0}))
    embedded, numbers = torch.randn(2, 5, 8), torch.randn(2, 5)
    is_number = torch.tensor([[True, False, True, True, False]] * 2)
    assert torch.equal(plain(embedded, numbers, is_number), multiscale(embedded, numbers, is_number))
    expected = torch.where(is_number, numbers, 1.0)[..., None] * embedded
    assert torch.equal(plain(embedded, numbers, is_number), expected)


def test_a_bank_tells_small_numbers_apart_where_plain_xval_does_not():
    torch.manual_seed(0)
    section = SECTION.model_copy(update={"encoding": "multiscale", "embed_dim": 64, "number_term": "asinh"})
    numbers = torch.tensor([[1e-4, 1e-3, 1e-2, 1e-1]])
    embedded, place = torch.randn(1, 4, 64)[:, :1].expand(1, 4, 64), torch.randn(64)
    seen = {}
    for name in ("xval", "multiscale"):
        encoder = NumberEncoder(section.model_copy(update={"encoding": name}))
        normed = torch.nn.functional.layer_norm(
            encoder(embedded, numbers, torch.ones(1, 4, dtype=torch.bool)) + place, (64,)
        )
        seen[name] = float((normed[0, 1:] - normed[0, :-1]).norm(dim=-1).min().detach())
    assert seen["multiscale"] > 20 * seen["xval"]
