"""The network gives the published values, keeps numbers exact, and lets neither padding nor infinity into a batch."""

import math

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional

from polycli.engine.blocks import recompute_blocks
from polycli.errors import UserError
from polycli.xval.model.numformer import Numformer, parameter_count
from polycli.xval.recipe.model import ModelSection
from polycli.xval.training.objective import FillIn

SMALL = {"embed_dim": 24, "num_heads": 3, "blocks": 2, "feed_forward": 48, "context": 32, "dropout": 0.0}
END, MASK, PAD, NUM = range(4)


def make(tokens: int = 30, **changes) -> Numformer:
    torch.manual_seed(1)
    return Numformer(ModelSection(**{**SMALL, **changes}), tokens).eval()


def some_batch(rows: int = 3, length: int = 12, tokens: int = 30):
    generator = torch.Generator().manual_seed(2)
    token_ids = torch.randint(NUM, tokens, (rows, length), generator=generator)
    token_ids[:, ::3] = NUM
    numbers = torch.where(token_ids == NUM, torch.randn(rows, length, generator=generator), 1.0)
    return token_ids, numbers


def relative(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found.detach() - expected).norm() / expected.norm())


@pytest.fixture(scope="module")
def published(shared):
    """The network of the reference file, and the file."""
    tensors = load_file(shared / "parity" / "xval_numformer.safetensors")
    section = ModelSection(embed_dim=48, num_heads=3, blocks=2, feed_forward=96, context=64)
    model = Numformer(section, 27).eval()
    model.load_state_dict({k.removeprefix("weights."): v for k, v in tensors.items() if k.startswith("weights.")})
    return model, tensors


@pytest.mark.parity
def test_outputs_losses_and_gradients_are_the_published_ones(published):
    model, reference = published
    # Its batch has 120 positions, of which some are targets, and of those some are numbers.
    target, truth = reference["input.y"].flatten(), reference["input.y_num"].flatten()
    at, number_at = torch.nonzero(target != -100)[:, 0], torch.nonzero(target == NUM)[:, 0]
    batch = {
        "token_ids": reference["input.x"],
        "numbers": reference["input.x_num"],
        "at": at,
        "target_ids": target[at],
        "number_at": number_at,
        "number_targets": truth[number_at],
    }
    with torch.no_grad():
        output = model.outputs(reference["input.x"], reference["input.x_num"])
        logits = model(reference["input.x"], reference["input.x_num"])
    loss, metrics = FillIn(model)(batch)
    loss.backward()

    assert relative(logits, reference["output.logits"]) < 1e-5
    assert torch.equal(output.logits, logits)
    assert relative(output.numbers, reference["output.numbers"][..., 0]) < 1e-5
    assert relative(metrics["token_loss"], reference["output.loss_mlm"][0]) < 1e-5
    assert relative(metrics["number_loss"], reference["output.loss_num"][0]) < 1e-5
    names = [name for name in reference if name.startswith("grad.")]
    assert len(names) == 3
    for name in names:
        assert relative(model.get_parameter(name.removeprefix("grad.")).grad, reference[name]) < 1e-4


