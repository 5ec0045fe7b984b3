"""Networks of other kinds beside AViT, each trained for the same time on the same small data, and one table of them.

    python benchmarks/mpp_baselines.py --work FOLDER [--seconds 40] [--record mpp_baselines]

Four systems at 32 x 32. The entries: AViT, a Fourier neural operator, a U-Net and a video transformer on all four; the
video transformer after masked tubes, half of the time each; and one AViT for each system, a quarter of the time each.
How long a step takes on the clock depends on what else a machine does. So all steps are measured beforehand in turns,
in processor time of one thread, and a training has as many of them as fit into its time. The learning rate is the
better one of two in a fifth of the time, by the mean loss of the last third. What FOLDER has is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from _record import add_option, finish

from polycli.launch import World
from polycli.mpp.recipe.training import PretrainRecipe
from polycli.mpp.training.task import NextFramePretraining
from polycli.mpp.training.tubes import TubePretraining
from polycli.recipes import load_recipe
from polycli.report.table import Table, number
from polycli.store.reader import open_store

SYSTEMS = {
    "shallow_water": "system: shallow_water, variant: bumps",
    "diffusion_reaction": "system: diffusion_reaction",
    "incompressible_ns": "system: incompressible_ns",
    "compressible_ns": "system: compressible_ns, interval: 0.04, parameters: {viscosity: 0.01}",
}
DATA = """
family: mpp
verb: prepare
split: {validation: 0.1, test: 0.2}
simulate:
"""
FIELDS = (
    "[shallow_water.height, shallow_water.velocity_x, shallow_water.velocity_y, diffusion_reaction.activator, "
    "diffusion_reaction.inhibitor, incompressible_ns.velocity_x, incompressible_ns.velocity_y, "
    "incompressible_ns.tracer, compressible_ns.velocity_x, compressible_ns.velocity_y, compressible_ns.density, "
    "compressible_ns.pressure]"
)
MODELS = {
    "avit": "embed_dim: 64, num_heads: 4, blocks: 3, patch_size: 4, drop_path: 0.0, layer_scale: 0.1",
    "fno": "kind: fno, width: 24, modes: 8, blocks: 3",
    "unet": "kind: unet, width: 12, stages: 3, blocks_per_stage: 1, layer_scale: 0.1",
    "vit": "kind: vit, embed_dim: 64, num_heads: 4, blocks: 3, decoder_dim: 48, decoder_heads: 4, decoder_blocks: 2, "
    "patch_size: 4, tubelet: 2",
}
#: Windows of each system in a step; a model of one system takes these alone.
WINDOWS = 2
RATES = (1e-3, 3e-3)
SECTIONS = """
data: {history: 4, validation_windows: 16, workers: 1, draws_per_step: DRAWS}
optim: {learning_rate: RATE, weight_decay: 1.0e-4, betas: [0.9, 0.95], clip_norm: 1.0}
schedule: {name: cosine, warmup_steps: WARMUP, final_fraction: 0.02}
train: {steps: STEPS, global_batch_size: BATCH, micro_batch_size: 2, seed: 0, validate_every: 100000,
  checkpoint_every: 100000, keep_last: 1}
