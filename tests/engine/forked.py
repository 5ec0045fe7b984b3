"""Ranks that are forks of one process: what is imported before is imported once, and an import costs seconds."""

from __future__ import annotations

import gc
import importlib
import os
import signal
import traceback
from collections.abc import Callable

import torch

from polycli.engine.deepspeed import config
from polycli.engine.deepspeed.backend import load_deepspeed
from polycli.launch import LOCAL_RANKS_VARIABLE, World, free_port, join_process_group


def import_everything() -> None:
    """Get ready to fork. The caller never joins a process group itself, and starts no threads."""
    # The ranks' parent is this process, not the one that has started it.
    os.environ.pop(LOCAL_RANKS_VARIABLE, None)
    torch.set_num_threads(1)
    config.WHOLE_ELEMENTS = 64  # so that ZeRO 3 shards the weights of a small network too
    load_deepspeed()
    importlib.import_module("torch._dynamo")  # every start would import it otherwise, with its first optimizer
    # ZeRO 3 collects garbage at every start: half a million objects of libraries need not be looked at each time.
    gc.collect()
    gc.freeze()


def in_a_world(size: int, action: Callable[[World], None]) -> bool:
    """Do something on `size` ranks; whether all of them ended well. After a failure the others are ended."""
    port, ranks = free_port(), []
    for rank in range(size):
        child = os.fork()
        if child == 0:
            os.environ.update(
                RANK=str(rank),
                LOCAL_RANK=str(rank),
                WORLD_SIZE=str(size),
                MASTER_ADDR="127.0.0.1",
                MASTER_PORT=str(port),
            )
            try:
                action(join_process_group())
            except BaseException:  # noqa: BLE001  # A forked child must never go on as its parent.
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        ranks.append(child)
    well = True
    while ranks:
        ended, status = os.wait()
        ranks.remove(ended)
        if status and well:
            well = False
            for rank in ranks:
                os.kill(rank, signal.SIGKILL)
    return well
