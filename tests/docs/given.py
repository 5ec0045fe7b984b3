"""Files that pages take as the reader's own: small, quick to make, and by the names that the pages have for them."""

from __future__ import annotations

import csv
import json
import os
import shlex
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from pyarrow import parquet
from sklearn.datasets import load_diabetes

from polycli.__main__ import run as polycli
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.recipe.model import HeadSection, ImageSection, SpectrumSection
from polycli.astroclip.recipe.model import ModelSection as PairSection
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.families import find_family
from polycli.json_records import to_object
from polycli.xval import open_records
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection as NumformerSection
from tests.astroclip.conftest import coadd, desi_ids, legacysurvey, redrock
from tests.astroclip.sources.multimodal import conftest as universe
from tests.conftest import diffusion_reaction, shallow_water
from tests.mpp.conftest import make_store
from tests.mpp.well_files import write_well
from tests.xval import compounds

#: Columns of compounds, without their names.
OTHER_ORDER = (4, 6, 5, 3, 1, 2)
#: Rows of the diabetes data that are whole; those after them have gaps.
WHOLE = 350


def _polycli(line: str) -> None:
    assert polycli(shlex.split(line)) == 0, line


def _pdebench(path: Path) -> None:
    shallow_water(path / "radial-dam-break" / "2D_rdb_NA_NA.h5", trajectories=4, grid=(16, 16))
    diffusion_reaction(path / "diffusion-reaction" / "2D_diff-react_NA_NA.h5", trajectories=4, grid=(16, 16))


def _well(path: Path) -> None:
    for seed, split in enumerate(("train", "valid", "test")):
        write_well(path / "data" / split / f"active_matter_{split}.hdf5", name="active_matter", seed=10 * seed)


def _stores(path: Path) -> None:
    make_store(path, "swe")
    make_store(path, "dr", physics="diffusion_reaction")


def write_table(path: Path, names: Sequence[str], rows: np.ndarray, blanks: frozenset[tuple[int, int]]) -> None:
    """A CSV of numbers; `blanks` are rows and columns of empty cells."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for number, row in enumerate(rows):
            writer.writerow(["" if (number, place) in blanks else repr(float(v)) for place, v in enumerate(row)])


def _diabetes(path: Path) -> None:
    """A table that scikit-learn has: 442 patients, ten measurements and the progression of their disease."""
    found = load_diabetes(scaled=False)
    rows = np.random.default_rng(0).permutation(np.column_stack([found.data, found.target]))
    gaps = frozenset((row, row % rows.shape[1]) for row in range(len(rows))) if path.stem == "gaps" else frozenset()
    chosen = rows[WHOLE:] if path.stem == "gaps" else rows[:WHOLE]
    write_table(path, [*found.feature_names, "progression"], chosen, gaps)


def _measurements(path: Path) -> None:
    """Three measurements of each of 30 samples, one cell in seven empty."""
    draw = np.random.default_rng(1)
    lines = ["sample,mass,depth,age"]
    for row in range(90):
        mass, depth, age = draw.uniform(1, 2), draw.normal(10, 2), draw.uniform(20, 60)
        lines.append(f"s{row // 3},{mass:.3f},{'' if row % 7 == 3 else f'{depth:.2f}'},{age:.1f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _records(path: Path) -> None:
    draw = np.random.default_rng(2)
    stars = [
        {"star": {"mass": round(draw.uniform(0.5, 2), 3)}, "planets": [{"a": draw.uniform(0.1, 3)}]} for _ in range(40)
    ]
    stars += [{"star": {"mass": None}, "planets": [{"a": 1.5}]}]
    path.write_text("".join(json.dumps(star) + "\n" for star in stars), encoding="utf-8")


def _planets(path: Path) -> None:
    sizes = (
        "--set planets.systems=60 --set planets.planets=[2,3] --set planets.steps=[3,6] --set planets.duration=[2,3]"
    )
    _polycli(f"prepare xval --source planets --output {path} {sizes} --set planets.substeps=4 --workers 1")


def _numformer(folder: Path, store: Path, context: int = 512) -> None:
    section = NumformerSection(embed_dim=16, num_heads=2, blocks=1, feed_forward=32, context=context, dropout=0.0)
    tokenization = tokenization_for(section, None, [open_records(store)])
    torch.manual_seed(0)
    network = Numformer(section, tokenization.tokens).eval()
    described = to_object(describe_tokenization(tokenization))
    about = {"family": "xval", "verb": "pretrain", "version": "0", "step": 7, "model": section.model_dump(mode="json")}
    folder.mkdir(parents=True)
    write_model(folder, network.state_dict(), ModelDescription(**about, **described))


def _of_records(make: Callable[[Path], None], source: str, name: str, *options: str) -> Callable[[Path], None]:
    """An untrained model of what `make` writes; the store lies beside it."""

    def made(folder: Path) -> None:
        folder.parent.mkdir(parents=True, exist_ok=True)
        store = folder.parent / f".{folder.name}.zarr"
        if source == "planets":
            make(store)
        else:
            rows = folder.parent / f".{name}"
            make(rows)
            line = ["prepare", "xval", "--source", source, "--input", str(rows), "--output", str(store), *options]
            _polycli(shlex.join(line))
        _numformer(folder, store, 2048)

    return made


def _stars(path: Path) -> None:
    path.write_text("id,redshift,mag_r\n" + "".join(f"s{n},{n / 50:.3f},{15 + n / 10:.2f}\n" for n in range(40)))


def _sky(path: Path) -> None:
    path.mkdir()
    numbers = np.arange(20)
    columns = {"id": numbers, "ra": numbers * 1.0, "dec": numbers * 0.5, "Z": numbers / 40, "MAG_R": 15 + numbers / 10}
    parquet.write_table(pa.table(columns), path / "part-0.parquet")


def _own_table(path: Path) -> None:
    rows = path.parent / ".measured.csv"
    _measurements(rows)
    _polycli(f"prepare xval --source table --input {rows} --output {path}")


def _aligned(folder: Path) -> None:
    image = ImageSection(size=48, embed_dim=12, depth=1, num_heads=2, layer_scale=0.5)
    spectrum = SpectrumSection(embed_dim=12, depth=1, num_heads=2)
    section = PairSection(image=image, spectrum=spectrum, heads=HeadSection(embed_dim=16))
    torch.manual_seed(0)
    model = section.model_dump(mode="json")
    about = ModelDescription(family="astroclip", verb="pretrain", version="0", step=7, model=model)
    folder.mkdir(parents=True)
    write_model(folder, AstroClip(section).state_dict(), about)


def _survey(path: Path) -> None:
    _polycli(f"prepare astroclip --source mock --output {path} --set mock.objects=24 --set mock.size=64 --workers 1")


def _coadds(path: Path) -> None:
    ids = desi_ids(6)
    coadd(path / "coadd-main-dark-1.fits", ids=ids)
    redrock(path / "redrock-main-dark-1.fits", ids=ids, redshift=np.linspace(0.05, 0.4, 6))


#: Of eight objects of the Multimodal Universe.
SKY = np.linspace(10, 11, 8), np.linspace(-5, -4, 8)


def _mine(path: Path) -> None:
    draw = np.random.default_rng(3)
    light = np.array([1.0, 1.5, 2.0], np.float32)
    images = 0.02 * draw.standard_normal((12, 16, 16, 3)).astype(np.float32)
    images[:, 7:9, 7:9] += light
    np.savez(path, image=images, object_id=np.arange(12), redshift=np.linspace(0, 0.4, 12))


def _damaged(path: Path) -> None:
    """A store one byte of whose largest file has changed."""
    make_store(path.parent, path.stem)
    file = max((found for found in path.rglob("c/*") if found.is_file()), key=lambda found: found.stat().st_size)
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


class _Program:
    """Asks whoever unpickles it to run a command."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("true",)


