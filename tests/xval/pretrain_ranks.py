"""Not a test: one rank of those that test_pretrain starts. Trains whole, then in two parts, in one process per rank.

Usage: pretrain_ranks.py RECIPE STORE FOLDER
"""

import sys
from pathlib import Path

from polycli.requests import TrainRequest
from polycli.xval import pretrain

recipe, store, folder = sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])
for output, overrides in (("whole", ()), ("cut", ("train.steps=4",)), ("cut", ())):
    pretrain.run(TrainRequest(recipe=recipe, data=(store,), output=folder / output, overrides=overrides))
