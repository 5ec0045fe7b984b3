"""Scores during training: the same hidden tokens and numbers every time, the same scores on any number of ranks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from polycli.engine.batches.prefetch import read_ahead
from polycli.engine.ranks import gather
from polycli.engine.task import Batch, World
from polycli.xval.data.collate import Tokenization
from polycli.xval.recipe.model import ObjectiveSection
from polycli.xval.training.batches import ValidationPart

#: Key paths with scores of their own: those with most numbers. A record can have hundreds.
SHOWN_KEYS = 16


@dataclass(frozen=True)
class Sums:
    """Sums over one batch: of its tokens (number, loss, hits), of its numbers, and by key path."""

    tokens: NDArray[np.float64]
    numbers: NDArray[np.float64]
    #: (key paths, 2): numbers, and squared error in the data's units.
    keys: NDArray[np.float64]

    def __add__(self, other: Sums) -> Sums:
        return Sums(self.tokens + other.tokens, self.numbers + other.numbers, self.keys + other.keys)


def validate(
    forward: nn.Module,
    part: ValidationPart,
    world: World,
    *,
    tokenization: Tokenization,
    objective: ObjectiveSection,
) -> dict[str, float]:
    """`validation/loss`, its parts and, in the data's units, `validation/rmse/<key path>`; empty without records.

    Answers that are beyond float64 in the data's units are left out of the last.
    """
    mine = [
        _score(forward, batch, real, tokenization)
        for batch, real in zip(read_ahead(part.batches), part.real, strict=True)
    ]
    # Added up in the order of the records, so that the sum does not depend on the ranks.
    ordered = [sums for turn in zip(*gather(world, mine), strict=True) for sums in turn]
    if not ordered:
        return {}
    total = ordered[0]
    for sums in ordered[1:]:
        total = total + sums
    return _scores(total, tokenization, objective)


def _scores(total: Sums, tokenization: Tokenization, objective: ObjectiveSection) -> dict[str, float]:
    tokens, token_loss, hits = total.tokens.tolist()
    numbers, number_loss, quantile_loss = total.numbers.tolist()
    by_token = token_loss / max(tokens, 1)
    loss = objective.token_weight * by_token
    scores = {"validation/token_loss": by_token, "validation/token_accuracy": hits / max(tokens, 1)}
    if tokenization.encoding.continuous:
        scores["validation/number_loss"] = number_loss / max(numbers, 1)
        loss += objective.number_weight * number_loss / max(numbers, 1)
        loss += objective.quantile_weight * quantile_loss / max(numbers, 1)
        for key in np.argsort(-total.keys[:, 0], kind="stable")[:SHOWN_KEYS]:
            count, squares = total.keys[key].tolist()
            if count:
                scores[f"validation/rmse/{tokenization.language.key_paths[key]}"] = float(np.sqrt(squares / count))
    return {"validation/loss": loss, **scores}


def _score(forward: nn.Module, batch: Batch, real: int, tokenization: Tokenization) -> Sums:
    """The sums of a batch over its first `real` records."""
    _, found = forward(batch)
    width = batch["token_ids"].shape[1]
    chosen = (batch["at"] < real * width).numpy()
    tokens = np.array(
        [chosen.sum(), _values(found["token_losses"])[chosen].sum(), _values(found["token_hits"])[chosen].sum()]
    )
    keys, numbers = np.zeros((len(tokenization.language.key_paths), 2)), np.zeros(3)
    if tokenization.encoding.continuous:
        chosen = (batch["number_at"] < real * width).numpy()
        losses = _values(found["number_losses"])[chosen]
        pinball = _values(found["quantile_losses"])[chosen].sum() if "quantile_losses" in found else 0.0
        numbers = np.array([chosen.sum(), losses.sum(), pinball])
        place = batch["number_keys"].numpy()[chosen]
        predicted = _values(found["number_values"])[chosen]
        squares = _error(predicted, _values(batch["number_targets"])[chosen], place, tokenization) ** 2
        told = np.isfinite(squares)
        place, squares = place[told], squares[told]
        keys = np.stack(
            [np.bincount(place, minlength=len(keys)), np.bincount(place, squares, minlength=len(keys))], axis=1
        )
    return Sums(tokens.astype(np.float64), numbers.astype(np.float64), keys.astype(np.float64))


def _error(
    predicted: NDArray[np.float64], true: NDArray[np.float64], keys: NDArray[np.int64], tokenization: Tokenization
) -> NDArray[np.float64]:
    """Predicted minus true, in the data's units, from scaled numbers."""
    paths, places = tokenization.language.key_paths, keys.astype(np.int32)
    return tokenization.scaling.invert(predicted, places, paths) - tokenization.scaling.invert(true, places, paths)


def _values(tensor: Tensor) -> NDArray[np.float64]:
    return np.asarray(tensor.detach().cpu().double().numpy(), dtype=np.float64)
