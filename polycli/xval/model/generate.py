"""Writing on from a beginning, token by token, numbers included: for models that were trained with `model.causal`."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from polycli.errors import UserError
from polycli.xval.model.numformer import Numformer


@dataclass(frozen=True)
class Continuation:
    """The sequences that were written, their beginnings included."""

    #: Filled up with padding after [END].
    token_ids: Int[Tensor, "b l"]
    #: The number at every [NUM], in the model's scaled units; 1 elsewhere.
    numbers: Float[Tensor, "b l"]
    #: Whether each sequence came to its [END].
    ended: Tensor


@torch.no_grad()
def generate(
    model: Numformer,
    token_ids: Int[Tensor, "b l"],
    numbers: Float[Tensor, "b l"],
    *,
    most: int,
    temperature: float = 0.0,
    generator: torch.Generator | None = None,
) -> Continuation:
    """Appends up to `most` tokens to each beginning; a [NUM] gets the number that the model predicts there.

    The beginnings of a batch are equally long. With `temperature` 0 the likeliest token is taken, else one is drawn.

    Raises:
        UserError: the model was not trained to go on, the result would exceed its context, or beginnings are padded.
    """
    special = model.special
    if not model.section.causal:
        raise UserError("this model fills in, it does not write on", hint="pretrain with model.causal=true")
    if token_ids.shape[1] + most > model.section.context:
        raise UserError(
            f"{token_ids.shape[1]} tokens and {most} more exceed model.context {model.section.context}",
            hint=f"at most {model.section.context - token_ids.shape[1]} more",
        )
    if bool((token_ids == special.pad).any()):
        raise UserError("beginnings of different length were given together", hint="one call for each length")
    ended = torch.zeros(len(token_ids), dtype=torch.bool, device=token_ids.device)
    for _ in range(most):
        last = model.encode(token_ids, numbers)[:, -1]
        token = _chosen(model.logits(last).float(), temperature, generator)
        token = torch.where(ended, special.pad, token)
        number = torch.ones_like(numbers[:, -1])
        if model.num_head is not None:
            predicted = model.readout.numbers(model.number_codes(last)).to(number.dtype)
            number = torch.where(token == special.num, predicted, number)
        token_ids = torch.cat([token_ids, token[:, None]], dim=1)
        numbers = torch.cat([numbers, number[:, None]], dim=1)
        ended |= token == special.end
        if bool(ended.all()):
            break
    return Continuation(token_ids, numbers, ended)


def _chosen(logits: Float[Tensor, "b v"], temperature: float, generator: torch.Generator | None) -> Int[Tensor, " b"]:
    if temperature == 0:
        return logits.argmax(dim=-1)
    odds = torch.softmax(logits / temperature, dim=-1)
    return torch.multinomial(odds, 1, generator=generator)[:, 0]
