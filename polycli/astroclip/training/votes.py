"""Votes as what `finetune` learns: the counts of all objects, what is refused of them, and scores of validation."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from polycli.astroclip.data.votes import read_votes
from polycli.astroclip.recipe.votes import VotesSection
from polycli.astroclip.training.batches import ObjectPool
from polycli.console import note
from polycli.errors import StoreError


def counted_votes(section: VotesSection | None, pool: ObjectPool) -> Float[Tensor, "n a"]:
    """The votes for each answer about each object of a pool; without questions (n, 0)."""
    if section is None:
        return torch.zeros(len(pool), 0)
    counts = [read_votes(store, rows, section) for store, rows in zip(pool.stores, pool.rows, strict=True)]
    return torch.cat([torch.from_numpy(part).float() for part in counts])


def refuse_unvoted(section: VotesSection, votes: Float[Tensor, "n a"]) -> None:
    """Say which questions nobody was asked about the training objects.

    Raises:
        StoreError: these are all questions.
    """
    unasked = [name for name, answers in section.slices().items() if not bool(votes[:, answers].any())]
    if len(unasked) == len(section.questions):
        raise StoreError(
            f"votes: none of the {len(votes)} training objects has a vote on any of the {len(unasked)} questions",
            hint="join the catalogue of votes in prepare, by sky or by id, and see how many objects it says are in it",
        )
    for name in unasked:
        note(f"question {name}: no training object has a vote on it, so nothing is learnt of it")
    without = int((votes.sum(dim=1) == 0).sum())
    if without:
        note(f"votes: {without:,} of {len(votes):,} training objects have none, and are passed over")


def right_answers(
    section: VotesSection, concentration: Float[Tensor, "n a"], votes: Float[Tensor, "n a"]
) -> dict[str, float]:
    """Counts by question how often the likeliest answer is the majority's, over the objects with a vote on it."""
    scores = {}
    for name, answers in section.slices().items():
        asked = votes[:, answers].sum(dim=1) > 0
        right = concentration[asked, answers].argmax(dim=1) == votes[asked, answers].argmax(dim=1)
        scores[f"validation/{name}/accuracy"] = float(right.float().mean()) if len(right) else float("nan")
    return scores
