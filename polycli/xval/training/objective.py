"""The training loss: cross-entropy of hidden tokens plus squared error of hidden numbers (section 2.3).

Encodings that write digits or bits have their cross-entropies instead of the squared error. Beside them there are the
pinball loss, where the model has quantiles, and the distance between digits, where tokens are digits. Number losses are
float32, in the model's number space.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polycli.nn.quantiles import pinball
from polycli.xval.data.collate import Tokenization
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ObjectiveSection


@dataclass(frozen=True)
class DigitTokens:
    """The place of the tokens 0 to 9 of digits in the vocabulary, and how many of them a number has."""

    first: int
    of_a_number: int


def digit_tokens(tokenization: Tokenization) -> DigitTokens | None:
    """The tokens that are digits; None where the encoding has none."""
    encoding = tokenization.encoding
    if encoding.name != "p10":
        return None
    first = len(tokenization.language.vocabulary) + encoding.vocabulary_tokens.index("0")
    return DigitTokens(first, of_a_number=len(encoding.slots) - 2)


def digit_distances(
    logits: Float[Tensor, "n v"], target_ids: Int[Tensor, " n"], first: int
) -> Float[Tensor, " digits"]:
    """Returns the Wasserstein distance of what is said of ten digits from the true one, for targets that are digits.

    That is the mean of |digit - true digit| under the softmax over the ten (NTL-WAS: Zausinger et al. 2025, Regress,
    Don't Guess, arXiv 2411.02083).
    """
    is_digit = (target_ids >= first) & (target_ids < first + 10)
    said = torch.softmax(logits[is_digit, first : first + 10], dim=-1)
    digits = torch.arange(10, device=logits.device)
    return (said * (digits - (target_ids[is_digit] - first)[:, None]).abs()).sum(dim=-1)


class FillIn(nn.Module):
    """Numformer with its loss; `.model` is the network. It serves masked and causal training alike."""

    def __init__(
        self, model: Numformer, objective: ObjectiveSection | None = None, *, digits: DigitTokens | None = None
    ) -> None:
        super().__init__()
        self.model, self.digits = model, digits
        self.objective = ObjectiveSection() if objective is None else objective

    def forward(self, batch: dict[str, Tensor]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The loss, and what is logged of it.

        Args:
            batch: as `collate` makes it: `token_ids` and `numbers` (B, L), `at` and `target_ids` (N,), `number_at` and
                `number_targets` (M,); `divisors` (2,) are what the sums over tokens and over numbers are divided by,
                their counts where absent.

        Returns:
            Loss and scalars. In eval mode also, one for each target: `token_losses`, `token_hits` (N,), and for
            encodings with numbers `number_losses`, `number_values` (M,) and `quantile_codes` (M, Q).
        """
        model, hidden = self.model, self.model.encode(batch["token_ids"], batch["numbers"]).flatten(0, 1)
        by_token, by_number = self._divisors(batch)
        logits = model.logits(hidden[batch["at"]]).float()
        token_losses = functional.cross_entropy(logits, batch["target_ids"], reduction="none")
        with torch.no_grad():
            hits = (logits.argmax(dim=-1) == batch["target_ids"]).float()
            padding = (batch["token_ids"] == model.special.pad).float().mean()
        token_loss = token_losses.sum() / by_token
        loss = self.objective.token_weight * token_loss
        metrics = {"token_loss": token_loss, "token_accuracy": hits.sum() / max(len(hits), 1), "padding_share": padding}
        targets = {"token_losses": token_losses, "token_hits": hits}
        if self.objective.number_token_loss and self.digits is not None:
            distances = digit_distances(logits, batch["target_ids"], self.digits.first)
            many = max(len(distances), 1) if "divisors" not in batch else by_number * self.digits.of_a_number
            metrics["number_token_loss"] = distances.sum() / many
            loss = loss + self.objective.number_token_loss * metrics["number_token_loss"]
        if model.num_head is not None:
            codes = model.number_codes(hidden[batch["number_at"]])
            number_losses = model.readout.losses(codes, batch["number_targets"])
            metrics["number_loss"] = number_losses.sum() / by_number
            loss = loss + self.objective.number_weight * metrics["number_loss"]
            targets["number_losses"] = number_losses
            if not self.training:
                targets["number_values"] = model.readout.numbers(codes)
            if model.quantile_head is not None:
                quantiles = model.quantile_codes(hidden[batch["number_at"]])
                truth = model.number_space.encode(batch["number_targets"].float())
                losses = pinball(quantiles, truth, model.section.quantiles).mean(dim=-1)
                metrics["quantile_loss"] = losses.sum() / by_number
                loss = loss + self.objective.quantile_weight * metrics["quantile_loss"]
                targets |= {"quantile_codes": quantiles, "quantile_losses": losses}
        return loss, metrics if self.training else metrics | targets

    def _divisors(self, batch: dict[str, Tensor]) -> tuple[Tensor | int, Tensor | int]:
        if "divisors" in batch:
            return batch["divisors"][0], batch["divisors"][1]
        return max(len(batch["target_ids"]), 1), max(len(batch["number_targets"]), 1)
