"""The video transformer: tubes and their places, what it is shown, and published weights by their names."""

import math

import pytest
import torch
from safetensors.torch import save_file

from polycli.errors import CheckpointError
from polycli.mpp import load_model
from polycli.mpp.model.baselines.tokens import cut_tubes, frame_of, numbered, positions
from polycli.mpp.model.baselines.vit import VideoTransformer
from polycli.mpp.recipe.networks import VitSection
from tests.mpp.model.baselines.video import WIDTHS, published_names

FIELDS = ("a.one", "a.two", "b.three")
PERIODIC = torch.tensor([[1, 1]])


def transformer(**changes) -> VideoTransformer:
    torch.manual_seed(3)
    sizes = {**WIDTHS, "blocks": 2, "decoder_blocks": 1, "patch_size": 4, "tubelet": 2, "fields": FIELDS}
    return VideoTransformer(VitSection(kind="vit", **sizes | changes)).eval()


def test_a_tube_holds_its_own_points_and_a_frame_comes_back_from_tubes():
    x = torch.randn(2, 4, 3, 8, 12)
    tubes = cut_tubes(x, 2, 4)
    assert tubes.shape == (2, 2, 2, 3, 3, 32)
    expected = x[1, 2:4, 2, 4:8, 8:12]
    torch.testing.assert_close(tubes[1, 1, 1, 2, 2], expected.flatten())
    for frame in (0, 1):
        torch.testing.assert_close(frame_of(tubes[:, 1], frame, 4), x[:, 2 + frame])


def test_positions_are_the_published_waves():
    found = positions(torch.tensor([0, 1, 37]), 6)
    assert found[0].tolist() == [0, 1, 0, 1, 0, 1]
    for place, row in ((1, 1), (37, 2)):
        for index in range(6):
            angle = place / 10000 ** (2 * (index // 2) / 6)
            wave = math.sin(angle) if index % 2 == 0 else math.cos(angle)
            assert found[row, index].item() == pytest.approx(wave, abs=1e-6)


def test_places_are_numbered_on_the_published_grid_and_on_a_larger_one_where_data_need_it():
    whole = numbered(range(8), 14, 14, (8, 14, 14), torch.device("cpu"))
    assert torch.equal(whole.flatten(), torch.arange(1568))
    small = numbered(range(1, 3), 2, 3, (8, 14, 14), torch.device("cpu"))
    assert small.tolist() == [[196, 197, 198, 210, 211, 212], [392, 393, 394, 406, 407, 408]]
    large = numbered(range(2), 2, 20, (8, 14, 14), torch.device("cpu"))
    assert len(set(large.flatten().tolist())) == 80


def test_nothing_is_read_of_a_hidden_tube():
    model = transformer()
    tubes = model.tubes(torch.randn(2, 4, 3, 8, 8), PERIODIC.expand(2, 2))
    selection, order = torch.eye(3)[None], torch.tensor([[2, 0, 1, 3], [1, 3, 0, 2]])
    with torch.no_grad():
        answer = model.fill(tubes, selection, order, 2)
        changed = tubes.clone().flatten(2, 3)
        changed[0, :, [2, 0]] = torch.randn(2, 2, 3, 32)
        changed[1, :, [1, 3]] = torch.randn(2, 2, 3, 32)
        torch.testing.assert_close(model.fill(changed.unflatten(2, (2, 2)), selection, order, 2), answer)
        changed[0, 0, 1] += 1
        other = model.fill(changed.unflatten(2, (2, 2)), selection, order, 2)
    assert (other[0] - answer[0]).abs().max() > 1e-5
    torch.testing.assert_close(other[1], answer[1])
    assert answer.shape == (2, 2, 2, 3, 32)


def test_hidden_tubes_are_answered_in_the_order_that_they_were_asked_in():
    model = transformer()
    tubes = model.tubes(torch.randn(1, 2, 3, 8, 8), PERIODIC)
    selection = torch.eye(3)[None]
    with torch.no_grad():
        one = model.fill(tubes, selection, torch.tensor([[2, 0, 1, 3]]), 2)
        other = model.fill(tubes, selection, torch.tensor([[0, 2, 3, 1]]), 2)
    torch.testing.assert_close(one.flip(2), other)


def test_a_forecast_is_the_first_frame_of_the_tubes_behind_the_context():
    model = transformer(predicts="state").double()
    x, labels = torch.randn(1, 4, 3, 8, 8, dtype=torch.float64), torch.arange(3)
    mean, scale = x.mean((1, 3, 4)), x.std((1, 3, 4))
    normalised = (x - mean[:, None, :, None, None]) / scale[:, None, :, None, None]
    selection = torch.eye(3, dtype=torch.float64)[None]
    with torch.no_grad():
        hidden = model.hidden(normalised, selection, PERIODIC)
        values = model.pixels(hidden.flatten(1, 2), selection)
        by_hand = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
        for place in range(4):
            row, column = 4 * (place // 2), 4 * (place % 2)
            # Of 2 frames of 4 x 4 points, the first.
            by_hand[0, :, row : row + 4, column : column + 4] = values[0, place, :, :16].view(3, 4, 4)
        expected = by_hand * scale[..., None, None] + mean[..., None, None]
        torch.testing.assert_close(model(x, labels, PERIODIC), expected, rtol=1e-5, atol=1e-5)


def test_what_is_asked_for_begins_from_what_stood_there_last():
    model = transformer()
    for layer in (model.decoder[0].join, model.decoder[0].shrink):  # A decoder that adds nothing.
        torch.nn.init.zeros_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    x, labels = torch.randn(1, 4, 3, 8, 12), torch.arange(3)
    mean, scale = x.mean((1, 3, 4), keepdim=True), x.std((1, 3, 4), keepdim=True)
    with torch.no_grad():
        last = model.features(x, labels, PERIODIC)
        # Behind two tubes of 2 x 3 places comes the third, on a grid of 14 x 14 places.
        place = 2 * 196 + 14 * torch.arange(2)[:, None] + torch.arange(3)
        expected = model.decoder_norm(model.mask.weight + positions(place, 6) + model.bridge(last))
        torch.testing.assert_close(model.hidden((x - mean) / scale, torch.eye(3)[None], PERIODIC), expected)


def test_published_weights_are_read_by_their_names(tmp_path):
    model = transformer(fields=("video.red", "video.green", "video.blue"), predicts="change")
    heads = {key: WIDTHS[key] for key in ("num_heads", "decoder_heads")}
    save_file(published_names(model), tmp_path / "model.safetensors", metadata={"format": "pt"})
    loaded = load_model(tmp_path / "model.safetensors", **heads)
    assert loaded.section == model.section
    x = torch.randn(1, 4, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x, torch.arange(3), PERIODIC), model(x, torch.arange(3), PERIODIC))

    save_file(
        {name: value for name, value in published_names(model).items() if not name.startswith("decoder.head")},
        tmp_path / "model.safetensors",
        metadata={"format": "pt"},
    )
    with pytest.raises(CheckpointError, match=r"a VideoMAE without decoder\.head\.weight"):
        load_model(tmp_path / "model.safetensors", **heads)


def test_earlier_names_of_the_biases_are_read_too(tmp_path):
    model = transformer(fields=("video.red", "video.green", "video.blue"), predicts="change")
    tensors = {
        name.replace("query.bias", "q_bias").replace("value.bias", "v_bias"): value
        for name, value in published_names(model).items()
    }
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    heads = {key: WIDTHS[key] for key in ("num_heads", "decoder_heads")}
    loaded = load_model(tmp_path / "model.safetensors", **heads).state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(loaded[name], value), name
