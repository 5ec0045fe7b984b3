"""What is run: each family from source to scores, on tiny stores, with the recipes of the demos made smaller."""

from collections.abc import Callable
from pathlib import Path

from session import Session, Values

#: Of every run: steps enough for a warm-up, two validations and two checkpoints.
TRAIN: Values = {
    "train.steps": 20,
    "train.validate_every": 10,
    "train.checkpoint_every": 10,
    "train.keep_last": 2,
    "schedule.warmup_steps": 4,
    "log.every": 1,
    "data.workers": 0,
}
NETWORK: Values = {"model.embed_dim": 24, "model.num_heads": 2, "model.blocks": 2}
#: More than the recipes have, so that no split of a tiny store is empty by chance.
SPLIT: Values = {"split.validation": 0.25, "split.test": 0.25}
FEW: Values = {"bootstrap_samples": 50}
#: Of evaluations after the first of a family, whose report is drawn.
NO_REPORT: Values = {"report": "false"}


def mpp(session: Session) -> None:
    """Stores of four systems; one process, two, and a run that goes on; scores and forecasts."""
    systems = ("shallow_water", "diffusion_reaction", "incompressible_ns", "compressible_ns")
    simulated: Values = {
        f"simulate.{system}": f"{{system: {system}, trajectories: 10, frames: 10, grid: 16, seed: {seed}}}"
        for seed, system in enumerate(systems)
    }
    prepare = "prepare mpp --workers 1 --source"
    session.polycli("mpp/simulate", f"{prepare} simulate", "stores", simulated | SPLIT)
    if session.shared is not None:
        line = f"{prepare} pdebench --input {session.shared / 'pdebench'} --limit 2"
        session.polycli("mpp/pdebench", line, "pdebench", {"select.time_stride": 4})
    pretrain = "pretrain mpp --recipe mpp_demo --data stores"
    settings = TRAIN | NETWORK | {"data.validation_windows": 8}
    session.polycli("mpp/dry-run", f"{pretrain} --dry-run", "run", settings)
    session.polycli("mpp/pretrain", pretrain, "run", settings)
    session.polycli("mpp/two-processes", f"{pretrain} --nproc 2", "two", settings)
    # The rate must not depend on the run's length, as that of a cosine does.
    constant = settings | {"schedule.name": "constant", "optim.ema_decay": 0.9}
    session.polycli("mpp/first-half", pretrain, "halves", constant | {"train.steps": 10})
    session.polycli("mpp/second-half", pretrain, "halves", constant)
    data = "--data stores --split test"
    session.polycli("mpp/eval", f"eval mpp --checkpoint run {data}", "report", FEW)
    session.polycli("mpp/predict", f"predict mpp --checkpoint run {data}", "forecasts.zarr", {"steps": 3})


def xval(session: Session) -> None:
    """Simulated records and a table; numbers and text as encodings; filling in, a head, embeddings."""
    write_tables(session.work)
    prepare = "prepare xval --workers 1 --source"
    planets = f"{prepare} planets --recipe xval_demo_data"
    trees = f"{prepare} arithmetic --recipe xval_trees_data"
    session.polycli("xval/planets", planets, "planets.zarr", {"planets.systems": 200})
    session.polycli("xval/arithmetic", trees, "trees.zarr", {"arithmetic.records": 200})
    session.polycli("xval/table", f"{prepare} table --input table.csv", "table.zarr", SPLIT)

    pretrain = "pretrain xval --recipe xval_demo --data"
    records: Values = {"data.validation_records": 16}
    numbers = TRAIN | NETWORK | records | {"model.feed_forward": 48}
    text = numbers | {"model.encoding": "p10", "model.quantiles": "[]"}
    session.polycli("xval/dry-run", f"{pretrain} planets.zarr --dry-run", "run", numbers)
    session.polycli("xval/pretrain", f"{pretrain} planets.zarr", "run", numbers)
    session.polycli("xval/dry-run-text", f"{pretrain} table.zarr --dry-run", "text", text)
    session.polycli("xval/pretrain-text", f"{pretrain} table.zarr", "text", text)
    tune = "finetune xval --recipe xval_finetune --checkpoint run --data table.zarr"
    head: Values = {"head.kind": "regression", "head.target": "age"}
    session.polycli("xval/finetune", tune, "tuned", TRAIN | records)
    session.polycli("xval/finetune-head", tune, "head", TRAIN | records | head)

    few = FEW | {"max_records": 16}
    axes = "[description.planet*.a]"
    sweep: Values = {"sweep.vary": "description.planet0.e", "sweep.predict": axes, "sweep.points": 9}
    evaluate = "eval xval --checkpoint"
    together: Values = {"groups": f"[{axes}]"}
    session.polycli("xval/eval", f"{evaluate} run --data planets.zarr", "report", few | sweep | together)
    session.polycli("xval/eval-text", f"{evaluate} text --data table.zarr", "report-text", few | NO_REPORT)
    session.polycli("xval/eval-head", f"{evaluate} head --data table.zarr", "report-head", few | NO_REPORT)
    session.polycli("xval/predict", "predict xval --checkpoint tuned --data gaps.csv", "filled.csv")
    session.polycli("xval/predict-head", "predict xval --checkpoint head --data gaps.csv", "ages.csv")
    session.polycli("xval/embed", "embed xval --checkpoint tuned --data table.zarr", "embedded/vectors.parquet")


