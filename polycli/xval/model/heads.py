"""The additions to the network for finetuning on one value per record: a pooled vector, a head on it, and its loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polycli.xval.model.numformer import Numformer, SpecialTokens
from polycli.xval.recipe.model import ModelSection

#: Where the head's tensors stand in the state dict, beside the network's published names.
HEAD_PREFIX = "record_head."


@dataclass(frozen=True)
class HeadDescription:
    """The question that a head answers, as model.json has it under `head`."""

    kind: Literal["regression", "classification"]
    #: Key path of the value; it is null in what the model reads.
    target: str
    #: Of classification: the values, in the order of the logits.
    classes: tuple[Any, ...] = ()
    #: Of regression: the value is output * scale + shift.
    shift: float = 0.0
    scale: float = 1.0

    @property
    def outputs(self) -> int:
        """The number of outputs of the head."""
        return len(self.classes) if self.kind == "classification" else 1

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> HeadDescription:
        """Rebuilds a description from what model.json has under `head`."""
        return cls(**{**document, "classes": tuple(document.get("classes", ()))})


class RecordHead(nn.Module):
    """Pooled vector to outputs, in float32."""

    def __init__(self, width: int, hidden: int, outputs: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, outputs)
        self.dropout = dropout

    def forward(self, pooled: Float[Tensor, "b d"]) -> Float[Tensor, "b o"]:
        """Returns the head's outputs for pooled vectors, in float32."""
        with torch.autocast(pooled.device.type, enabled=False):
            hidden = functional.gelu(self.inner(self.norm(pooled.float())))
            return self.outer(functional.dropout(hidden, self.dropout, self.training))  # type: ignore[no-any-return]


class RecordModel(Numformer):
    """A Numformer that also answers one question about every record."""

    def __init__(
        self,
        section: ModelSection,
        tokens: int,
        head: HeadDescription,
        special: SpecialTokens | None = None,
        *,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(section, tokens, special)
        self.head = head
        self.record_head = RecordHead(section.embed_dim, section.feed_forward, head.outputs, dropout)

    def answer(self, token_ids: Int[Tensor, "b l"], numbers: Float[Tensor, "b l"]) -> Float[Tensor, "b o"]:
        """Logits of the classes, or the scaled value (b, 1)."""
        return self.record_head(pooled(self, token_ids, numbers))  # type: ignore[no-any-return]


def pooled(model: Numformer, token_ids: Int[Tensor, "b l"], numbers: Float[Tensor, "b l"]) -> Float[Tensor, "b d"]:
    """The mean vector of a record's tokens, padding left out."""
    hidden = model.encode(token_ids, numbers).float()
    real = (token_ids != model.special.pad)[..., None]
    return (hidden * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)


class RecordLoss(nn.Module):
    """Squared error of scaled values, or cross-entropy of classes; `.model` is the network with its head."""

    def __init__(self, model: RecordModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Mean loss over the records of `token_ids`, `numbers` (B, L) and `labels` (B,), and what is logged of it.

        In eval mode also `answers` (B, O).
        """
        answers = self.model.answer(batch["token_ids"], batch["numbers"])
        if self.model.head.kind == "classification":
            losses = functional.cross_entropy(answers, batch["labels"].long(), reduction="none")
            metrics = {"accuracy": (answers.argmax(dim=-1) == batch["labels"]).float()}
        else:
            losses = (answers[:, 0] - batch["labels"].float()).square()
            metrics = {"squared_error": losses}
        return losses.mean(), metrics if self.training else {**metrics, "losses": losses, "answers": answers}
