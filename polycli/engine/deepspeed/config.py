"""Recipe sections to a DeepSpeed configuration, and what cannot be combined."""

from __future__ import annotations

from polycli.engine.deepspeed.optimizers import check_betas
from polycli.errors import RecipeError
from polycli.json_records import Json
from polycli.sections import EngineSection, OptimSection

#: Elements per communication bucket. DeepSpeed's default, 500 million, allocates 2 GB before the first step.
BUCKET_ELEMENTS = 50_000_000
#: ZeRO 3 steps its parameters in sub-groups of this size. Adan counts its steps per group, so there is one sub-group.
SUB_GROUP_ELEMENTS = 10**15
#: ZeRO 3 leaves parameters up to this size whole on every rank: gathering them would cost more than they do.
WHOLE_ELEMENTS = 100_000


def check_sections(optim: OptimSection, engine: EngineSection) -> None:
    """`RecipeError` for what cannot be: call it before anything is written."""
    check_betas(optim)
    if optim.name == "dadapt_adan" and engine.zero_stage != 0:
        raise RecipeError(
            f"optim.name dadapt_adan with engine.zero_stage {engine.zero_stage}: under ZeRO each rank would estimate a "
            "step size of its own from its shard, so the ranks' steps differ",
            hint="--set engine.zero_stage=0",
        )
    if optim.name == "dadapt_adan" and optim.layer_decay is not None:
        raise RecipeError(
            "optim.layer_decay with optim.name dadapt_adan, which estimates one step size for all parameters",
            hint="--set optim.name=adamw, or leave optim.layer_decay out",
        )
    if engine.compile and engine.zero_stage == 3:
        raise RecipeError(
            "engine.compile with engine.zero_stage 3: gathering parameters breaks the compiled graph apart",
            hint="--set engine.zero_stage=2 or --set engine.compile=false",
        )
    if engine.offload and engine.zero_stage == 0:
        raise RecipeError(
            "engine.offload with engine.zero_stage 0: optimizer state can leave the device only where ZeRO owns it",
            hint="--set engine.zero_stage=1",
        )


def deepspeed_config(
    optim: OptimSection, engine: EngineSection, *, world_size: int, parameters: int, pin_memory: bool = False
) -> dict[str, Json]:
    """Translate recipe sections into the configuration that `deepspeed.initialize` takes.

    Batch sizes are formal: the engine sets accumulation boundaries and weighs losses itself. Clipping is DeepSpeed's
    from stage 1 on; at stage 0 the engine clips, because it must look at the gradient before the optimizer does.
    """
    # DeepSpeed asks for an even number; a model of an odd number of parameters is none.
    bucket = max(-(-min(BUCKET_ELEMENTS, parameters) // 2) * 2, 2)
    zero: dict[str, Json] = {"stage": engine.zero_stage, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket}
    if engine.zero_stage == 3:
        zero["sub_group_size"] = SUB_GROUP_ELEMENTS
        zero["stage3_param_persistence_threshold"] = WHOLE_ELEMENTS
    if engine.offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": pin_memory}
    config: dict[str, Json] = {
        "train_batch_size": world_size,
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": optim.clip_norm or 0.0 if engine.zero_stage else 0.0,
        "zero_optimization": zero,
        "zero_allow_untested_optimizer": True,
        # DeepSpeed's own CPU optimizer would have to be compiled first.
        "zero_force_ds_cpu_optimizer": False,
    }
    if engine.precision == "bfloat16":
        # Autocast, not DeepSpeed's bf16, which casts every parameter. An empty list of modules keeps gathered weights
        # and reduced gradients in float32 too: layers that opt out of autocast see their weights unrounded.
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    return config
