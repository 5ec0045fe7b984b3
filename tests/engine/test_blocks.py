"""Blocks that recompute keep less and give the same gradients; compiled ones share their code."""

import pytest
import torch
from torch import nn

from polycli.engine.blocks import compile_blocks, recompute_blocks


class Block(nn.Module):
    """x + dropout(gelu(linear(x))), scaled by a parameter of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.scale = nn.Linear(8, 8), nn.Parameter(torch.ones(8))

    def forward(self, x, *, twice=False):
        hidden = nn.functional.dropout(nn.functional.gelu(self.linear(x)), 0.3, self.training)
        return x + self.scale * hidden * (2 if twice else 1)


def make(count=3):
    torch.manual_seed(0)
    return nn.Sequential(*(Block() for _ in range(count)))


def gradients_of(model):
    torch.manual_seed(7)
    x = torch.randn(5, 8, requires_grad=True)
    for block in model:
        x = block(x, twice=True)
    x.square().mean().backward()
    return {name: parameter.grad for name, parameter in model.named_parameters()}


def kept_bytes(model):
    kept = {}
    x = torch.randn(5, 8)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.setdefault(t.data_ptr(), t), lambda t: t):
        model(x)
    return sum(tensor.nbytes for tensor in kept.values())


def test_recomputed_blocks_give_the_same_bits_keep_less_and_keep_their_names():
    kept, recomputed = make(), make()
    recompute_blocks(recomputed)
    expected, found = gradients_of(kept), gradients_of(recomputed)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert recomputed.state_dict().keys() == kept.state_dict().keys()
    assert str(recomputed) == str(kept)
    assert all(isinstance(block, Block) for block in recomputed)
    assert kept_bytes(recomputed) < kept_bytes(kept) / 2


def test_a_block_that_does_not_train_is_not_recomputed():
    model, calls = make(1), []
    forward = model[0].forward
    model[0].forward = lambda *args, **named: (calls.append(1), forward(*args, **named))[1]
    recompute_blocks(model)
    x = torch.randn(2, 8, requires_grad=True)
    model.eval()(x).sum().backward()
    with torch.no_grad():
        model.train()(x)
    assert len(calls) == 2
    model(x).sum().backward()
    assert len(calls) == 4


def test_hooks_run_again_with_what_is_recomputed_as_zero_3_needs():
    model, seen = make(1), []
    model[0].register_forward_pre_hook(lambda *_: seen.append("hook"))
    recompute_blocks(model)
    model(torch.randn(2, 8)).sum().backward()
    assert seen == ["hook", "hook"]


@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_blocks_share_their_code_and_give_the_same_gradients(recompute):
    from torch._dynamo.testing import CompileCounterWithBackend

    expected, model = gradients_of(make().eval()), make().eval()
    counter = CompileCounterWithBackend("aot_eager")
    if recompute:
        recompute_blocks(model)
    compile_blocks(model, backend=counter)
    found = gradients_of(model)
    assert counter.frame_count == 1
    torch.testing.assert_close(found, expected)
