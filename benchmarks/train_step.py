"""Seconds of one training step of AViT-Ti: the model, compiled, against the plain form of the same mathematics.

    python benchmarks/train_step.py [--repeats 5] [--threads 2] [--precision float32 bfloat16] [--blocks 12]

The plain form below is what one writes first, and what the published code does: channels first, the field projection
at full resolution before the stem, 1x1 convolutions, every frame through every block and through the decoder. It is
also the oracle of `tests/mpp/test_model.py`: outputs and gradients must agree. Runs are interleaved, so that a
disturbance of the machine meets all of them, and medians are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import math
import statistics
import time
from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.nn import functional

from polycli.engine.blocks import compile_blocks
from polycli.mpp.model.avit import AViT
from polycli.mpp.model.metrics import mean_square, mean_square_error
from polycli.mpp.recipe.training import ModelSection

HISTORY, FIELDS, GRID = 16, 4, 128
TINY = ModelSection(embed_dim=192, num_heads=3, blocks=12, drop_path=0.0)


def plain_forward(
    weights: Mapping[str, Tensor], section: ModelSection, x: Tensor, labels: Tensor, bcs: Tensor
) -> Tensor:
    """Next state from x (B, T, C, H, W), labels (C,) and bcs (B, 2) with equal rows; patch size 16, relative bias."""
    x = x.transpose(0, 1)
    frames, samples, fields = x.shape[:3]
    variance, mean = torch.var_mean(x, dim=(0, 3, 4), keepdim=True)
    scale = (variance + 1e-12 * (mean**2 + variance) + 1e-24).sqrt()
    x = ((x - mean) / scale).movedim(2, -1)

    projected = functional.linear(x, weights["space_bag.weight"][:, labels], weights["space_bag.bias"])
    x = (projected * math.sqrt(len(section.fields) / fields)).movedim(-1, 2).flatten(0, 1)
    for place, stride in ((0, 4), (3, 2), (6, 2)):
        x = functional.conv2d(x, weights[f"embed.in_proj.{place}.weight"], stride=stride)
        x = _rms_norm(x, weights[f"embed.in_proj.{place + 1}.weight"])
        x = functional.gelu(x) if place < 6 else x

    for block in range(section.blocks):
        parts = {
            part: {
                name.removeprefix(f"blocks.{block}.{part}."): value
                for name, value in weights.items()
                if name.startswith(f"blocks.{block}.{part}.")
            }
            for part in ("temporal", "spatial")
        }
        x = _temporal(parts["temporal"], section, x.unflatten(0, (frames, samples))).flatten(0, 1)
        x = _spatial(parts["spatial"], section, x, bcs)

    for place in (0, 3):
        x = functional.conv_transpose2d(x, weights[f"debed.out_proj.{place}.weight"], stride=2)
        x = functional.gelu(_rms_norm(x, weights[f"debed.out_proj.{place + 1}.weight"]))
    kernel, bias = weights["debed.out_kernel"][:, labels], weights["debed.out_bias"][labels]
    x = functional.conv_transpose2d(x, kernel, bias, stride=4).unflatten(0, (frames, samples))
    return (x * scale + mean)[-1]


def _temporal(weights: Mapping[str, Tensor], section: ModelSection, x: Tensor) -> Tensor:
    """Attention over time; x (T, B, D, H, W)."""
    frames, samples, _, height, width = x.shape
    y = functional.instance_norm(x.flatten(0, 1), weight=weights["norm1.weight"], bias=weights["norm1.bias"])
    query, key, value = _query_key_value(weights, section, y)  # (T * B, heads, H, W, channels)
    query, key, value = (
        part.unflatten(0, (frames, samples)).permute(1, 3, 4, 2, 0, 5).flatten(0, 2) for part in (query, key, value)
    )
    bias = _position_bias(weights, frames, periodic=False)
    y = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    y = y.unflatten(0, (samples, height, width)).permute(4, 0, 3, 5, 1, 2).flatten(2, 3).flatten(0, 1)
    y = functional.instance_norm(y, weight=weights["norm2.weight"], bias=weights["norm2.bias"])
    y = functional.conv2d(y, weights["output_head.weight"], weights["output_head.bias"])
    return x + (y * weights["gamma"][:, None, None]).unflatten(0, (frames, samples))


def _spatial(weights: Mapping[str, Tensor], section: ModelSection, x: Tensor, bcs: Tensor) -> Tensor:
    """Attention along each axis, then the MLP; x (T * B, D, H, W)."""
    height, width = x.shape[2:]
    query, key, value = _query_key_value(weights, section, _rms_norm(x, weights["norm1.weight"]))
    bias = _position_bias(weights, width, periodic=bool(bcs[0, 0]))
    rows = functional.scaled_dot_product_attention(
        *(part.transpose(1, 2).flatten(0, 1) for part in (query, key, value)), attn_mask=bias
    )
    rows = rows.unflatten(0, (-1, height)).permute(0, 2, 4, 1, 3).flatten(1, 2)
    bias = _position_bias(weights, height, periodic=bool(bcs[0, 1]))
    columns = functional.scaled_dot_product_attention(
        *(part.permute(0, 3, 1, 2, 4).flatten(0, 1) for part in (query, key, value)), attn_mask=bias
    )
    columns = columns.unflatten(0, (-1, width)).permute(0, 2, 4, 3, 1).flatten(1, 2)
    y = _rms_norm((rows + columns) / 2, weights["norm2.weight"])
    y = functional.conv2d(y, weights["output_head.weight"], weights["output_head.bias"])
    x = x + y * weights["gamma_att"][:, None, None]
    y = functional.linear(x.movedim(1, -1), weights["mlp.fc1.weight"], weights["mlp.fc1.bias"])
    y = functional.linear(functional.gelu(y), weights["mlp.fc2.weight"], weights["mlp.fc2.bias"]).movedim(-1, 1)
    return x + _rms_norm(y, weights["mlp_norm.weight"]) * weights["gamma_mlp"][:, None, None]


def _query_key_value(weights: Mapping[str, Tensor], section: ModelSection, x: Tensor) -> list[Tensor]:
    """Three of (N, heads, H, W, channels) from (N, D, H, W), queries and keys normalised."""
    y = functional.conv2d(x, weights["input_head.weight"], weights["input_head.bias"])
    query, key, value = y.unflatten(1, (section.num_heads, -1)).movedim(2, -1).chunk(3, dim=-1)
    channels = query.shape[-1:]
    query = functional.layer_norm(query, channels, weights["qnorm.weight"], weights["qnorm.bias"])
    key = functional.layer_norm(key, channels, weights["knorm.weight"], weights["knorm.bias"])
    return [query.to(value.dtype), key.to(value.dtype), value]


def _rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    """Over (H, W) of (N, D, H, W), in float32 as the mathematics asks."""
    x = x.to(torch.promote_types(x.dtype, torch.float32))
    variance, mean = torch.var_mean(x, dim=(-2, -1), keepdim=True)
    return x / (variance + 1e-8 * mean**2 + 1e-12).sqrt() * weight[:, None, None]


def _position_bias(weights: Mapping[str, Tensor], length: int, *, periodic: bool) -> Tensor:
    """Values of the logarithmic buckets of key - query, (1, heads, L, L)."""
    offset = torch.arange(length)[None, :] - torch.arange(length)[:, None]
    if periodic:
        offset = torch.where(2 * offset < -length, offset + length, offset)
        offset = torch.where(2 * offset > length, offset - length, offset)
    distance = offset.abs()
    logarithmic = 8 + (torch.log(distance.clamp(min=1) / 8) / math.log(32 / 8) * 8).long()
    bucket = torch.where(distance < 8, distance, logarithmic.clamp(max=15)) + 16 * (offset > 0)
    bias = functional.embedding(bucket, weights["rel_pos_bias.relative_attention_bias.weight"])
    bias = bias.permute(2, 0, 1)[None]
    return bias.to(torch.get_autocast_dtype("cpu")) if torch.is_autocast_enabled("cpu") else bias


def loss_of(prediction: Tensor, target: Tensor) -> Tensor:
    """The published loss."""
    return (mean_square_error(prediction, target) / (mean_square(target) + 1e-7)).mean()


def make_steps(section: ModelSection, precision: str, *, also_eager: bool) -> dict[str, Callable[[], Tensor]]:
    """By name: one forward and backward pass on one sample, returning the loss."""
    torch.manual_seed(0)
    model = AViT(section).train()
    compiled = copy.deepcopy(model)
    compile_blocks(compiled.blocks)
    x = torch.randn(1, HISTORY, FIELDS, GRID, GRID)
    target = torch.randn(1, FIELDS, GRID, GRID)
    labels, bcs = torch.tensor([6, 7, 8, 9]), torch.ones(1, 2, dtype=torch.long)
    weights = dict(model.named_parameters())

    def step(owner: AViT, forward: Callable[[], Tensor]) -> Tensor:
        owner.zero_grad(set_to_none=True)
        autocast = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
        with autocast:
            prediction = forward()
        loss = loss_of(prediction, target)
        loss.backward()
        return loss.detach()

    steps = {
        "plain eager": lambda: step(model, lambda: plain_forward(weights, section, x, labels, bcs)),
        "ours compiled": lambda: step(compiled, lambda: compiled(x, labels, bcs)),
    }
    if also_eager:
        steps["ours eager"] = lambda: step(model, lambda: model(x, labels, bcs))
    return steps


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    parser.add_argument("--blocks", type=int, default=TINY.blocks, help="fewer compile sooner")
    parser.add_argument("--also", choices=["eager"], help="measure our model without compilation too")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    section = TINY.model_copy(update={"blocks": arguments.blocks})
    print(f"AViT-Ti, {HISTORY} frames, {FIELDS} fields, {GRID} x {GRID}, one sample, {arguments.threads} threads")
    for precision in arguments.precision:
        steps = make_steps(section, precision, also_eager=arguments.also is not None)
        losses = {name: float(step()) for name, step in steps.items()}  # compiles, and warms the caches
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(arguments.repeats):
            for name, step in steps.items():
                start = time.perf_counter()
                step()
                seconds[name].append(time.perf_counter() - start)
        reference = statistics.median(seconds["plain eager"])
        for name, values in seconds.items():
            median = statistics.median(values)
            spread = f"{min(values):.3f}..{max(values):.3f}"
            speed = f"{median:.3f} s ({spread}) {reference / median:5.2f}x"
            print(f"{precision:9s} {name:14s} {speed} loss {losses[name]:.6f}", flush=True)


if __name__ == "__main__":
    main()
