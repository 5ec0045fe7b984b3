"""DeepSpeed, started quietly: its messages go to stderr, nothing is compiled, and torch's names stay torch's.

DeepSpeed would compile a shared-memory all-reduce for CPUs when it starts. Inference alone calls it, so it is left out:
one process or several, a machine needs no compiler to train.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from polycli.console import note
from polycli.engine.blocks import compile_blocks, recompute_blocks
from polycli.engine.deepspeed.compile_cache import cache_folders, clear_cut_libraries, leave_headers_alone, sentence
from polycli.engine.deepspeed.compiler import check_compiler
from polycli.engine.deepspeed.config import deepspeed_config
from polycli.engine.deepspeed.optimizers import build_optimizer
from polycli.engine.ranks import gather
from polycli.engine.task import Batch
from polycli.errors import MissingDependencyError, RecipeError
from polycli.launch import World
from polycli.sections import EngineSection, OptimSection


def device_of(world: World) -> torch.device:
    """Return the device on which this rank computes."""
    if torch.cuda.is_available():
        return torch.device("cuda", world.local_rank % torch.cuda.device_count())
    return torch.device("cpu")


def load_deepspeed() -> Any:  # noqa: ANN401  # DeepSpeed has no types.
    """Import DeepSpeed so that it neither prints on stdout nor compiles."""
    os.environ.setdefault("DS_ACCELERATOR", "cuda" if torch.cuda.is_available() else "cpu")
    with _stdout_is_stderr():
        try:
            import deepspeed
        except ImportError as error:
            raise MissingDependencyError(
                f"training needs DeepSpeed, which cannot be imported ({error})", hint="pip install deepspeed"
            ) from error
    # DeepSpeed's ZeRO 3 calls names that newer torch versions have renamed, in every step.
    warnings.filterwarnings("ignore", message="`torch.distributed.*deprecated", category=FutureWarning)
    logging.getLogger("DeepSpeed").setLevel(logging.ERROR)
    # Nothing is compatible, so nothing is compiled, and the compiler is not run to find out what might be.
    deepspeed.ops.__compatible_ops__ = {}
    _import_muon_uncompiled()
    accelerator = deepspeed.get_accelerator()
    if "device_count" not in vars(accelerator):
        # ZeRO 3 asks in every backward pass, and on CPUs each answer starts `numactl`.
        accelerator.device_count = functools.cache(accelerator.device_count)
    return deepspeed


def _import_muon_uncompiled() -> None:
    """Import DeepSpeed's Muon, which it looks at for every ZeRO optimizer, without the compiler that it brings along.

    Its functions are handed to torch.compile as they are imported: 3.5 s of processor time in every process, for an
    optimizer that no recipe has.
    """
    from deepspeed.runtime import compiler

    compile_ = compiler.compile
    compiler.compile = lambda *_, **__: lambda function: function
    try:
        with contextlib.suppress(ImportError):
            importlib.import_module("deepspeed.runtime.zero.muon.original_muon")
    finally:
        compiler.compile = compile_


def start_engine(
    model: nn.Module,
    optim: OptimSection,
    engine: EngineSection,
    world: World,
    *,
    blocks: Sequence[nn.Module] = (),
    lengths_vary: bool = False,
    factors: Mapping[str, float] | None = None,
) -> Any:  # noqa: ANN401
    """A DeepSpeed engine around `model`, which it may move, shard and compile in place.

    `blocks` and `lengths_vary` are as in `polycli.engine.task.Task`, `factors` as in `parameter_groups`.
    """
    deepspeed = load_deepspeed()
    if engine.activation_checkpointing:
        if not blocks:
            raise RecipeError(f"engine.activation_checkpointing: {type(model).__name__} has no blocks to recompute")
        recompute_blocks(blocks)
    if engine.compile:
        check_compiler()
        leave_headers_alone()
        cleared = {path for paths in gather(world, clear_cut_libraries(cache_folders())) for path in paths}
        if cleared:
            note(sentence(sorted(cleared)))
    on_gpu = device_of(world).type == "cuda"
    config = deepspeed_config(
        optim,
        engine,
        world_size=world.size,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        pin_memory=on_gpu,
    )
    with _stdout_is_stderr():
        started, _, _, _ = deepspeed.initialize(
            model=model, optimizer=build_optimizer(optim, model, factors), config=config, dist_init_required=None
        )
        if engine.compile:
            # One graph per shape: shapes are few (one per dataset), and a graph for all of them would be slower.
            torch._dynamo.config.recompile_limit = 64  # noqa: SLF001
            if blocks:
                compile_blocks(blocks, dynamic=lengths_vary)
            else:
                started.compile(compile_kwargs={"dynamic": False})
    return started


class EvaluationForward(nn.Module):
    """The engine's model in eval mode, without gradients, for batches that are still on the CPU."""

    def __init__(self, engine: Any, device: torch.device) -> None:  # noqa: ANN401
        super().__init__()
        self.engine = engine
        self.device = device

    def forward(self, batch: Batch) -> Any:  # noqa: ANN401
        """Move `batch` to the device and return what the model makes of it."""
        with torch.no_grad():
            return self.engine(to_device(batch, self.device))


def to_device(batch: Batch, device: torch.device) -> Batch:
    """The same batch where the model is."""
    if device.type == "cpu":
        return batch
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


@contextlib.contextmanager
def gathered(parameters: list[Tensor]) -> Iterator[None]:
    """Whole parameters, for reading, where ZeRO 3 has sharded them; all ranks must come here together."""
    sharded = [parameter for parameter in parameters if hasattr(parameter, "ds_id")]
    if not sharded:
        yield
        return
    with load_deepspeed().zero.GatheredParameters(sharded):
        yield


@contextlib.contextmanager
def _stdout_is_stderr() -> Iterator[None]:
    """Send what is printed, and what log handlers made here write, to stderr: stdout belongs to results."""
    with contextlib.redirect_stdout(sys.stderr):
        yield