def write_tables(folder: Path) -> None:
    """`table.csv` with numbers that follow from each other, and `gaps.csv`, in which some are missing."""
    rows = []
    for index in range(120):
        mass, kind = 0.5 + (37 * index % 101) / 50, "giant" if index % 3 == 0 else "dwarf"
        age = 2 * mass + (3 if kind == "giant" else 0)
        rows.append([f"star {index}", f"{mass:.2f}", f"{mass**0.8:.4f}", f"{age:.3f}", kind])
    gaps = [[*row] for row in rows[:12]]
    for index, row in enumerate(gaps):
        row[1 + index % 2] = ""
    for name, content in (("table.csv", rows), ("gaps.csv", gaps)):
        lines = [",".join(row) + "\n" for row in [["name", "mass (kg)", "radius", "age", "kind"], *content]]
        (folder / name).write_text("".join(lines), encoding="utf-8")


def astroclip(session: Session) -> None:
    """A simulated survey through all stages, a head on its vectors, a catalogue and embeddings."""
    prepare = "prepare astroclip --workers 1 --source"
    mock = SPLIT | {"mock.objects": 80, "mock.size": 64}
    session.polycli("astroclip/mock", f"{prepare} mock --recipe astroclip_demo_data", "mock.zarr", mock)
    if session.shared is not None:
        desi = f"{prepare} desi --input {session.shared / 'desi'} --limit 8"
        session.polycli("astroclip/desi", desi, "desi.zarr")

    common = TRAIN | {"data.validation_objects": 8, "train.global_batch_size": 8, "train.micro_batch_size": 4}
    encoder: Values = {"embed_dim": 24, "depth": 1, "num_heads": 2}
    stages: dict[str, Values] = {
        "spectrum": {f"model.spectrum.{key}": value for key, value in encoder.items()},
        "image": {f"model.image.{key}": value for key, value in encoder.items()}
        | {"model.image.size": 48, "moco.queue_size": 16, "moco.projection": 16},
        "align": {"model.heads.embed_dim": 16, "init.image": "image", "init.spectrum": "spectrum"},
    }
    data = "--data mock.zarr"
    for stage, settings in stages.items():
        line = f"pretrain astroclip --recipe astroclip_demo_{stage} {data}"
        session.polycli(f"astroclip/dry-run-{stage}", f"{line} --dry-run", stage, common | settings)
        session.polycli(f"astroclip/pretrain-{stage}", line, stage, common | settings)
    tune = f"finetune astroclip --recipe astroclip_finetune --checkpoint align {data}"
    session.polycli("astroclip/finetune", tune, "head", common | {"model.properties.hidden": "[16]"})

    evaluate = f"eval astroclip {data} --checkpoint"
    session.polycli("astroclip/eval", f"{evaluate} align", "report", FEW)
    session.polycli("astroclip/eval-spectrum", f"{evaluate} spectrum", "report-spectrum", FEW | NO_REPORT)
    session.polycli("astroclip/eval-head", f"{evaluate} head", "report-head", FEW | NO_REPORT)
    predict = f"predict astroclip {data} --checkpoint"
    session.polycli("astroclip/predict", f"{predict} align", "by-neighbours.parquet")
    session.polycli("astroclip/predict-head", f"{predict} head", "by-head.parquet")
    session.polycli("astroclip/embed", f"embed astroclip --checkpoint align {data}", "vectors")


FAMILIES: tuple[Callable[[Session], None], ...] = (mpp, xval, astroclip)
