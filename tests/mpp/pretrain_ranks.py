"""Not a test: one rank of those that test_pretrain starts. Trains whole, then in two parts, in one process per rank.

Usage: pretrain_ranks.py RECIPE STORES FOLDER
"""

import sys
from pathlib import Path

from polycli.mpp import pretrain
from polycli.requests import TrainRequest

recipe, stores, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
for output, overrides in (("whole", ()), ("cut", ("train.steps=6",)), ("cut", ())):
    pretrain.run(
        TrainRequest(recipe=recipe, data=(stores,), output=folder / output, overrides=("model.drop_path=0", *overrides))
    )
