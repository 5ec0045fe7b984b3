"""Learn the parameters of the physics from windows of trajectories: the loss, and the task that the engine trains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polycli.console import counted, say
from polycli.engine.batches.prefetch import read_ahead
from polycli.engine.costs.flops import PASSES
from polycli.engine.deepspeed.backend import device_of
from polycli.engine.ranks import gather
from polycli.engine.task import World
from polycli.errors import UserError
from polycli.mpp.data.windows import WindowBatch, Windows
from polycli.mpp.model.regression import HeadDescription, ParameterAViT
from polycli.mpp.recipe.training import FinetuneRecipe, ModelSection
from polycli.mpp.training.costs import step_flops
from polycli.mpp.training.described import ModelFacts
from polycli.mpp.training.freeze import freeze
from polycli.mpp.training.start import Start
from polycli.mpp.training.targets import describe_head, labelled_windows
from polycli.mpp.training.task import NextFrameFinetuning
from polycli.mpp.training.validation import in_order
from polycli.store.reader import Store

#: Windows that the scale of the head's inputs is taken from, where the network trains too.
SCALED_BY = 256


class ParameterLoss(nn.Module):
    """The mean squared error of standardised targets; `.model` is the network with its head."""

    def __init__(self, model: ParameterAViT) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: dict[str, Tensor]) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """Mean loss over windows and targets, and each window's squared error; in eval mode also `answers` (B, N).

        Args:
            batch: `targets` (B, N), and either `vectors` (B, D) of the network or `fields` (B, T, C, H, W) with
                `state_labels` and `bcs`, from which it makes them.
        """
        vectors = batch.get("vectors")
        if vectors is None:
            vectors = self.model.pooled(batch["fields"], batch["state_labels"], batch["bcs"])
        answers = self.model.parameter_head(vectors)
        errors = (answers - batch["targets"]).square().mean(dim=1)
        metrics = {"squared_error": errors.detach()}
        return errors.mean(), metrics if self.training else {**metrics, "answers": answers}


class ParameterFinetuning(NextFrameFinetuning):
    """The network of a checkpoint, with a head that learns parameters of the physics."""

    recipe: FinetuneRecipe

    def __init__(self, recipe: FinetuneRecipe, start: Start, stores: Sequence[Store], world: World) -> None:
        """Raise RecipeError or StoreError where recipe, checkpoint, stores and processes do not fit each other."""
        stores = sorted(stores, key=lambda store: store.name)
        self.head = describe_head(stores, recipe.head, start.settings.data)
        network = with_head(start, self.head, recipe)
        settings = start.settings.model_copy(update={"model": network.section})
        start = replace(start, network=network, settings=settings)
        super().__init__(recipe, start, stores, world, labelled_windows(self.head))
        self._parameter_network = network
        self.model: nn.Module = ParameterLoss(network)

    def begin(self, world: World) -> None:
        """Take the scale of the head's inputs from training windows.

        A network that does not train sees all windows here, once, unless the steps would not come to all of them.
        """
        device = device_of(world)
        network = self._parameter_network.to(device).eval()
        training, held_back = self.batches.training, self.batches.held_back
        total = sum(map(len, training.values()))
        drawn = self.recipe.train.steps * self.recipe.train.global_batch_size
        if self.recipe.freeze == "all" and total <= drawn:
            say(f"the network is kept: it sees {counted(total, 'training window', 'training windows')} once")
            for part in (training, held_back):
                for name, windows in part.items():
                    part[name] = replace(windows, vectors=self._vectors(windows, range(len(windows)), world, device))
            seen = torch.cat([windows.vectors for windows in training.values() if windows.vectors is not None])
            self._validation = self.batches.validation(world)
        else:
            each = max(SCALED_BY // len(training), 1)
            seen = torch.cat(
                [self._vectors(windows, windows.spread(each).tolist(), world, device) for windows in training.values()]
            )
        network.parameter_head.standardise(seen.to(device))
        network.train()

    def validate(self, forward: nn.Module, world: World) -> dict[str, float]:
        """The loss over all validation windows and, by target, R2 and the root mean square error as it is learnt."""
        answers, truth = [], []
        for part in self._validation:
            rows = []
            for batch in read_ahead(part.batches):
                _, found = forward(batch)
                rows.append(torch.stack([found["answers"].cpu().double(), batch["targets"].cpu().double()], dim=-1))
            ordered = in_order(torch.stack(rows), world)[: part.count]
            answers.append(ordered[..., 0])
            truth.append(ordered[..., 1])
        if not answers:
            return {}
        errors, true = torch.cat(answers) - torch.cat(truth), torch.cat(truth)
        scores = {"validation/loss": float(errors.square().mean())}
        for index, target in enumerate(self.head.targets):
            mean_square = errors[:, index].square().mean()
            spread = float((true[:, index] - true[:, index].mean()).square().mean())
            scores[f"validation/{target.name}/rmse"] = float(mean_square.sqrt()) * target.scale
            if spread > 0:
                scores[f"validation/{target.name}/r2"] = 1 - float(mean_square) / spread
        return scores

    def description(self) -> ModelFacts:
        """The additions to model.json: those of a finetuning, and what the head predicts."""
        return replace(super().description(), head=self.head, frozen=self.recipe.freeze)

    def flops_per_step(self) -> float:
        """Floating-point operations of one optimizer step over all ranks; without the network's where it saw all."""
        head = sum(parameter.numel() for parameter in self._parameter_network.parameter_head.parameters())
        of_head = PASSES * 2.0 * head * self.recipe.train.global_batch_size
        windows = self.batches.training
        if any(each.vectors is not None for each in windows.values()):
            return of_head
        mixture = [(self.batches.shares[name], len(each.labels), each.grid) for name, each in windows.items()]
        of_network = step_flops(self._settings, mixture, decode=False)
        return of_head + (of_network / PASSES if self.recipe.freeze == "all" else of_network)

    @torch.no_grad()
    def _vectors(
        self, windows: Windows, numbers: Sequence[int], world: World, device: torch.device
    ) -> Float[Tensor, "n d"]:
        """The head's input for some windows, on every rank; each rank makes its part."""
        size = self.batches.micro_batch_size(windows.store.name)
        parts = []
        for start in range(world.rank * size, len(numbers), world.size * size):
            chosen = torch.tensor(list(numbers[start : start + size]), dtype=torch.long).numpy()
            batch = {name: values.to(device) for name, values in WindowBatch(windows, chosen, 1.0).load().items()}
            pooled = self._parameter_network.pooled(batch["fields"], batch["state_labels"], batch["bcs"])
            parts.append((start, pooled.float().cpu()))
        ordered = sorted((part for found in gather(world, parts) for part in found), key=lambda part: part[0])
        if not ordered:
            return torch.zeros(0, self._parameter_network.parameter_head.input_centre.shape[0])
        return torch.cat([vectors for _, vectors in ordered])


def with_head(start: Start, head: HeadDescription, recipe: FinetuneRecipe) -> ParameterAViT:
    """The network of a start with a new head on it, frozen where the recipe says so.

    What decodes frames is not asked here: it stays as it is. A network that is kept has no stochastic depth.
    """
    section = start.network.section
    if not isinstance(section, ModelSection):
        raise UserError("head.kind regression is for checkpoints of an AViT; this one holds another network")
    if recipe.freeze == "all":
        section = section.model_copy(update={"drop_path": 0.0})
    torch.manual_seed(recipe.train.seed)  # the same head on every rank
    network = ParameterAViT(section, head, dropout=recipe.head.dropout)
    network.load_state_dict({**network.state_dict(), **start.network.state_dict()})
    freeze(network.train(), recipe.freeze)
    network.debed.requires_grad_(requires_grad=False)
    network.parameter_head.requires_grad_(requires_grad=True)
    return network