def test_the_paper_s_sizes_have_the_paper_s_parameters():
    # Counted on the published code: 48.14 M at 27 tokens and 151.8 M at FP15's vocabulary of 27024.
    assert parameter_count(ModelSection(), 27) == pytest.approx(48.14e6, rel=1e-4)
    text = parameter_count(ModelSection(), 27024) - parameter_count(ModelSection(), 27)
    assert text == 27024 * (768 + 3072) - 27 * (768 + 3072)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_changes_no_output(causal):
    model = make(causal=causal, encoding="multiscale")
    token_ids, numbers = some_batch()
    with torch.no_grad():
        plain = model.outputs(token_ids[:1, :9], numbers[:1, :9])
        # Beside a longer record, the shorter one is filled up.
        token_ids[0, 9:], numbers[0, 9:] = PAD, 1.0
        together = model.outputs(token_ids, numbers)
    torch.testing.assert_close(together.logits[:1, :9], plain.logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(together.numbers[:1, :9], plain.numbers, rtol=1e-5, atol=1e-5)


def test_a_row_of_nothing_but_padding_is_finite():
    model = make()
    token_ids, numbers = some_batch()
    token_ids[1] = PAD
    assert torch.isfinite(model.outputs(token_ids, numbers).logits).all()


def test_numbers_matter_at_number_tokens_alone():
    model = make()
    token_ids, numbers = some_batch()
    elsewhere = torch.where(token_ids == NUM, numbers, 7.0)
    there = torch.where(token_ids == NUM, numbers + 1, 1.0)
    with torch.no_grad():
        assert torch.equal(model(token_ids, numbers), model(token_ids, elsewhere))
        assert not torch.allclose(model(token_ids, numbers), model(token_ids, there))


@pytest.mark.parametrize("bad", [math.inf, -math.inf, math.nan, 1e39])
def test_a_number_that_is_not_finite_is_refused_with_its_place(bad):
    model = make()
    token_ids, numbers = some_batch()
    numbers = numbers.double()
    numbers[2, 6] = bad
    with pytest.raises(UserError, match="row 2, position 6"):
        model(token_ids, numbers)


def test_the_largest_float32_numbers_give_finite_outputs_and_losses():
    numbers_of = {"linear": 1e18, "asinh": 3.4e38}
    for term, size in numbers_of.items():
        model = make(encoding="multiscale", number_term=term, number_head=term)
        token_ids, numbers = some_batch()
        numbers = torch.where(token_ids == NUM, torch.sign(numbers) * size, 1.0)
        with torch.no_grad():
            output = model.outputs(token_ids, numbers)
        assert torch.isfinite(output.logits).all()
        assert torch.isfinite(output.numbers).all()


def test_a_record_beyond_the_context_is_refused():
    with pytest.raises(UserError, match=r"33 tokens, model\.context is 32"):
        make()(torch.full((1, 33), 5), torch.ones(1, 33))


def test_causal_tokens_do_not_see_what_follows():
    model = make(causal=True)
    token_ids, numbers = some_batch()
    changed = token_ids.clone()
    changed[:, 7:] = 20
    with torch.no_grad():
        one = model(token_ids, numbers)
        other = model(changed, torch.where(changed == NUM, numbers, 1.0))
    torch.testing.assert_close(one[:, :7], other[:, :7])
    assert not torch.allclose(one[:, 7:], other[:, 7:])


def test_asking_at_some_positions_gives_what_asking_everywhere_gives_there():
    model = make(quantiles=(0.1, 0.5, 0.9))
    token_ids, numbers = some_batch()
    at = torch.tensor([0, 5, 13, 35])
    with torch.no_grad():
        everywhere, there = model.outputs(token_ids, numbers), model.outputs(token_ids, numbers, at)
    torch.testing.assert_close(there.logits, everywhere.logits.flatten(0, 1)[at])
    torch.testing.assert_close(there.numbers, everywhere.numbers.flatten()[at])
    torch.testing.assert_close(there.quantiles, everywhere.quantiles.flatten(0, 1)[at])


def test_under_autocast_the_number_path_stays_in_float32():
    model = make(encoding="multiscale")
    token_ids, numbers = some_batch()
    seen = {}

    def keep(name):
        def hook(module, inputs, output):
            seen[name] = (inputs[0].dtype, output.dtype)

        return hook

    model.number_encoder.register_forward_hook(keep("encoder"))
    model.number_encoder.bank.vectors.register_forward_hook(keep("bank"))
    for place in (0, 2):
        model.num_head[place].register_forward_hook(keep(f"head {place}"))
    model.encoder_stack.layers[0].linear1.register_forward_hook(keep("product"))
    with torch.no_grad():
        exact = model.number_encoder(model.token_embed(token_ids), numbers, token_ids == NUM)
        with torch.autocast("cpu", torch.bfloat16):
            lower = model.number_encoder(model.token_embed(token_ids), numbers, token_ids == NUM)
            output = model.outputs(token_ids, numbers)
    assert torch.equal(exact, lower)
    assert output.numbers.dtype == torch.float32
    assert seen.pop("product")[1] == torch.bfloat16
    assert {found for pair in seen.values() for found in pair} == {torch.float32}


def test_dropping_out_is_for_training_alone():
    model = make(dropout=0.5)
    token_ids, numbers = some_batch()
    with torch.no_grad():
        assert torch.equal(model(token_ids, numbers), model(token_ids, numbers))
        model.train()
        assert not torch.equal(model(token_ids, numbers), model(token_ids, numbers))


def test_recomputed_layers_give_the_same_gradients():
    token_ids, numbers = some_batch()
    gradients = []
    for recompute in (False, True):
        model = make().train()
        if recompute:
            recompute_blocks(model.encoder_stack.layers)
        model(token_ids, numbers).square().mean().backward()
        gradients.append(model.token_embed.weight.grad)
    torch.testing.assert_close(*gradients)


def test_text_encodings_have_no_number_head():
    model = make(encoding="p10", quantiles=(0.5,))
    output = model.outputs(*some_batch())
    assert output.numbers is None
    assert output.quantiles is None
    assert not [name for name in model.state_dict() if "num" in name]


def test_the_mean_loss_is_over_targets_where_no_divisor_is_given():
    model = FillIn(make())
    token_ids, numbers = some_batch()
    at = torch.tensor([1, 3, 15])
    batch = {
        "token_ids": token_ids,
        "numbers": numbers,
        "at": at,
        "target_ids": torch.tensor([9, NUM, NUM]),
        "number_at": at[1:],
        "number_targets": torch.tensor([0.5, -2.0]),
    }
    loss, metrics = model(batch)
    output = model.model.outputs(token_ids, numbers, at)
    expected = functional.cross_entropy(output.logits, batch["target_ids"])
    expected = expected + functional.mse_loss(output.numbers[1:], batch["number_targets"])
    torch.testing.assert_close(loss, expected)
    halved, _ = model({**batch, "divisors": torch.tensor([6.0, 4.0])})
    torch.testing.assert_close(halved, expected / 2)
    assert metrics["padding_share"] == 0
