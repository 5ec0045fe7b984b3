"""Masked tube pretraining (VideoMAE, Tong et al. 2022): the loss, and the task that the engine trains."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from polycli.engine.batches.prefetch import read_ahead
from polycli.engine.task import World
from polycli.mpp.model.baselines.tokens import hidden_places
from polycli.mpp.model.baselines.vit import VideoTransformer
from polycli.mpp.model.normalization import field_statistics, widen
from polycli.mpp.model.stem import select_fields
from polycli.mpp.recipe.training import ObjectiveSection, PretrainRecipe
from polycli.mpp.training.described import ModelFacts
from polycli.mpp.training.task import NextFramePretraining
from polycli.mpp.training.validation import in_order
from polycli.store.reader import Store

#: What is added to the spread of a tube's values before dividing by it, as published; fields have unit spread here.
_SMALLEST_SPREAD = 1e-6


class MaskedTubes(nn.Module):
    """A video transformer with the loss of masked tubes; `.model` is the network.

    Which places are hidden is drawn for each sample while training; in validation it is always the same choice for a
    window, whatever stands beside it in the batch.
    """

    def __init__(self, model: VideoTransformer, objective: ObjectiveSection) -> None:
        super().__init__()
        self.model = model
        self.objective = objective

    def forward(self, batch: dict[str, Tensor]) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, " b"]]]:
        """Mean squared error of hidden tubes' values, each tube and field in units of its own spread; by sample too.

        Filling in each tube's mean would score 1.

        Args:
            batch: `fields` (B, T + 1, C, H, W), of which as many of the last frames are used as make whole tubes;
                `state_labels` (C,) or (B, C); `bcs` (B, 2); `mask_seeds` (B,), from which the hidden places follow
                in validation: the same ones for all samples without them.
        """
        section = self.model.section
        fields = batch["fields"]
        x = widen(fields[:, fields.shape[1] % section.tubelet :])
        mean, scale = field_statistics(x)
        selection = select_fields(batch["state_labels"], len(section.fields), x.dtype)
        tubes = self.model.tubes((x - mean) / scale, batch["bcs"])
        places = tubes.shape[2] * tubes.shape[3]
        hidden = hidden_places(places, self.objective.mask_ratio)
        order = self._order(batch.get("mask_seeds", torch.zeros(len(x), dtype=torch.long)), places, x.device)
        answer = self.model.fill(tubes, selection, order, hidden)
        target = standardised(_at(tubes.flatten(2, 3), order[:, :hidden]))
        errors = (answer.float() - target).square().flatten(1).mean(dim=1)
        return errors.mean(), {"masked_error": errors.detach()}

    def _order(self, seeds: Int[Tensor, " b"], places: int, device: torch.device) -> Int[Tensor, "b p"]:
        if self.training:
            return torch.rand(len(seeds), places, device=device).argsort(dim=1)
        drawn = [torch.rand(places, generator=torch.Generator().manual_seed(seed)) for seed in seeds.tolist()]
        return torch.stack(drawn).argsort(dim=1).to(device)


def standardised(tubes: Float[Tensor, "*n k"]) -> Float[Tensor, "*n k"]:
    """The values of each tube and field, less their mean, over their standard deviation (unbiased, as published)."""
    spread, mean = torch.std_mean(tubes, dim=-1, keepdim=True)
    return (tubes - mean) / (spread + _SMALLEST_SPREAD)


def _seeds(samples: Sequence[str]) -> Int[Tensor, " b"]:
    """A seed of each window that follows from its name alone: dataset, row and first frame."""
    return torch.tensor([zlib.crc32(sample.encode()) for sample in samples])


def _at(tubes: Float[Tensor, "b n p c k"], places: Int[Tensor, "b m"]) -> Float[Tensor, "b n m c k"]:
    index = places[:, None, :, None, None].expand(-1, tubes.shape[1], -1, *tubes.shape[3:])
    return tubes.gather(2, index)


class TubePretraining(NextFramePretraining):
    """The task of training a video transformer to fill in tubes of every dataset in the mixture."""

    def __init__(self, recipe: PretrainRecipe, stores: Sequence[Store], world: World) -> None:
        """Raise RecipeError or StoreError where recipe, stores and processes do not fit each other."""
        super().__init__(recipe, stores, world)
        assert isinstance(self._network, VideoTransformer)  # noqa: S101  # as the recipe was checked for
        self.model = MaskedTubes(self._network, recipe.objective)

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """Errors of hidden tubes by dataset; `validation/loss` is their mean."""
        scores = {}
        for part in self._validation:
            rows = torch.stack(
                [
                    forward({**batch, "mask_seeds": _seeds(windows.samples)})[1]["masked_error"].cpu().double()[:, None]
                    for windows, batch in zip(part.batches, read_ahead(part.batches), strict=True)
                ]
            )
            scores[f"validation/{part.dataset}/masked_error"] = float(in_order(rows, world)[: part.count].mean())
        return {"validation/loss": sum(scores.values()) / len(scores), **scores} if scores else {}

    def description(self) -> ModelFacts:
        """The additions to model.json, that this network fills in tubes and does not forecast among them."""
        return replace(super().description(), objective="tubes")
