"""Errors beside Table 1 of the MPP paper: the original's rows, windows and means, computed here from the files."""

import json

import h5py
import numpy as np
import pytest
import torch

from polycli.__main__ import run as command_line
from polycli.errors import UserError
from polycli.json_records import to_object
from polycli.mpp import load_model
from polycli.mpp.data.file_order import in_file_order
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.physics import PdeDescription
from polycli.mpp.recipe.training import SplitSection
from polycli.mpp.scoring.published import Measured, beside_paper, column_of, paper_table
from polycli.report.table import as_text
from polycli.store.reader import open_store

QUICK = ("--set", "report=false", "--set", "rollout_steps=1", "--set", "bootstrap_samples=10")


def compressible(**changes) -> PdeDescription:
    facts = {
        "physics": "compressible_ns",
        "fields": ("compressible_ns.density",),
        "units": ("",),
        "dt": 0.05,
        "grid": (8, 8),
        "extent": ((0, 1), (0, 1)),
        "boundary_conditions": {"x": "periodic", "y": "periodic"},
        "parameter_names": (),
        "constants": {"M": 1.0, "eta": 0.01},
    }
    return PdeDescription(**{**facts, **changes})


class Job:
    """Names alone."""

    source = "a.h5"

    def __init__(self, count: int) -> None:
        self.ids = tuple(f"{number:04d}" for number in range(count))


def dataset(count: int, **changes) -> Dataset:
    about = compressible()
    return Dataset(name="cns", about=about, time=np.arange(3.0), jobs=(Job(count),), files=(), **changes)


@pytest.mark.parametrize(
    ("count", "expected"), [(1000, (800, 100, 100)), (10, (8, 1, 1)), (12, (10, 2, 0)), (1, (1, 0, 0))]
)
def test_rows_are_split_by_place_in_the_file_as_the_original_rounds(count, expected):
    splits = in_file_order(dataset(count), SplitSection(rule="file_order"), limit=None).splits
    names = list(splits.values())
    assert tuple(names.count(split) for split in ("train", "validation", "test")) == expected
    assert names == sorted(names, key=["train", "validation", "test"].index)
    assert [name for _, name in splits] == [f"{number:04d}" for number in range(count)]


def test_part_of_a_file_has_no_order_of_its_own():
    with pytest.raises(UserError, match="--limit 3 takes their first rows"):
        in_file_order(dataset(10), SplitSection(rule="file_order"), limit=3)
    given = dataset(1, splits={("a.h5", "0000"): "train"})
    with pytest.raises(UserError, match="the files say the split of each trajectory"):
        in_file_order(given, SplitSection(rule="file_order"), limit=None)


def test_a_dataset_finds_its_column_by_physics_and_mach_number():
    assert column_of(compressible()) == "CNS M1.0"
    assert column_of(compressible(constants={"M": 0.1})) == "CNS M0.1"
    assert column_of(compressible(constants={"M": 0.5})) is None
    assert column_of(compressible(boundary_conditions={"x": "open", "y": "open"})) is None
    assert column_of(compressible(physics="shallow_water", constants={})) == "SWE"
    assert column_of(compressible(physics="incompressible_ns", constants={})) is None


def test_files_of_one_mach_number_are_one_mean_over_windows_and_departures_are_said():
    scores = beside_paper(
        [
            Measured("a", "CNS M1.0", 0.2, 30, ()),
            Measured("b", "CNS M1.0", 0.6, 10, ("split validation",)),
            Measured("ins", None, 9.0, 10, ("split validation",)),
        ],
        192,
    )
    assert to_object(scores)["columns"] == {
        "CNS M1.0": {"nrmse": pytest.approx(0.3), "published": 0.0442, "windows": 40, "datasets": ["a", "b"]}
    }
    assert scores.departures == ["b: split validation"]
    shown = as_text(paper_table(scores))
    for text in ("CNS M1.0", "0.300", "0.0442", "AViT-Ti", "b: split validation", "Not in the paper's table: ins"):
        assert text in shown
    assert beside_paper([Measured("a", "SWE", 0.2, 30, ())], 100).columns["SWE"].published is None


