"""The network: a transformer over tokens in which a number is a token times its value (Golkar et al. 2023, section 2).

Numformer reads token ids and numbers and gives, for every position, logits over tokens and a number. It says nothing
about how it is trained. Its state dict has the names of the published code.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polycli.errors import UserError
from polycli.nn.quantiles import middle_of, rising
from polycli.nn.skeleton import skeleton
from polycli.xval.model.cells import Cells, Packed
from polycli.xval.model.encoder import EncoderStack, Product
from polycli.xval.model.number_layers import NumberEncoder, NumberHead, number_space
from polycli.xval.model.readouts import readout_of
from polycli.xval.recipe.model import ModelSection


@dataclass(frozen=True)
class SpecialTokens:
    """The ids of the tokens that mean something to the network; without others, the published vocabulary's."""

    end: int = 0
    mask: int = 1
    pad: int = 2
    num: int = 3


@dataclass(frozen=True)
class NumformerOutput:
    """The network's predictions at the positions that were asked for."""

    logits: Float[Tensor, "*b v"]
    #: In the units of the input numbers; None where numbers are text.
    numbers: Float[Tensor, "*b"] | None
    #: In the same units, rising; None without `quantiles`.
    quantiles: Float[Tensor, "*b q"] | None
    #: The vectors from which all this is read.
    hidden: Float[Tensor, "*b d"]


class Numformer(nn.Module):
    """Tokens and numbers to logits and numbers.

    Attributes:
        section: the recipe section that it was built from.
        special: the ids of padding, mask and number tokens.
    """

    def __init__(self, section: ModelSection, tokens: int, special: SpecialTokens | None = None) -> None:
        super().__init__()
        self.section = section
        self.special = SpecialTokens() if special is None else special
        width, hidden = section.embed_dim, section.feed_forward
        self.token_embed = nn.Embedding(tokens, width)
        self.position_embed = nn.Embedding(section.context, width)
        self.number_encoder = NumberEncoder(section) if section.continuous else None
        self.cells = Cells(width) if section.cells else None
        self.encoder_stack = EncoderStack(section)
        self.lm_head = nn.Sequential(Product(width, hidden, bias=False), nn.GELU(), Product(hidden, tokens, bias=False))
        self.number_space = number_space(section.number_head, section.decades)
        self.readout = readout_of(section)
        self.num_head = NumberHead(width, hidden, self.readout.outputs) if section.continuous else None
        with_quantiles = section.continuous and section.quantiles
        self.quantile_head = NumberHead(width, hidden, len(section.quantiles)) if with_quantiles else None

    @property
    def tokens(self) -> int:
        """The size of the vocabulary."""
        return self.token_embed.num_embeddings

    def forward(self, token_ids: Int[Tensor, "b l"], numbers: Float[Tensor, "b l"]) -> Float[Tensor, "b l v"]:
        """Logits over the vocabulary at every position; `outputs` gives numbers too.

        Args:
            token_ids: rows may be filled up with the padding token, which changes nothing.
            numbers: the value at every [NUM]; finite everywhere, and without effect at other tokens.

        Raises:
            UserError: a number is not finite, or the rows are longer than the context.
        """
        return self.logits(self.encode(token_ids, numbers))

    def outputs(
        self, token_ids: Int[Tensor, "b l"], numbers: Float[Tensor, "b l"], at: Int[Tensor, " n"] | None = None
    ) -> NumformerOutput:
        """Logits, numbers and quantiles in the units of `numbers`, at all positions (b, l, ...) or at some (n, ...).

        Args:
            token_ids: as in `forward`.
            numbers: as in `forward`.
            at: positions in the flattened batch, row * l + column; fewer positions cost less.
        """
        hidden = self.encode(token_ids, numbers)
        if at is not None:
            hidden = hidden.flatten(0, 1)[at]
        quantiles = None if self.quantile_head is None else self.number_space.decode(self.quantile_codes(hidden))
        return NumformerOutput(
            logits=self.logits(hidden),
            numbers=None if self.num_head is None else self.readout.numbers(self.number_codes(hidden)),
            quantiles=quantiles,
            hidden=hidden,
        )

    def encode(self, token_ids: Int[Tensor, "b l"], numbers: Float[Tensor, "b l"]) -> Float[Tensor, "b l d"]:
        """The vector of every token, float32, before the heads."""
        length = token_ids.shape[1]
        if length > self.section.context:
            raise UserError(
                f"a record of {length} tokens, model.context is {self.section.context}",
                hint="a longer context, or records split into smaller ones",
            )
        real = self._check(token_ids, numbers)
        tokens = embedded = self.token_embed(token_ids)
        if self.number_encoder is not None:
            embedded = self.number_encoder(tokens, numbers, token_ids == self.special.num)
        if self.cells is not None:
            packed: Packed = self.cells(tokens, embedded, token_ids, numbers)
            places = torch.arange(packed.real.shape[1], device=token_ids.device)
            found = self.encoder_stack(packed.embedded + self.position_embed(places), packed.real)
            return packed.spread(found, length)
        places = torch.arange(length, device=token_ids.device)
        return self.encoder_stack(embedded + self.position_embed(places), real)  # type: ignore[no-any-return]

    def logits(self, hidden: Float[Tensor, "*b d"]) -> Float[Tensor, "*b v"]:
        """Returns logits over the vocabulary, in autocast's type."""
        return self.lm_head(hidden)  # type: ignore[no-any-return]

    def number_codes(self, hidden: Float[Tensor, "*b d"]) -> Float[Tensor, "*b o"]:
        """Returns the outputs from which `readout` tells numbers, float32."""
        return cast("NumberHead", self.num_head)(hidden)  # type: ignore[no-any-return]

    def quantile_codes(self, hidden: Float[Tensor, "*b d"]) -> Float[Tensor, "*b q"]:
        """Predicted quantiles in `number_space`, rising, float32."""
        raw = cast("NumberHead", self.quantile_head)(hidden)
        return rising(raw, middle_of(self.section.quantiles))

    def _check(self, token_ids: Tensor, numbers: Tensor) -> Tensor | None:
        """Returns which tokens are no padding, None where all are; refuses numbers that would spoil the batch."""
        real = token_ids != self.special.pad
        # One exchange with the device for both questions.
        finite, whole = torch.stack([torch.isfinite(numbers.float()).all(), real.all()]).tolist()
        if not finite:
            place = torch.nonzero(~torch.isfinite(numbers.float()))[0].tolist()
            raise UserError(
                f"the number at row {place[0]}, position {place[1]} is {float(numbers[tuple(place)])}, "
                "numbers must be finite and within float32",
                hint="mask it, or scale the key's values",
            )
        return None if whole else real


def parameter_count(section: ModelSection, tokens: int) -> int:
    """Counts the parameters of such a model without allocating them."""
    with skeleton():
        return sum(parameter.numel() for parameter in Numformer(section, tokens).parameters())
