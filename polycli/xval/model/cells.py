"""Reads records as cells: a number or a text is one token to the transformer, and each is told its key.

Keys, brackets, commas and the bytes of texts that are seen take no part in attention. What they say is in the
embedding of the cell instead. With k the vector of the key that stands last before it, a cell has A k added, and a
number x has x B k besides, so that what a number multiplies is its column's own. The quote that opens a text has a sum
over its bytes, each times a vector of its place, so that texts of different letters differ. Bytes that are hidden stay,
to be answered for.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polycli.xval.records.structure import FALSE, FIRST_BYTE, FIRST_KEY, LITERAL, MASK, NULL, NUM, QUOTE, TEXT, TRUE

#: Places in a text that are told apart; later ones share the last.
PLACES = 64
_MARKS = tuple(map(ord, (QUOTE, LITERAL, TEXT)))
_WORDS = (MASK, NUM, *map(ord, (NULL, TRUE, FALSE)))


@dataclass(frozen=True)
class Packed:
    """The cells of each row, side by side at its beginning."""

    embedded: Float[Tensor, "b c d"]
    #: Which are there, in a row of fewer cells than the longest has.
    real: Bool[Tensor, "b c"]
    #: Where each stands in the full row.
    place: Int[Tensor, "b c"]

    def spread(self, found: Float[Tensor, "b c d"], length: int) -> Float[Tensor, "b l d"]:
        """Puts what was found of cells where they stand in full rows, and their mean elsewhere.

        So a mean over the tokens of a record is that over its cells.
        """
        real = self.real[..., None]
        mean = torch.where(real, found, 0.0).sum(dim=1, keepdim=True) / real.sum(dim=1, keepdim=True)
        place = self.place[..., None].expand_as(found)
        return mean.repeat(1, length, 1).scatter(1, place, torch.where(real, found, mean))


class Cells(nn.Module):
    """Makes cells of tokens, in float32."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.added, self.turned, self.text = (nn.Linear(width, width, bias=False) for _ in range(3))
        for layer in (self.added, self.turned, self.text):
            # Results as long as tokens' vectors are, so that none is drowned by the others.
            nn.init.normal_(layer.weight, std=width**-0.5)
        self.places = nn.Embedding(PLACES, width)

    def forward(
        self,
        tokens: Float[Tensor, "b l d"],
        embedded: Float[Tensor, "b l d"],
        token_ids: Int[Tensor, "b l"],
        numbers: Float[Tensor, "b l"],
    ) -> Packed:
        """Returns the cells of rows; the first token of a row is one in any case.

        Args:
            tokens: the vector of every token.
            embedded: the same, of numbers with their values.
            token_ids: keys and quotes must not be masked.
            numbers: the value at every number, finite everywhere.
        """
        opens = _opening(token_ids)
        with torch.autocast(tokens.device.type, enabled=False):
            keys = _last_keys(tokens.float(), token_ids)
            factor = torch.where(token_ids == NUM, numbers.float(), 0.0)[..., None]
            embedded = embedded.float() + self.added(keys) + factor * self.turned(keys)
            embedded = embedded + self._texts(tokens.float(), token_ids, opens)
        keep = opens | torch.isin(token_ids, torch.tensor(_WORDS, device=token_ids.device))
        keep[:, 0] = True
        counts = keep.sum(dim=1)
        # Those that are kept first, in their order.
        place = torch.argsort((~keep).to(torch.uint8), dim=1, stable=True)[:, : int(counts.max())]
        real = torch.arange(place.shape[1], device=place.device) < counts[:, None]
        return Packed(embedded.gather(1, place[..., None].expand(-1, -1, embedded.shape[-1])), real, place)

    def _texts(
        self, tokens: Float[Tensor, "b l d"], token_ids: Int[Tensor, "b l"], opens: Bool[Tensor, "b l"]
    ) -> Float[Tensor, "b l d"]:
        """Sums of the bytes of each text, at the token that opens it."""
        rows, length, width = tokens.shape
        flat = torch.arange(rows * length, device=tokens.device)
        # A byte always stands after an opening quote, in its own row.
        start = torch.where(opens.flatten(), flat, 0).cummax(dim=0).values
        at = torch.nonzero(((token_ids >= FIRST_BYTE) & (token_ids < FIRST_KEY)).flatten())[:, 0]
        place = (at - start[at] - 1).clamp(max=PLACES - 1)
        terms = tokens.flatten(0, 1)[at] * self.places(place)
        sums = tokens.new_zeros(rows * length, width).index_add(0, start[at], terms)
        counts = tokens.new_zeros(rows * length).index_add(0, start[at], torch.ones_like(terms[:, 0]))
        return self.text(sums / counts.clamp(min=1).sqrt()[:, None]).view(rows, length, width)  # type: ignore[no-any-return]


def _opening(token_ids: Int[Tensor, "b l"]) -> Bool[Tensor, "b l"]:
    """Marks where a text begins: every other quote of a row."""
    marks = torch.isin(token_ids, torch.tensor(_MARKS, device=token_ids.device))
    return marks & (marks.cumsum(dim=1) % 2 == 1)


def _last_keys(tokens: Float[Tensor, "b l d"], token_ids: Int[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
    """Returns the vector of the key that stands last before each token; zero before the first key."""
    columns = torch.arange(token_ids.shape[1], device=token_ids.device)
    last = torch.where(token_ids >= FIRST_KEY, columns, -1).cummax(dim=1).values
    # A column of zeros before the first is what rows without a key see.
    return functional.pad(tokens, (0, 0, 1, 0)).gather(1, (last + 1)[..., None].expand_as(tokens))
