"""Cells: what is added is the formula, what is seen of a text counts, and nothing but cells takes part in attention."""

import pytest
import torch

from polycli.xval.model.cells import PLACES, Cells
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from polycli.xval.records.structure import FIRST_BYTE, FIRST_KEY, NUM

MASK, PAD, OPEN, CLOSE, COMMA, QUOTE, NULL = 1, 2, 4, 5, 8, 10, 11
CUT, PRICE = FIRST_KEY, FIRST_KEY + 1
A, B = FIRST_BYTE + 65, FIRST_BYTE + 66


def test_cells_are_numbers_texts_and_nulls_with_their_keys_added():
    torch.manual_seed(0)
    cells = Cells(8)
    first = [OPEN, CUT, QUOTE, A, B, QUOTE, COMMA, PRICE, NUM, CLOSE]
    ids = torch.tensor([first, [OPEN, PRICE, MASK, COMMA, CUT, NULL, CLOSE, PAD, PAD, PAD]])
    numbers = torch.ones(2, 10)
    numbers[0, 8] = 2.5
    tokens = torch.randn(2, 10, 8)
    found = cells(tokens, tokens, ids, numbers)
    assert found.place.tolist() == [[0, 2, 8], [0, 2, 5]]
    assert found.real.all()
    added, turned, text = cells.added.weight, cells.turned.weight, cells.text.weight
    cut, price, places = tokens[0, 1], tokens[0, 7], cells.places.weight
    written = (tokens[0, 3] * places[0] + tokens[0, 4] * places[1]) / 2**0.5
    expected = [tokens[0, 0], tokens[0, 2] + added @ cut + text @ written]
    expected += [tokens[0, 8] + added @ price + 2.5 * (turned @ price)]
    torch.testing.assert_close(found.embedded[0], torch.stack(expected))
    torch.testing.assert_close(found.embedded[1, 1], tokens[1, 2] + added @ tokens[1, 1])
    torch.testing.assert_close(found.embedded[1, 2], tokens[1, 5] + added @ tokens[1, 4])
    full = found.spread(torch.arange(6.0).view(2, 3, 1).expand(2, 3, 8), 10)
    assert full[..., 0].tolist() == [[0, 1, 1, 1, 1, 1, 1, 1, 2, 1], [3, 4, 4, 4, 4, 5, 4, 4, 4, 4]]


def make(**changes) -> Numformer:
    torch.manual_seed(1)
    sizes = {"embed_dim": 16, "num_heads": 2, "blocks": 2, "feed_forward": 16, "context": 128, "dropout": 0.0}
    return Numformer(ModelSection(**sizes, cells=True, **changes), FIRST_KEY + 2).eval()


def row(*ids: int, length: int = 12) -> torch.Tensor:
    return torch.tensor([[*ids, *[PAD] * (length - len(ids))]])


def test_padding_and_other_rows_change_nothing():
    model = make()
    short, long = row(OPEN, CUT, NUM, CLOSE), row(OPEN, CUT, QUOTE, A, B, QUOTE, COMMA, PRICE, NUM, CLOSE)
    ones = torch.ones(1, 12)
    with torch.no_grad():
        alone = model.encode(short[:, :4], ones[:, :4])[0]
        together = model.encode(torch.cat([short, long]), torch.ones(2, 12))
        torch.testing.assert_close(together[0, :4], alone)
        torch.testing.assert_close(together[1:], model.encode(long, ones))


def test_the_same_number_under_another_key_and_beside_another_text_gives_another_answer():
    model, ones = make(), torch.ones(1, 12)
    with torch.no_grad():
        answers = [
            model.encode(row(OPEN, CUT, QUOTE, *text, QUOTE, COMMA, key, MASK, CLOSE), ones)[0, 6 + len(text)]
            for text, key in (((A, B), PRICE), ((B, A), PRICE), ((A, B), CUT), ((), PRICE))
        ]
    for place, one in enumerate(answers):
        for other in answers[place + 1 :]:
            assert float((one - other).norm()) > 1e-2


def test_hidden_bytes_are_answered_for_each_by_its_place():
    model = make()
    with torch.no_grad():
        found = model.encode(row(OPEN, CUT, QUOTE, MASK, MASK, QUOTE, CLOSE), torch.ones(1, 12))[0]
    assert float((found[3] - found[4]).norm()) > 1e-2
    # Elsewhere stands the mean of the cells, of which these are four: so it is the mean of all tokens.
    torch.testing.assert_close(found[1], found[[0, 2, 3, 4]].mean(dim=0))
    torch.testing.assert_close(found[[1, 5, 6]].mean(dim=0), found[:7].mean(dim=0))


def test_texts_longer_than_the_places_that_are_told_apart_are_read():
    with torch.no_grad():
        found = make().encode(row(OPEN, CUT, QUOTE, *[A] * (PLACES + 9), QUOTE, CLOSE, length=90), torch.ones(1, 90))
    assert torch.isfinite(found).all()


@pytest.mark.parametrize("enabled", [True, False])
def test_numbers_are_read_in_float32_whatever_autocast_says(enabled):
    torch.manual_seed(0)
    cells, ids = Cells(8), torch.tensor([[OPEN, CUT, NUM]])
    tokens, numbers = torch.randn(1, 3, 8), torch.tensor([[1.0, 1, 1.2345678]])
    expected = cells(tokens, tokens, ids, numbers).embedded
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=enabled):
        torch.testing.assert_close(cells(tokens, tokens, ids, numbers).embedded, expected, rtol=0, atol=0)
