"""Models from every kind of checkpoint, and a reason for everything that is none."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.errors import CheckpointError
from polycli.xval import load_model
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection

SIZES = {"embed_dim": 24, "num_heads": 3, "blocks": 2, "feed_forward": 40, "context": 16, "dropout": 0.0}


def make(**changes):
    torch.manual_seed(1)
    return Numformer(ModelSection(**{**SIZES, **changes}), 27).eval()


def same_output(one, other):
    generator = torch.Generator().manual_seed(0)
    token_ids = torch.randint(3, 27, (2, 9), generator=generator)
    numbers = torch.where(token_ids == 3, torch.randn(2, 9, generator=generator), 1.0)
    with torch.no_grad():
        return torch.equal(one(token_ids, numbers), other(token_ids, numbers))


@pytest.mark.parametrize("nest", [(), ("model",), ("state_dict",), ("model_state",), ("teacher",)])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_the_ways_in_which_the_original_packs_a_state_dict_are_read(tmp_path, nest, prefix):
    packed = {prefix + name: value for name, value in make().state_dict().items()}
    for key in nest:
        packed = {"step": 7, key: packed, "optimizer": {"state": {0: {"step": torch.tensor(1.0)}}}}
    torch.save(packed, tmp_path / "ckpt.pt")
    loaded = load_model(str(tmp_path / "ckpt.pt"), num_heads=3)
    assert not loaded.training
    assert same_output(loaded, make())


@pytest.mark.parity
def test_the_reference_file_gives_the_published_outputs(shared):
    path = shared / "parity" / "xval_numformer.safetensors"
    model, reference = load_model(path, num_heads=3), load_file(path)
    with torch.no_grad():
        output = model.outputs(reference["input.x"], reference["input.x_num"])
    for found, name in ((output.logits, "logits"), (output.numbers[..., None], "numbers")):
        expected = reference[f"output.{name}"]
        assert float((found - expected).norm() / expected.norm()) < 1e-5
    assert (model.special.pad, model.special.num) == (2, 3)


def test_sizes_that_no_tensor_tells_are_the_paper_s_or_as_given(tmp_path):
    save_file(make(num_heads=3).state_dict(), tmp_path / "any.safetensors")
    assert load_model(tmp_path / "any.safetensors").section.num_heads == 6
    loaded = load_model(tmp_path / "any.safetensors", num_heads=3)
    assert loaded.section.model_copy(update={"dropout": 0.0}) == make().section
    with pytest.raises(CheckpointError, match="not divisible by num_heads 5"):
        load_model(tmp_path / "any.safetensors", num_heads=5)


def test_a_plain_checkpoint_is_a_multiscale_one_with_a_silent_bank(tmp_path):
    save_file(make().state_dict(), tmp_path / "any.safetensors")
    multiscale = load_model(tmp_path / "any.safetensors", num_heads=3, encoding="multiscale")
    assert multiscale.section.encoding == "multiscale"
    assert same_output(multiscale, make())


def test_bits_are_told_from_tensors_and_the_digits_of_waves_must_be_said(tmp_path):
    save_file(make(encoding="bits").state_dict(), tmp_path / "bits.safetensors")
    assert same_output(load_model(tmp_path / "bits.safetensors", num_heads=3), make(encoding="bits"))
    waves = make(encoding="fone", exponents=(-2, 3))
    save_file(waves.state_dict(), tmp_path / "waves.safetensors")
    with pytest.raises(CheckpointError, match="no tensor tells which digits its numbers have"):
        load_model(tmp_path / "waves.safetensors", num_heads=3)
    assert same_output(load_model(tmp_path / "waves.safetensors", num_heads=3, exponents=(-2, 3)), waves)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoding": "multiscale"},
        {"encoding": "p10"},
        {"encoding": "bits"},
        {"encoding": "fone", "exponents": (-2, 3)},
        {"quantiles": (0.1, 0.9)},
    ],
)
def test_a_description_says_what_the_tensors_do_not(tmp_path, changes):
    model = make(causal=True, **changes)
    section = model.section.model_dump(mode="json")
    write_model(
        tmp_path,
        model.state_dict(),
        ModelDescription(family="xval", verb="pretrain", version="0", step=1, model=section),
    )
    loaded = load_model(tmp_path)
    assert loaded.section == model.section
    assert same_output(loaded, model)


def test_other_families_are_refused(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"not an xVal model: token_embed\.weight is missing"):
        load_model(tmp_path / "model.safetensors")
    description = {
        "format": "polycli-model",
        "family": "mpp",
        "verb": "pretrain",
        "version": "0",
        "step": 1,
        "model": {},
    }
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(CheckpointError, match="of the family mpp, xval was expected"):
        load_model(tmp_path / "model.safetensors")


@pytest.mark.parametrize(
    ("special", "reason"),
    [
        ([1, 2], "`special` in its model.json is not what polycli writes"),
        ({"num": None}, "num: Input should be a valid integer"),
        ({"num": 40}, "special.num in its model.json is 40, and there are 27 tokens"),
    ],
)
def test_special_tokens_that_are_none_are_refused(tmp_path, special, reason):
    model = make()
    write_model(
        tmp_path,
        model.state_dict(),
        ModelDescription(
            family="xval",
            verb="pretrain",
            version="0",
            step=1,
            model=model.section.model_dump(mode="json"),
            special=special,
        ),
    )
    with pytest.raises(CheckpointError, match=reason):
        load_model(tmp_path)


def broken(name, value):
    return {**make().state_dict(), name: value}


@pytest.mark.parametrize(
    ("tensors", "reason"),
    [
        (broken("num_head.0.bias", torch.zeros(31)), r"num_head\.0\.bias is \(31,\), \(40,\) was expected"),
        (broken("encoder_stack.extra", torch.zeros(1)), "1 tensors are unknown, encoder_stack.extra"),
        (broken("num_head.2.bias", torch.tensor([float("nan")])), "bias holds values that are not finite"),
        (broken("token_embed.weight", torch.zeros(27, 24, dtype=torch.int64)), "not finite numbers"),
        (
            {k: v for k, v in make().state_dict().items() if "layers.1.norm1" not in k},
            "2 tensors are missing, encoder_stack.layers.1.norm1",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(tmp_path, tensors, reason):
    save_file(tensors, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=reason):
        load_model(tmp_path / "model.safetensors", num_heads=3)


def test_a_size_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(TypeError, match="no size 'depth'"):
        load_model(tmp_path, depth=3)


def test_what_is_no_checkpoint_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="there is no such checkpoint"):
        load_model(tmp_path / "absent")
    (tmp_path / "noise").write_bytes(b"\x00\x01\x02" * 99)
    with pytest.raises(CheckpointError, match="not a checkpoint"):
        load_model(tmp_path / "noise")
