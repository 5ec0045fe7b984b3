"""Recipe sections to DeepSpeed's configuration, and what is refused."""

import pytest

from polycli.engine.deepspeed.config import check_sections, deepspeed_config
from polycli.errors import RecipeError
from polycli.sections import EngineSection, OptimSection


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_d_adaptation_under_zero_is_refused_and_stage_0_is_named(stage):
    with pytest.raises(RecipeError, match=r"dadapt_adan.*engine.zero_stage=0"):
        check_sections(OptimSection(name="dadapt_adan"), EngineSection(zero_stage=stage))
    check_sections(OptimSection(name="dadapt_adan"), EngineSection(zero_stage=0))


def test_compile_with_zero_3_is_refused():
    with pytest.raises(RecipeError, match=r"engine.compile with engine.zero_stage 3"):
        check_sections(OptimSection(), EngineSection(zero_stage=3, compile=True))


def test_offload_without_zero_is_refused():
    with pytest.raises(RecipeError, match=r"engine.offload with engine.zero_stage 0"):
        check_sections(OptimSection(), EngineSection(zero_stage=0, offload=True))


def test_a_wrong_number_of_betas_is_refused_before_an_optimizer_is_made():
    with pytest.raises(RecipeError, match=r"optim.betas has 2 values, adan takes 3"):
        check_sections(OptimSection(name="adan", betas=(0.9, 0.99)), EngineSection())


def test_bfloat16_is_autocast_that_communicates_in_float32():
    config = deepspeed_config(OptimSection(), EngineSection(precision="bfloat16"), world_size=2, parameters=10)
    assert config["torch_autocast"] == {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    assert "bf16" not in config


def test_buckets_are_no_larger_than_the_model():
    config = deepspeed_config(OptimSection(), EngineSection(zero_stage=2), world_size=2, parameters=1234)
    assert config["zero_optimization"]["reduce_bucket_size"] == 1234


def test_deepspeed_clips_from_stage_1_on_and_the_engine_at_stage_0():
    def clipping(stage: int, norm: float | None) -> float:
        config = deepspeed_config(
            OptimSection(clip_norm=norm), EngineSection(zero_stage=stage), world_size=1, parameters=1
        )
        return config["gradient_clipping"]

    assert (clipping(0, 1.0), clipping(1, 1.0), clipping(2, None)) == (0.0, 1.0, 0.0)


def test_buckets_are_even_for_a_model_of_an_odd_number_of_parameters():
    # DeepSpeed refuses others, with an assertion.
    config = deepspeed_config(OptimSection(), EngineSection(), world_size=1, parameters=1233)

    assert config["zero_optimization"]["allgather_bucket_size"] == 1234
    assert config["zero_optimization"]["reduce_bucket_size"] == 1234
