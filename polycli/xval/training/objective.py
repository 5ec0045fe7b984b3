"""The training loss: cross-entropy of hidden tokens plus squared error of hidden numbers (section 2.3).

Beside them, where the model has quantiles, the pinball loss. Number losses are float32, in the model's number space.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.xval.model.number_layers import pinball
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ObjectiveSection


class FillIn(nn.Module):
    """Numformer with its loss; `.model` is the network. It serves masked and causal training alike."""

    def __init__(self, model: Numformer, objective: ObjectiveSection | None = None) -> None:
        super().__init__()
        self.model = model
        self.objective = ObjectiveSection() if objective is None else objective

    def forward(self, batch: dict[str, Tensor]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The loss, and what is logged of it.

        Args:
            batch: as `collate` makes it: `token_ids` and `numbers` (B, L), `at` and `target_ids` (N,), `number_at` and
                `number_targets` (M,); `divisors` (2,) are what the sums over tokens and over numbers are divided by,
                their counts where absent.

        Returns:
            Loss and scalars. In eval mode also, one for each target: `token_losses`, `token_hits` (N,), and for
            encodings with numbers `number_losses`, `number_codes` (M,) and `quantile_codes` (M, Q).
        """
        model, hidden = self.model, self.model.encode(batch["token_ids"], batch["numbers"]).flatten(0, 1)
        by_token, by_number = self._divisors(batch)
        logits = model.logits(hidden[batch["at"]]).float()
        token_losses = functional.cross_entropy(logits, batch["target_ids"], reduction="none")
        with torch.no_grad():
            hits = (logits.argmax(dim=-1) == batch["target_ids"]).float()
            padding = (batch["token_ids"] == model.special.pad).float().mean()
        loss = token_losses.sum() / by_token
        metrics = {"token_loss": loss, "token_accuracy": hits.sum() / max(len(hits), 1), "padding_share": padding}
        targets = {"token_losses": token_losses, "token_hits": hits}
        if model.num_head is not None:
            codes = model.number_codes(hidden[batch["number_at"]])
            truth = model.number_space.encode(batch["number_targets"])
            number_losses = (codes - truth).square()
            metrics["number_loss"] = number_losses.sum() / by_number
            loss = loss + self.objective.number_weight * metrics["number_loss"]
            targets |= {"number_losses": number_losses, "number_codes": codes}
            if model.quantile_head is not None:
                quantiles = model.quantile_codes(hidden[batch["number_at"]])
                losses = pinball(quantiles, truth, model.section.quantiles).mean(dim=-1)
                metrics["quantile_loss"] = losses.sum() / by_number
                loss = loss + self.objective.quantile_weight * metrics["quantile_loss"]
                targets |= {"quantile_codes": quantiles, "quantile_losses": losses}
        return loss, metrics if self.training else metrics | targets

    def _divisors(self, batch: dict[str, Tensor]) -> tuple[Tensor | int, Tensor | int]:
        if "divisors" in batch:
            return batch["divisors"][0], batch["divisors"][1]
        return max(len(batch["target_ids"]), 1), max(len(batch["number_targets"]), 1)