def _wave(path: Path) -> None:
    np.savez(path, h=np.full((2, 5, 8, 8), np.nan if path.stem == "nan" else 0, np.float32))


def _demo(path: Path) -> None:
    """What `polycli demo astroclip` leaves of a survey and a model."""
    if not os.environ.get("POLYCLI_DOCS_SHORT"):
        _polycli(f"demo astroclip --output {path}")
        return
    steps = "--set train.steps=2 --set train.validate_every=2 --set train.checkpoint_every=2"
    smaller = {"prepare": "--set mock.objects=300", "pretrain": steps}
    for words in find_family("astroclip").demo[:-1]:
        _polycli(f"{words.replace('{demo}', str(path))} {smaller[words.split()[0]]}")


GIVEN: dict[str, Callable[[Path], None]] = {
    "PDEBENCH/2D": _pdebench,
    "WELL/datasets/active_matter": _well,
    "stores": _stores,
    "stores/swe.zarr": lambda path: make_store(path.parent, path.stem) and None,
    "samples.csv": _diabetes,
    "gaps.csv": _diabetes,
    "solubility.csv": lambda path: compounds.write(path, compounds.with_gaps(compounds.compounds(1200, 1), 1, 0.06)),
    "new.csv": lambda path: compounds.write(
        path, compounds.with_gaps(compounds.compounds(400, 2), 2, 0.2), OTHER_ORDER
    ),
    "truth.csv": lambda path: compounds.write(path, compounds.compounds(400, 2), OTHER_ORDER),
    "measurements.csv": _measurements,
    "records.jsonl": _records,
    "planets.zarr": _planets,
    "runs/planets": _of_records(_planets, "planets", ""),
    "runs/table": _of_records(_measurements, "table", "measurements.csv"),
    "runs/records": _of_records(_records, "json", "records.jsonl"),
    "runs/stars": _of_records(_stars, "table", "stars.csv", "--set", "table.id_column=id"),
    "sky": _sky,
    "mine.zarr": _own_table,
    "runs/align": _aligned,
    "survey.zarr": _survey,
    "coadds": _coadds,
    "images": lambda path: legacysurvey(path / "images_npix152_000000000_000001000.h5", count=6) is None or None,
    "mine.npz": _mine,
    "legacysurvey/dr10_south_21": lambda path: universe.write(path, universe.images(*SKY)) and None,
    "desi/dr1_main": lambda path: universe.write(path, universe.desi(*SKY)) and None,
    "demo": _demo,
    "wave.npz": _wave,
    "nan.npz": _wave,
    "empty.csv": lambda path: path.write_text("") and None,
    "cut.h5": lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100)) and None,
    "damaged.zarr": _damaged,
    "weights.ckpt": lambda path: path.write_bytes(b"not a checkpoint") and None,
    "evil.ckpt": lambda path: torch.save({"state_dict": {"a": _Program()}}, path),
    "coadd.fits": lambda path: coadd(path, ids=desi_ids(1)) and None,
}


def _text(name: str, text: str) -> None:
    GIVEN[name] = lambda path: path.write_text(textwrap.dedent(text).lstrip("\n"), encoding="utf-8") and None


_text(
    "mine.yaml",
    """
    extends: mpp_demo
    family: mpp
    train:
      stpes: 100
    # A name that another program has for it.
    engine:
      precision: bf16
    """,
)
