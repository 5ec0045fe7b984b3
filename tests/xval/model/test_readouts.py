"""Waves of digits and bits of floats, against values worked out by hand, and back to the same numbers."""

import math
import struct

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from polycli.xval.model.number_features import Bits, Waves, bits_of, number_of
from polycli.xval.model.number_layers import NumberEncoder
from polycli.xval.model.readouts import BitLogits, Digits, readout_of
from polycli.xval.recipe.model import ModelSection

LARGEST = 2.0**127 * (1 - 2.0**-53)


def codes_of_digits(digits: list[int], *, negative: bool) -> torch.Tensor:
    """Outputs that point at these digits, the last one first."""
    pairs = [f(2 * math.pi * digit / 10) for digit in digits for f in (math.cos, math.sin)]
    return torch.tensor([[*pairs, 3.0 if negative else -3.0]])


def test_waves_are_those_of_the_number_modulo_ten_and_a_hundred():
    # 18: 8 of 10 turns, then 18 of 100, as in the figure of the paper; and 18 of 1.
    found = Waves((-1, 1)).of(torch.tensor([18.0]))[0]
    expected = [f(2 * math.pi * turn) for turn in (0.0, 0.8, 0.18) for f in (math.cos, math.sin)]
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=0)


def test_a_negative_number_has_the_cosines_of_its_size_and_the_opposite_sines():
    one, other = Waves((-2, 3)).of(torch.tensor([37.25, -37.25], dtype=torch.float64))
    torch.testing.assert_close(one[0::2], other[0::2])
    torch.testing.assert_close(one[1::2], -other[1::2])


@pytest.mark.parametrize("number", [0.01, 12345678.91, -999999999.99])
def test_the_waves_of_a_long_number_tell_its_last_digit(number):
    last = Waves((-2, 8)).of(torch.tensor([number], dtype=torch.float64))[0, :2]
    turn = round(number * 100) % 10 / 10
    expected = torch.tensor([math.cos(2 * math.pi * turn), math.sin(2 * math.pi * turn)])
    torch.testing.assert_close(last, expected, atol=1e-5, rtol=0)


def test_bits_are_those_of_ieee_754():
    # -6.5 = -1.625 * 2^2: sign 1, exponent 1023 + 2 = 0b10000000001, fraction .625 = 0b101.
    expected = "1" + "10000000001" + "101" + "0" * 49
    assert "".join(map(str, bits_of(torch.tensor([-6.5], dtype=torch.float64))[0].tolist())) == expected
    seen = Bits().of(torch.tensor([-6.5]))[0]
    assert seen[:64].tolist() == [1.0 if bit == "1" else -1.0 for bit in expected]


@given(st.floats(allow_nan=False, allow_infinity=False))
@settings(deadline=None)
def test_bits_of_a_number_and_of_its_reciprocal_are_as_struct_packs_them(number):
    seen = ((Bits().of(torch.tensor([number], dtype=torch.float64))[0] + 1) / 2).int().tolist()
    reciprocal = 1 / torch.tensor(number, dtype=torch.float64)
    for part, value in ((seen[:64], number), (seen[64:], float(reciprocal))):
        assert "".join(map(str, part)) == f"{int.from_bytes(struct.pack('>d', value), 'big'):064b}"


@given(st.floats(min_value=-LARGEST, max_value=LARGEST))
@settings(deadline=None)
def test_every_number_below_two_to_the_127_comes_back_from_its_bits_bit_for_bit(number):
    double = torch.tensor([number], dtype=torch.float64)
    codes = bits_of(double).float() * 2 - 1
    assert struct.pack(">d", float(number_of(bits_of(double)))) == struct.pack(">d", number)
    assert struct.pack(">d", float(BitLogits().numbers(codes))) == struct.pack(">d", number)


def test_an_exponent_that_no_number_has_becomes_the_likeliest_that_one_has():
    # Infinity has the exponent 11111111111.
    codes = bits_of(torch.tensor([-math.inf], dtype=torch.float64)).float() * 2 - 1
    codes[0, 1:12] = torch.tensor([0.1, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0])
    # Without the first bit all others may be 1: 1023, which is 2^0.
    assert BitLogits().numbers(codes).tolist() == [-1.0]
    codes[0, 1:12] = torch.tensor([9.0, 0.1, 0.1, 0.1, 2.0, 2.0, 2.0, 2.0, 2.0, 1.0, 2.0])
    # With it the next three must go, and one more, as 10001111111 is 1151: the least sure one, which leaves 1149.
    assert BitLogits().numbers(codes).tolist() == [-(2.0 ** (1149 - 1023))]