def test_the_originals_checkpoint_is_scored_on_real_files_by_the_papers_rule(tmp_path, shared, capsys):
    files = {
        "swe_32": shared / "data/pdebench/2D/shallow-water/2D_rdb_NA_NA.h5",
        "diffre2d_32": shared / "data/pdebench/2D/diffusion-reaction/2D_diff-react_NA_NA.h5",
    }
    checkpoint = shared / "parity" / "mpp_avit_rel.ckpt.tar"
    missing = [str(path) for path in (*files.values(), checkpoint) if not path.is_file()]
    if missing:
        pytest.skip(f"{missing[0]} is absent")
    thinned = ["select.space_stride=4", "select.time_stride=4"]  # 26 frames of 32 x 32, to be quick
    shares = ["split.rule=file_order", "split.validation=0.1", "split.test=0.6"]
    prepare = ["prepare", "mpp", "--source", "pdebench", "--output", str(tmp_path / "stores"), "--workers", "1"]
    prepare += [word for path in files.values() for word in ("--input", str(path))]
    prepare += [word for setting in (*thinned, *shares) for word in ("--set", setting)]
    assert command_line(prepare) == 0
    evaluate = ["eval", "mpp", "--checkpoint", str(checkpoint), "--data", str(tmp_path / "stores")]
    evaluate += ["--output", str(tmp_path / "eval"), "--set", "compare=mpp_paper_table1", *QUICK]
    assert command_line(evaluate) == 0
    shown = capsys.readouterr().out
    document = json.loads((tmp_path / "eval/scores.json").read_text())["paper_table1"]
    assert document["departures"] == []
    assert document["size"] is None  # The reference is smaller than any published model.

    model = load_model(checkpoint)
    labels = {"swe_32": [0], "diffre2d_32": [4, 5]}
    for column, (name, path) in zip(("SWE", "DiffRe2D"), files.items(), strict=True):
        with h5py.File(path) as file:
            keys = sorted(file)
            # 40 % of 4 and of 3 rounded up train, one validates.
            tested = keys[int(np.ceil(0.3 * len(keys))) + 1 :]
            rows = [file[key]["data"][::4, ::4, ::4].transpose(0, 3, 1, 2) for key in tested]
        store = open_store(tmp_path / "stores" / f"{name}.zarr")
        assert store.row_ids(store.rows("test")) == tested
        errors = []
        for row in rows:
            for start in range(len(row) - 16):
                window = torch.from_numpy(row[start : start + 17])
                with torch.inference_mode():
                    output = model(window[None, :16], torch.tensor(labels[name]), torch.zeros(1, 2, dtype=torch.long))
                target = window[None, 16]
                ratio = (output - target).pow(2).mean((2, 3)) / (1e-7 + target.pow(2).mean((2, 3)))
                errors.append(ratio.sqrt().mean().item())
        entry = document["columns"][column]
        assert entry["windows"] == len(errors)
        assert entry["nrmse"] == pytest.approx(np.mean(errors), rel=1e-5)
        assert column in shown


def test_what_is_not_by_the_papers_rule_is_said(tmp_path, store_factory, shared):
    checkpoint = shared / "parity" / "mpp_avit_rel.ckpt.tar"
    if not checkpoint.is_file():
        pytest.skip(f"{checkpoint} is absent")
    store = store_factory("swe", frames=12, grid=(32, 32), boundary="wall")
    line = ["eval", "mpp", "--checkpoint", str(checkpoint), "--data", str(store), "--output", str(tmp_path / "eval")]
    more = ("compare=mpp_paper_table1", "data.history=8", "max_windows=2")
    assert command_line([*line, *QUICK, *(word for setting in more for word in ("--set", setting))]) == 0
    document = json.loads((tmp_path / "eval/scores.json").read_text())["paper_table1"]
    assert document["departures"] == [
        "swe: 2 of 4 windows",
        "swe: history 8, stride 1",
        "swe: its test trajectories are chosen given by the test, not by place in the file",
    ]
