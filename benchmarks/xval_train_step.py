"""Seconds of one training step on planets: ours against the plain eager form of the same network and loss.

    python benchmarks/xval_train_step.py [--store STORE] [--repeats 8] [--threads 2] [--precision float32 bfloat16]

The plain form is the published code's shape, written anew: records padded to the longest of a batch drawn at random,
every head at every position, torch's own `nn.TransformerEncoder` without fused attention kernels, dropout in attention.
Ours reads batches of like length, answers where something is hidden, and uses fused attention. On the same batch,
without dropout, both give the same loss, which is checked first. Runs take turns, so that a disturbance of the machine
meets both; what is printed is time over tokens that are no padding. On a busy machine `--clock process --threads 1`
counts the time that was computed, not waited.
"""

from __future__ import annotations

import argparse
import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from polycli.engine.task import Batch, World
from polycli.requests import PrepareRequest
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from polycli.xval.recipe.training import PretrainRecipe
from polycli.xval.records.structure import NUM, PAD
from polycli.xval.training.batches import RecordBatches, fill_in_batches
from polycli.xval.training.objective import FillIn

SIZES = {
    "paper": {"embed_dim": 768, "num_heads": 6, "blocks": 6, "feed_forward": 3072},
    "half": {"embed_dim": 384, "num_heads": 3, "blocks": 3, "feed_forward": 1536},
    "quarter": {"embed_dim": 192, "num_heads": 2, "blocks": 2, "feed_forward": 768},
}


