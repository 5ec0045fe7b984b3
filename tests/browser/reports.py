"""Makes the reports that the browser tests look at: `python reports.py FOLDER`, one of each family and a page over all.

FOLDER gets mpp, xval and astroclip, each with the report of a small untrained model, and index.html.
"""

import os
import shlex
import sys
from pathlib import Path

import torch

from polycli.__main__ import run as polycli
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.training import ModelSection
from tests.docs.given import GIVEN
from tests.mpp.conftest import make_store

LINES = (
    "prepare astroclip --source mock --output mock.zarr --set mock.objects=80 --set mock.size=64 --workers 1",
    "eval mpp --checkpoint model --data waves.zarr --data spots.zarr --output mpp --set bootstrap_samples=50",
    "eval xval --checkpoint runs/table --data runs/.table.zarr --output xval --set bootstrap_samples=50",
    "eval astroclip --checkpoint runs/align --data mock.zarr --output astroclip --set bootstrap_samples=50",
    "report index . --output index.html",
)


def main(folder: Path) -> None:
    os.chdir(folder)
    make_store(folder, "waves", frames=12)
    make_store(folder, "spots", physics="diffusion_reaction", frames=12, boundary="open", seed=3)
    section = ModelSection(embed_dim=16, num_heads=2, blocks=1, patch_size=4, predicts="change", drop_path=0.0)
    about = ModelDescription(
        family="mpp",
        verb="pretrain",
        version="0",
        step=7,
        model=section.model_dump(mode="json"),
        trained_on={},
        data={"history": 3, "time_stride": 1},
    )
    torch.manual_seed(0)
    (folder / "model").mkdir()
    write_model(folder / "model", AViT(section).state_dict(), about)
    for name in ("runs/table", "runs/align"):
        GIVEN[name](folder / name)
    for line in LINES:
        code = polycli(shlex.split(line))
        assert code == 0, line


if __name__ == "__main__":
    main(Path(sys.argv[1]).absolute())