@given(st.data())
@settings(deadline=None)
def test_every_decimal_of_up_to_fifteen_digits_comes_back_from_its_digits(data):
    low = data.draw(st.integers(-20, 6))
    high = data.draw(st.integers(low, low + 14))
    whole = data.draw(st.integers(-(10 ** (high - low + 1)) + 1, 10 ** (high - low + 1) - 1))
    number = float(f"{whole}e{low}")
    readout = Digits((low, high))
    digits = readout.digits_of(torch.tensor([number], dtype=torch.float64))[0].tolist()
    assert digits == [abs(whole) // 10**place % 10 for place in range(high - low + 1)]
    assert float(readout.numbers(codes_of_digits(digits, negative=whole < 0))) == number


def test_digits_round_what_is_smaller_than_the_last_of_them():
    readout = Digits((-1, 1))
    found = readout.digits_of(torch.tensor([0.04, 0.06, 12.3456], dtype=torch.float64))
    assert found.tolist() == [[0, 0, 0], [1, 0, 0], [3, 2, 1]]


def test_the_loss_of_digits_is_the_mean_cross_entropy_by_hand():
    # Outputs of 0 say nothing: each digit is one of ten, the sign one of two.
    readout = Digits((-1, 1))
    truth = torch.tensor([12.3, -4.0], dtype=torch.float64)
    losses = readout.losses(torch.zeros(2, 7), truth)
    torch.testing.assert_close(losses, torch.full((2,), (3 * math.log(10) + math.log(2)) / 4))
    pointing = codes_of_digits([3, 2, 1], negative=False) * 20
    logits = torch.tensor([[20 * math.cos(2 * math.pi * (j - d) / 10) for j in range(10)] for d in (3, 2, 1)])
    expected = functional.cross_entropy(logits, torch.tensor([3, 2, 1]), reduction="sum") + math.log1p(math.exp(-60))
    torch.testing.assert_close(readout.losses(pointing, truth[:1]), expected[None] / 4)


def test_the_loss_of_bits_is_the_mean_cross_entropy_by_hand():
    truth = torch.tensor([1.0], dtype=torch.float64)  # 0 01111111111 0...: ten bits are 1.
    torch.testing.assert_close(BitLogits().losses(torch.zeros(1, 64), truth), torch.tensor([math.log(2)]))
    right = math.log1p(math.exp(-2.0))
    losses = BitLogits().losses(torch.full((1, 64), -2.0), truth)
    torch.testing.assert_close(losses, torch.tensor([(54 * right + 10 * (right + 2.0)) / 64]))


@pytest.mark.parametrize("encoding", ["fone", "bits"])
@given(number=st.floats(min_value=-1e7, max_value=1e7))
@settings(deadline=None, max_examples=30)
def test_losses_and_gradients_are_finite(encoding, number):
    section = ModelSection(encoding=encoding, embed_dim=8, num_heads=2, exponents=(-7, 7))
    torch.manual_seed(0)
    encoder, readout = NumberEncoder(section), readout_of(section)
    head = torch.nn.Linear(8, readout.outputs)
    numbers = torch.tensor([[number, 0.0]], dtype=torch.float64)
    vectors = encoder(torch.zeros(1, 2, 8), numbers, torch.ones(1, 2, dtype=torch.bool))
    losses = readout.losses(head(vectors[0]), numbers[0])
    losses.sum().backward()
    assert torch.isfinite(losses).all()
    assert all(torch.isfinite(parameter.grad).all() for parameter in (encoder.reading.weight, head.weight))


@pytest.mark.parametrize("encoding", ["fone", "bits"])
def test_features_are_added_to_the_vector_of_numbers_alone(encoding):
    section = ModelSection(encoding=encoding, embed_dim=8, num_heads=2, exponents=(-2, 2))
    encoder = NumberEncoder(section)
    embedded, numbers = torch.randn(1, 3, 8), torch.tensor([[1.5, 7.0, -2.25]], dtype=torch.float64)
    found = encoder(embedded, numbers, torch.tensor([[True, False, True]]))
    added = encoder.features.of(numbers) @ encoder.reading.weight.T
    torch.testing.assert_close(found[0, [0, 2]], (embedded + added)[0, [0, 2]])
    assert torch.equal(found[0, 1], embedded[0, 1])