log: {every: 20}
"""


@dataclass(frozen=True)
class Training:
    """One command that trains: its network, its loss and its systems, and the part of the time that it has."""

    name: str
    model: str
    systems: Sequence[str]
    share: float = 1.0
    tubes: bool = False
    #: The training that it goes on from.
    after: str | None = None

    def recipe(self, *, steps: int, rate: float) -> str:
        """Its recipe as YAML."""
        sections = SECTIONS.replace("DRAWS", str(len(self.systems))).replace("BATCH", str(WINDOWS * len(self.systems)))
        sections = sections.replace("STEPS", str(steps)).replace("RATE", repr(rate))
        sections = sections.replace("WARMUP", str(max(1, steps // 10)))
        loss = "kind: tubes, mask_ratio: 0.75" if self.tubes else "normalise_by: change"
        head = "family: mpp\nverb: finetune\n"
        if self.after is None:
            head = f"family: mpp\nverb: pretrain\nmodel: {{{MODELS[self.model]}, predicts: change, fields: {FIELDS}}}\n"
        return f"{head}objective: {{{loss}}}\n{sections}"


TRAININGS = (
    Training("avit", "avit", [*SYSTEMS]),
    Training("fno", "fno", [*SYSTEMS]),
    Training("unet", "unet", [*SYSTEMS]),
    Training("vit", "vit", [*SYSTEMS]),
    Training("tubes_pretrained", "vit", [*SYSTEMS], share=0.5, tubes=True),
    Training("tubes", "vit", [*SYSTEMS], share=0.5, after="tubes_pretrained"),
    *(Training(f"only_{name}", "avit", [name], share=1 / len(SYSTEMS)) for name in SYSTEMS),
)


class Bench:
    """The folder in which everything is made."""

    def __init__(self, work: Path, trajectories: int, frames: int) -> None:
        self.work, self.trajectories, self.frames = work, trajectories, frames
        work.mkdir(parents=True, exist_ok=True)

    def prepare(self) -> None:
        """Simulate the four systems."""
        text = DATA + "".join(
            f"  {name}: {{{what}, trajectories: {self.trajectories}, frames: {self.frames}, grid: 32, seed: {seed}}}\n"
            for seed, (name, what) in enumerate(SYSTEMS.items(), start=41)
        )
        recipe = self._write("data.yaml", text)
        if not all((self.work / "stores" / f"{name}.zarr").is_dir() for name in SYSTEMS):
            self._polycli("prepare", "--source", "simulate", "--recipe", recipe, "--output", self.work / "stores")

    def costs(self) -> dict[str, float]:
        """Processor seconds of a step of each training, the median of some turns that all take."""
        file = self.work / "costs.json"
        if not file.is_file():
            steps = {training.name: self._step(training, rate=1e-6)[0] for training in TRAININGS}
            taken: dict[str, list[float]] = {name: [] for name in steps}
            for turn in range(6):
                for name, step in steps.items():
                    begin = time.process_time()
                    step()
                    if turn > 0:  # The first turn warms up.
                        taken[name].append(time.process_time() - begin)
            file.write_text(json.dumps({name: sorted(times)[len(times) // 2] for name, times in taken.items()}))
        found: dict[str, float] = json.loads(file.read_text())
        return found

    def rates(self, seconds: float, costs: Mapping[str, float]) -> dict[str, float]:
        """The better learning rate of each network, in a fifth of the time, with a schedule of that length."""
        file = self.work / "rates.json"
        read: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        for model in MODELS:
            if model not in read:
                steps = max(6, round(seconds / 5 / costs[model]))
                read[model] = {str(rate): self._short(model, rate, steps) for rate in RATES}
                file.write_text(json.dumps(read))
        return {model: float(min(found, key=found.get)) for model, found in read.items()}

    def train(self, training: Training, *, steps: int, rate: float) -> None:
        """Run one training, or find that it is complete."""
        recipe = self._write(f"{training.name}.yaml", training.recipe(steps=steps, rate=rate))
        verb = "pretrain" if training.after is None else "finetune"
        start = [] if training.after is None else ["--checkpoint", self.work / training.after]
        data = [word for name in training.systems for word in ("--data", self.work / "stores" / f"{name}.zarr")]
        self._polycli(verb, "--recipe", recipe, *start, *data, "--output", self.work / training.name)

    def evaluate(self) -> dict[str, Any]:
        """Score all forecasters on the test trajectories of all systems."""
        names = [training.name for training in TRAININGS if not training.tubes]
        others = [word for name in names[1:] for word in ("--baseline", self.work / name)]
        output = self.work / "eval"
        data = ("--data", self.work / "stores", "--output", output)
        if not (output / "scores.json").is_file():
            self._polycli("eval", "--checkpoint", self.work / names[0], *others, *data)
        scores: dict[str, Any] = json.loads((output / "scores.json").read_text())
        return scores

    def _step(self, training: Training, *, rate: float) -> tuple[Callable[[], float], torch.optim.Optimizer]:
        """One training step after the other, in this process, and its optimizer: what the engine does, but for logs."""
        plain = Training(training.name, training.model, training.systems, tubes=training.tubes)
        file = self._write("measured.yaml", plain.recipe(steps=1000, rate=rate))
        recipe = load_recipe(str(file), family="mpp", verb="pretrain", schema=PretrainRecipe)
        stores = [open_store(self.work / "stores" / f"{name}.zarr") for name in training.systems]
        task = (TubePretraining if training.tubes else NextFramePretraining)(recipe, stores, World())
        model = task.model.train()
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=rate, betas=(0.9, 0.95), weight_decay=1e-4)
        numbers = iter(range(10**9))

        def step() -> float:
            total = 0.0
            for batch in task.micro_batches(next(numbers), World()):
                loss, _ = model(batch.load())
                (loss * batch.weight).backward()
                total += loss.item() * batch.weight
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            optimizer.zero_grad()
            return total

        return step, optimizer

    def _short(self, model: str, rate: float, steps: int) -> float:
        step, optimizer = self._step(Training(model, model, [*SYSTEMS]), rate=rate)
        losses = []
        for place in range(steps):
            warm = min(1.0, (place + 1) / max(1, steps // 10))
            optimizer.param_groups[0]["lr"] = rate * warm * (1 - 0.98 * place / steps)
            losses.append(step())
        last = losses[-max(1, steps // 3) :]
        return sum(last) / len(last)

    def _write(self, name: str, text: str) -> Path:
        path = self.work / name
        path.write_text(text, encoding="utf-8")
        return path

    def _polycli(self, verb: str, *words: object) -> None:
        line = [sys.executable, "-m", "polycli", verb, "mpp", *map(str, words)]
        subprocess.run(line, check=True, stdout=subprocess.DEVNULL)


def tables(scores: Mapping[str, Any], steps: Mapping[str, int]) -> list[Table]:
    """One table of what a model costs and how good it is on all systems, and two by system."""
    datasets = {name: found["comparison"]["models"] for name, found in scores["datasets"].items()}
    joint = [training.name for training in TRAININGS if not training.tubes and len(training.systems) == len(SYSTEMS)]
    simple = [name for name in next(iter(datasets.values())) if name not in steps]
    rows: dict[str, dict[str, str]] = {name: dict.fromkeys(datasets, name) for name in (*joint, *simple)}
    # One row for the models of one system each.
    rows["AViT, one for each"] = {name: f"only_{name}" for name in datasets}
    shown = {"avit": "AViT", "fno": "FNO", "unet": "U-Net", "vit": "ViT", "tubes": "ViT after tubes"}
    order = [*joint[:1], "AViT, one for each", *joint[1:], *simple]

    def values(row: str, read: Callable[[Mapping[str, Any]], float | None]) -> list[float | None]:
        return [read(found[rows[row][name]]) for name, found in datasets.items()]

    def cells(read: Callable[[Mapping[str, Any]], float | None]) -> list[list[str]]:
        return [
            [shown.get(row, row), *map(number, found), number(geometric(found))]
            for row, found in ((row, values(row, read)) for row in order)
        ]

    columns = ["model", *(name.replace("_", " ") for name in datasets), "geometric mean"]
    costs, rollouts = [], sum(found["trajectories"] for found in scores["datasets"].values())
    for row in order:
        cost = next(iter(datasets.values()))[rows[row][next(iter(datasets))]]["cost"]
        trained = [name for name in dict.fromkeys(rows[row].values()) if name in steps]
        trained = ["tubes_pretrained", *trained] if row == "tubes" else trained
        count = [str(steps[name]) for name in trained]
        blown = sum(found[rows[row][name]]["blow_up"]["rollouts"] for name, found in datasets.items())
        line = [shown.get(row, row), cost["kind"], " + ".join(count) or "-", f"{cost['parameters']:,}"]
        costs.append([*line, number(cost["flops"] / 1e6), f"{blown} of {rollouts}"])
    whole = next(iter(scores["datasets"].values()))["comparison"]["steps"]
    return [
        Table("VRMSE of one step", columns, cells(lambda model: model["one_step"]["vrmse"]["mean"])),
        Table(
            f"VRMSE of rollouts, mean of all {whole} steps",
            columns,
            cells(lambda model: model["rollout"]["vrmse"]["trajectory"]["mean"]),
        ),
        Table(
            "What they cost",
            ["model", "kind", "training steps", "parameters", "MFLOP a step", "rollouts blown up"],
            costs,
            "Operations of one forecast step of compressible flow.",
            2,
        ),
    ]


def kept(comparison: Mapping[str, Any]) -> dict[str, Any]:
    """VRMSE and costs of each model, without the milliseconds, which the load of the machine decides."""
    return {
        name: {
            "one_step": model["one_step"]["vrmse"],
            "rollout": {span: entry for span, entry in model["rollout"]["vrmse"].items() if span != "growth"},
            "blow_up": model["blow_up"],
            "cost": {key: value for key, value in model["cost"].items() if key != "milliseconds"},
        }
        for name, model in comparison["models"].items()
    }


def geometric(values: Iterable[float | None]) -> float | None:
    """The geometric mean over systems, so that none outweighs the others; None where a forecast was not finite."""
    known = list(values)
    if any(value is None for value in known):
        return None
    return float(torch.tensor(known, dtype=torch.float64).log().mean().exp())


def main() -> None:
    """Make what is missing, print and, where it is asked, record."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="where stores, runs and scores go")
    parser.add_argument("--seconds", type=float, default=40.0, help="processor seconds of training for each entry")
    parser.add_argument("--trajectories", type=int, default=48, help="of each system")
    parser.add_argument("--frames", type=int, default=24, help="of each trajectory")
    add_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    bench = Bench(options.work.resolve(), options.trajectories, options.frames)
    bench.prepare()
    costs = bench.costs()
    rates = bench.rates(options.seconds, costs)
    steps = {
        training.name: max(2, round(options.seconds * training.share / costs[training.name])) for training in TRAININGS
    }
    for training in TRAININGS:
        bench.train(training, steps=steps[training.name], rate=rates[training.model])
    scores = bench.evaluate()
    figures = {
        "seconds": options.seconds,
        "seconds_of_a_step": costs,
        "learning_rates": rates,
        "steps": steps,
        "datasets": {name: kept(found["comparison"]) for name, found in scores["datasets"].items()},
    }
    finish(options, figures, *tables(scores, steps))


if __name__ == "__main__":
    main()
