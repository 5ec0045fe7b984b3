"""Not a test: one rank of those that test_contrastive, test_momentum and test_distillation start, or all in one.

Usage: contrast_ranks.py align|moco|dinov2 FOLDER. Reads FOLDER/inputs.pt; rank 0 writes
FOLDER/outputs-<ranks>.pt.
"""

import sys
from pathlib import Path

import torch
from torch import distributed

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.vision_transformer import VisionTransformer
from polycli.astroclip.recipe.model import AugmentationSection, HeadSection, ImageSection, ModelSection, SpectrumSection
from polycli.astroclip.recipe.objectives import Dinov2Section, MocoSection
from polycli.astroclip.recipe.training import AlignSection
from polycli.astroclip.training.distillation import SelfDistillation
from polycli.astroclip.training.distillation_losses import koleo
from polycli.astroclip.training.momentum import MomentumContrast
from polycli.astroclip.training.objectives import Alignment
from polycli.launch import World, end_process, join_process_group, leave_process_group

IMAGE = ImageSection(size=24, patch_size=12, embed_dim=16, depth=2, num_heads=2, layer_scale=0.1)
SPECTRUM = SpectrumSection(embed_dim=16, depth=1, num_heads=2)
BANDS = ("g", "r", "z")


def mean_over_ranks(world: World, values: torch.Tensor) -> torch.Tensor:
    """What the engine does with losses and gradients."""
    if world.size > 1:
        distributed.all_reduce(values)
    return values / world.size


def align(world: World, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Loss and gradients of one batch, by size of the chunks."""
    found = {}
    share = len(inputs["image"]) // world.size
    mine = {name: values[world.rank * share : (world.rank + 1) * share] for name, values in inputs.items()}
    for chunk_size in (share, 2, 1):
        torch.manual_seed(0)
        network = AstroClip(
            ModelSection(image=IMAGE, spectrum=SPECTRUM, heads=HeadSection(embed_dim=8, num_heads=2, dropout=0.0))
        )
        model = Alignment(
            network, AlignSection(learn_scale=True), AugmentationSection(), bands=BANDS, chunk_size=chunk_size
        )
        loss, _ = model(mine)
        loss.backward()
        name = "whole" if chunk_size == share else str(chunk_size)
        found[f"{name}/loss"] = mean_over_ranks(world, loss.detach())
        for place, parameter in model.named_parameters():
            if parameter.requires_grad:
                found[f"{name}/{place}"] = mean_over_ranks(world, parameter.grad)
    return found


def moco(world: World, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Everything that three steps leave behind, with micro-batches of two."""
    torch.manual_seed(0)
    section = MocoSection(queue_size=20, projection=8, momentum=0.5)
    model = MomentumContrast(AstroClip(ModelSection(image=IMAGE)), section, AugmentationSection(), bands=BANDS)
    return three_steps(model, world, inputs, micro_batches=lambda share: share // 2)


def dinov2(world: World, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same of self-distillation, whose micro-batches of all ranks together are one and the same here.

    KoLeo, whose gradients are huge between vectors that are nearly alike, is computed by itself and in float64: of a
    whole network, and in micro-batches of half of the images, one on each of two ranks or both on one.
    """
    found = {}
    for centring in ("centre", "sinkhorn"):
        torch.manual_seed(0)
        section = Dinov2Section(
            local_crops=1,
            local_size=12,
            prototypes=5,
            head_width=8,
            bottleneck=4,
            momentum=0.5,
            centring=centring,
            koleo_weight=0.0,
        )
        network = AstroClip(ModelSection(image=IMAGE))
        model = SelfDistillation(network, section, AugmentationSection(), bands=BANDS, steps=9)
        state = three_steps(model, world, inputs, micro_batches=lambda _: 1)
        found |= {f"{centring}/{name}": value for name, value in state.items()}
    torch.manual_seed(0)
    network = VisionTransformer(IMAGE).double()
    images = inputs["image"][:, :, :24, :24].double()
    chunks = images.view(2, len(images) // 2, *images.shape[1:])[world.rank :: world.size]
    loss = torch.stack([koleo(network.pooled(chunk)).mean() for chunk in chunks]).mean()
    loss.backward()
    found["koleo"] = mean_over_ranks(world, loss.detach())
    gradients = {name: part.grad for name, part in network.named_parameters() if part.grad is not None}
    return found | {f"koleo/{name}": mean_over_ranks(world, gradient) for name, gradient in gradients.items()}


def three_steps(model, world: World, inputs, *, micro_batches) -> dict[str, torch.Tensor]:
    """Train as the engine does, and return all state and the losses."""
    optimizer = torch.optim.SGD((p for p in model.parameters() if p.requires_grad), lr=0.05)
    size = len(inputs["image"])
    losses = []
    for step in range(3):
        keys = keys_of(0, torch.arange(step * size, (step + 1) * size))
        share = size // world.size
        mine = torch.arange(world.rank * share, (world.rank + 1) * share).view(micro_batches(share), -1)
        optimizer.zero_grad()
        total = torch.zeros(())
        for index, chunk in enumerate(mine):
            batch = {"image": inputs["image"][chunk], "keys": keys[chunk], "place": torch.tensor([index, len(mine)])}
            loss, _ = model(batch)
            (loss / len(mine)).backward()
            total += loss.detach() / len(mine)
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.grad = mean_over_ranks(world, parameter.grad)
        losses.append(mean_over_ranks(world, total))
        optimizer.step()
    return {**model.state_dict(), "losses": torch.stack(losses)}


if __name__ == "__main__":
    task, folder = sys.argv[1], Path(sys.argv[2])
    here = join_process_group()
    outputs = {"align": align, "moco": moco, "dinov2": dinov2}[task](
        here, torch.load(folder / "inputs.pt", weights_only=True)
    )
    if here.rank == 0:
        torch.save(outputs, folder / f"outputs-{here.size}.pt")
    leave_process_group()
    end_process(0)
