"""The transformers package: its VideoMAE and ours give equal numbers from its weights, and the same loss.

Runs in an environment of its own, `make test-interop`.
"""

import pytest
import torch

from polycli.errors import StoreError
from polycli.mpp import finetune, load_model
from polycli.mpp.model.baselines.tokens import numbered
from polycli.mpp.training.tubes import standardised
from polycli.requests import TrainRequest
from tests.mpp.conftest import make_store

pytestmark = pytest.mark.interop
FRAMES, SIZE, PATCH, TUBELET = 4, 32, 8, 2
#: Their positions are numbered on the grid of tokens of their own images.
GRID = (FRAMES // TUBELET, SIZE // PATCH, SIZE // PATCH)
HEADS = {"num_heads": 4, "decoder_heads": 2}
FINETUNE = """
family: mpp
verb: finetune
data: {history: 4, validation_windows: 4, workers: 0}
optim: {learning_rate: 1.0e-3}
train: {steps: 2, global_batch_size: 2, micro_batch_size: 2, validate_every: 2, checkpoint_every: 2}
"""


@pytest.fixture
def theirs():
    from transformers import VideoMAEConfig, VideoMAEForPreTraining

    torch.manual_seed(0)
    config = VideoMAEConfig(
        image_size=SIZE,
        patch_size=PATCH,
        num_frames=FRAMES,
        tubelet_size=TUBELET,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=HEADS["num_heads"],
        intermediate_size=128,
        decoder_hidden_size=16,
        decoder_num_attention_heads=HEADS["decoder_heads"],
        decoder_num_hidden_layers=2,
        decoder_intermediate_size=64,
        use_mean_pooling=False,
    )
    model = VideoMAEForPreTraining(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # Fresh biases are zero, and norms are ones.
            parameter.add_(0.05 * torch.randn(parameter.shape))
    return model


@pytest.fixture
def ours(theirs, tmp_path):
    theirs.save_pretrained(tmp_path / "published")
    return load_model(tmp_path / "published" / "model.safetensors", **HEADS, position_grid=GRID)


@pytest.fixture
def frames():
    return torch.randn(2, FRAMES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))


def test_the_encoder_of_all_tubes_is_theirs(theirs, ours, frames):
    tubes = ours.tubes(frames, torch.ones(2, 2, dtype=torch.long))
    places = numbered(range(GRID[0]), *GRID[1:], GRID, torch.device("cpu"))
    with torch.no_grad():
        found = ours._encoded(ours._tokens(tubes, torch.eye(3)[None], places).flatten(1, 2))
        expected = theirs.videomae(frames).last_hidden_state
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("hidden", [1, 8, 14])
def test_filled_in_tubes_and_their_loss_are_theirs(theirs, ours, frames, hidden):
    places = GRID[1] * GRID[2]
    # One order for both samples; theirs answers in the order of places.
    chosen = torch.randperm(places, generator=torch.Generator().manual_seed(2))
    order = torch.cat([chosen[:hidden].sort().values, chosen[hidden:]]).expand(2, places)
    masked = torch.zeros(2, GRID[0], places, dtype=torch.bool)
    masked[:, :, chosen[:hidden]] = True
    tubes = ours.tubes(frames, torch.ones(2, 2, dtype=torch.long))
    with torch.no_grad():
        answer = ours.fill(tubes, torch.eye(3)[None], order, hidden)
        expected = theirs(frames, bool_masked_pos=masked.flatten(1))
    by_colour_last = answer.movedim(-2, -1).flatten(1, 2).flatten(-2)
    torch.testing.assert_close(by_colour_last, expected.logits, rtol=1e-4, atol=1e-4)
    target = standardised(tubes.flatten(2, 3)[:, :, order[0, :hidden]])
    torch.testing.assert_close((answer - target).square().mean(), expected.loss, rtol=1e-4, atol=1e-4)


def test_a_published_file_is_finetuned_on_physics(theirs, tmp_path):
    theirs.config.image_size = SIZE
    theirs.save_pretrained(tmp_path / "published")
    store = make_store(tmp_path / "stores", "swe", grid=(16, 16))
    recipe = tmp_path / "tune.yaml"
    recipe.write_text(FINETUNE, encoding="utf-8")
    request = TrainRequest(
        recipe=str(recipe),
        checkpoint=tmp_path / "published" / "model.safetensors",
        data=(store,),
        output=tmp_path / "run",
    )
    with pytest.raises(StoreError, match=r"knows none of the fields shallow_water\.height; it knows video\.red"):
        finetune.run(request)
    allowed = TrainRequest(**{**vars(request), "overrides": ("init.unmatched=allow", "engine.zero_stage=0")})
    assert finetune.run(allowed)["step"] == 2
    section = load_model(tmp_path / "run").section
    assert section.fields == ("video.red", "video.green", "video.blue", "shallow_water.height")