class PlainNumformer(nn.Module):
    """The same network as one writes it first, from torch's own layers."""

    def __init__(self, section: ModelSection, tokens: int) -> None:
        super().__init__()
        width, hidden = section.embed_dim, section.feed_forward
        layer = nn.TransformerEncoderLayer(
            width, section.num_heads, hidden, section.dropout, functional.gelu, batch_first=True, norm_first=True
        )
        self.encoder_stack = nn.TransformerEncoder(layer, section.blocks, enable_nested_tensor=False)
        self.token_embed, self.position_embed = nn.Embedding(tokens, width), nn.Embedding(section.context, width)
        self.lm_head = nn.Sequential(
            nn.Linear(width, hidden, bias=False), nn.GELU(), nn.Linear(hidden, tokens, bias=False)
        )
        self.num_head = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, 1))

    def forward(self, token_ids: Tensor, numbers: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and numbers everywhere."""
        x = self.token_embed(token_ids) * numbers[..., None] + self.position_embed.weight[: token_ids.shape[1]]
        with sdpa_kernel(SDPBackend.MATH):
            x = self.encoder_stack(x)
        return self.lm_head(x), self.num_head(x)[..., 0]


def plain_step(model: PlainNumformer, batch: Batch) -> Tensor:
    """Cross-entropy of what is hidden plus squared error of hidden numbers."""
    logits, numbers = model(batch["token_ids"], batch["numbers"])
    labels = torch.full(batch["token_ids"].shape, -100)
    labels.view(-1)[batch["at"]] = batch["target_ids"]
    truth = torch.zeros(numbers.shape)
    truth.view(-1)[batch["number_at"]] = batch["number_targets"]
    loss = functional.cross_entropy(logits.float().flatten(0, 1), labels.flatten())
    hidden = labels == NUM
    return loss + functional.mse_loss(numbers.float()[hidden], truth[hidden])


def batches_of(store: Path, model: dict[str, object], *, buckets: int, size: int) -> RecordBatches:
    recipe = PretrainRecipe.model_validate(
        {
            "family": "xval",
            "verb": "pretrain",
            "model": model,
            "data": {"bucket_batches": buckets},
            "train": {"steps": 1, "global_batch_size": size, "micro_batch_size": size},
        }
    )
    stores = [open_records(store)]
    tokenization = tokenization_for(recipe.model, None, stores)
    return fill_in_batches(stores, tokenization, data=recipe.data, objective=recipe.objective, train=recipe.train)


def loaded(batches: RecordBatches, count: int) -> list[Batch]:
    found = [batches.micro_batches(step, World())[0].load() for step in range(count)]
    return [{name: tensor for name, tensor in batch.items() if name != "divisors"} for batch in found]


def check(section: ModelSection, tokens: int, batch: Batch) -> None:
    """Both forms give one loss, on a batch without padding and without dropout."""
    torch.manual_seed(0)
    quiet = section.model_copy(update={"dropout": 0.0, "attention_dropout": 0.0, "blocks": 1})
    ours, plain = FillIn(Numformer(quiet, tokens)), PlainNumformer(quiet, tokens)
    plain.load_state_dict(ours.model.state_dict())
    row = {name: tensor[:1] for name, tensor in batch.items() if tensor.ndim == 2}
    width = row["token_ids"].shape[1]
    real = int((row["token_ids"] != ours.model.special.pad).sum())
    row = {name: tensor[:, :real] for name, tensor in row.items()}
    for at, names in (("at", ("target_ids",)), ("number_at", ("number_targets",))):
        mine = batch[at] < width
        row[at] = batch[at][mine]
        row |= {name: batch[name][mine] for name in names}
    with torch.no_grad():
        one, other = float(ours(row)[0]), float(plain_step(plain, row))
    assert abs(one - other) < 1e-5 * abs(other), (one, other)


def timed(
    step: Callable[[Batch], Tensor], model: nn.Module, batches: Sequence[Batch], *, precision: str, clock: str
) -> Iterator[tuple[float, int]]:
    """Seconds and tokens of forward and backward passes, one batch after the other."""
    now = time.process_time if clock == "process" else time.perf_counter
    while True:
        for batch in batches:
            model.zero_grad(set_to_none=True)
            lower = torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else contextlib.nullcontext()
            started = now()
            with lower:
                loss = step(batch)
            loss.backward()
            yield now() - started, int((batch["token_ids"] != PAD).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--store", type=Path, help="planets; 512 systems of the paper's kind are made if absent")
    parser.add_argument("--repeats", type=int, default=8)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--sizes", choices=list(SIZES), default="paper")
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--attention-dropout", type=float, default=0.0, help="of ours; the plain form has --dropout")
    parser.add_argument("--clock", choices=["wall", "process"], default="wall")
    parser.add_argument("--precision", nargs="+", choices=["float32", "bfloat16"], default=["float32", "bfloat16"])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        store = arguments.store or make_planets(Path(folder) / "planets.zarr")
        model = {
            **SIZES[arguments.sizes],
            "context": 1024,
            "dropout": arguments.dropout,
            "attention_dropout": arguments.attention_dropout,
        }
        sorted_ = batches_of(store, model, buckets=64, size=arguments.batch)
        unsorted = batches_of(store, model, buckets=1, size=arguments.batch)
        shares = f"padding {sorted_.padding_share():.1%} sorted, {unsorted.padding_share():.1%} as drawn"
        # All of one bucket, so that both see records of all lengths.
        ours_batches, plain_batches = loaded(sorted_, 64), loaded(unsorted, 64)
    section, tokens = ModelSection.model_validate(model), sorted_.tokenization.tokens
    check(section, tokens, plain_batches[0])
    print(f"{arguments.sizes} sizes, {arguments.batch} records, {arguments.threads} threads; {shares}")
    for precision in arguments.precision:
        torch.manual_seed(0)
        ours, plain = FillIn(Numformer(section, tokens)), PlainNumformer(section, tokens)

        def our_step(batch: Batch, model: FillIn = ours) -> Tensor:
            return model(batch)[0]

        def their_step(batch: Batch, model: PlainNumformer = plain) -> Tensor:
            return plain_step(model, batch)

        order = np.random.default_rng(0).permutation(64)
        how = {"precision": precision, "clock": arguments.clock}
        runs = {
            "plain eager": timed(their_step, plain, [plain_batches[place] for place in order], **how),
            "ours": timed(our_step, ours, [ours_batches[place] for place in order], **how),
        }
        for run in runs.values():
            next(run)  # Warms up.
        taken: dict[str, list[tuple[float, int]]] = {name: [] for name in runs}
        for _ in range(arguments.repeats):
            for name, run in runs.items():
                taken[name].append(next(run))
        rates = {name: sum(t for t, _ in parts) / sum(n for _, n in parts) for name, parts in taken.items()}
        for name, rate in rates.items():
            single = [seconds / tokens * 1e6 for seconds, tokens in taken[name]]
            spread = f"{min(single):.0f}..{max(single):.0f}"
            speed = rates["plain eager"] / rate
            print(f"{precision:9s} {name:12s} {rate * 1e6:7.1f} us a token ({spread}) {speed:5.2f}x", flush=True)


def make_planets(path: Path) -> Path:
    from polycli.xval import prepare

    overrides = ("planets.systems=640", "planets.substeps=4")
    prepare.run(PrepareRequest(source="planets", inputs=(), output=path, overrides=overrides, workers=1, json=True))
    return path


if __name__ == "__main__":
    main()
