"""A tiny model of the rows of a table, for tests that give it tables in memory."""

import csv
from pathlib import Path

import numpy as np
import torch

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.json_records import to_object
from polycli.xval.data.store import open_records
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection
from tests.xval.conftest import prepare

COLUMNS = ["redshift", "mag_r", "kind"]


def values(rows: int, seed: int = 0) -> dict[str, list]:
    """Columns of numbers, one of them with gaps, and of texts."""
    draw = np.random.default_rng(seed)
    numbers = draw.uniform(0, 1, rows).round(4).tolist(), draw.normal(18, 1, rows).round(3).tolist()
    gaps = [None if row % 7 == 3 else value for row, value in enumerate(numbers[1])]
    return {"redshift": numbers[0], "mag_r": gaps, "kind": [("disc", "bulge")[row % 2] for row in range(rows)]}


def table_model(folder: Path, rows: int = 60) -> tuple[Path, Path]:
    """Writes a table, a store of it, and an untrained model of it; returns the store and the model's folder."""
    columns = values(rows)
    with (folder / "stars.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", *COLUMNS])
        for row in range(rows):
            cells = [columns[name][row] for name in COLUMNS]
            writer.writerow([f"s{row}", *("" if cell is None else cell for cell in cells)])
    store = prepare("table", folder / "stars.zarr", "table.id_column=id", inputs=[folder / "stars.csv"])
    section = ModelSection(embed_dim=16, num_heads=2, blocks=1, feed_forward=32, context=256, dropout=0.0)
    tokenization = tokenization_for(section, None, [open_records(store)])
    torch.manual_seed(0)
    network = Numformer(section, tokenization.tokens).eval()
    described = to_object(describe_tokenization(tokenization))
    about = {"family": "xval", "verb": "pretrain", "version": "0", "step": 7, "model": section.model_dump(mode="json")}
    (folder / "model").mkdir()
    write_model(folder / "model", network.state_dict(), ModelDescription(**about, **described))
    return store, folder / "model"
