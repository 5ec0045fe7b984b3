"""Seconds and memory of an alignment step: the whole batch at once, against embeddings recomputed in chunks.

    python benchmarks/astroclip_train_step.py [--objects 64] [--chunk 8] [--repeats 3] [--threads 2] [--size small]

Both forms have the same loss and the same gradient, to rounding; that is checked first. What the chunks cost is one
more forward pass; what they save is the activations of all objects but those of one chunk. Runs take turns and medians
are printed. Memory is what the forward pass keeps for the backward pass, counted tensor by tensor; on a GPU the peak.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time

import torch

from polycli.astroclip.data.randomness import keys_of
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.recipe.model import AugmentationSection, HeadSection, ImageSection, ModelSection, SpectrumSection
from polycli.astroclip.recipe.training import AlignSection
from polycli.astroclip.training.objectives import Alignment

MODELS = {
    "small": ModelSection(
        image=ImageSection(embed_dim=96, depth=4, num_heads=4, layer_scale=0.1),
        spectrum=SpectrumSection(embed_dim=96, depth=3, num_heads=4, section_length=60, section_step=40),
        heads=HeadSection(embed_dim=128, dropout=0.0),
    ),
    "published": ModelSection(image=ImageSection(), spectrum=SpectrumSection(), heads=HeadSection(dropout=0.0)),
}
BANDS = ("g", "r", "z")


def main() -> None:
    options = arguments()
    torch.set_num_threads(options.threads)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    generator = torch.Generator().manual_seed(0)
    batch = {
        "image": 0.1 * torch.randn(options.objects, 3, 152, 152, generator=generator),
        "flux": torch.randn(options.objects, 7781, generator=generator),
        "keys": keys_of(0, torch.arange(options.objects)),
    }
    batch = {name: values.to(device) for name, values in batch.items()}
    torch.manual_seed(0)
    network = AstroClip(MODELS[options.size]).to(device)
    forms = {
        "whole": make(network, options.objects).to(device),
        f"chunks of {options.chunk}": make(network, options.chunk).to(device),
    }
    found = {name: step(model, batch) for name, model in forms.items()}
    (loss, gradient), (other_loss, other_gradient) = found.values()
    difference = float((gradient - other_gradient).norm() / gradient.norm())
    assert abs(loss - other_loss) < 1e-5 * abs(loss), (loss, other_loss)
    assert difference < 1e-4, difference
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    for _ in range(options.repeats):
        for name, model in forms.items():
            start = time.perf_counter()
            step(model, batch)
            seconds[name].append(time.perf_counter() - start)
    print(
        f"{device}, {options.threads} threads, load {os.getloadavg()[0]:.1f}; {options.size}, {options.objects} pairs"
    )
    for name, model in forms.items():
        median = statistics.median(seconds[name])
        speed = f"{median:7.2f} s a step, {options.objects / median:8.1f} pairs/s"
        print(f"{name:14s} {speed}, {kept(model, batch):8.1f} MiB kept")
    medians = [statistics.median(values) for values in seconds.values()]
    print(f"chunks take {medians[1] / medians[0]:.2f} times as long; gradients differ by {difference:.1e}")


def make(network: AstroClip, chunk_size: int) -> Alignment:
    return Alignment(network, AlignSection(), AugmentationSection(), bands=BANDS, chunk_size=chunk_size)


def step(model: Alignment, batch: dict[str, torch.Tensor]) -> tuple[float, torch.Tensor]:
    """Forward and backward; the loss and all gradients in one row."""
    model.zero_grad(set_to_none=True)
    loss, _ = model(batch)
    loss.backward()
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    return float(loss.detach()), torch.cat(gradients)


def kept(model: Alignment, batch: dict[str, torch.Tensor]) -> float:
    """MiB that a forward pass keeps for the backward pass, parameters and the batch itself not counted."""
    if batch["flux"].device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        step(model, batch)
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    own = {tensor.untyped_storage().data_ptr() for tensor in (*model.parameters(), *batch.values())}
    sizes: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        model(batch)
    return sum(sizes.values()) / 2**20


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=64)
    parser.add_argument("--chunk", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--size", choices=list(MODELS), default="small")
    return parser.parse_args()


if __name__ == "__main__":
    main()
