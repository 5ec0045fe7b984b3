"""Products in bfloat16 are those of rounded operands, whatever the processor can do."""

import torch

from polycli.nn import products


def test_products_are_of_rounded_operands_and_rounded_once(monkeypatch):
    # Ours: torch's own loops on a processor without the instructions round a sum of products more than once.
    monkeypatch.setattr(products, "CPU_MULTIPLIES_BFLOAT16", False)
    torch.manual_seed(0)
    x, weight, bias = torch.randn(3, 7, 40), torch.randn(5, 40), torch.randn(5)
    with torch.autocast("cpu", torch.bfloat16):
        found = products.linear(x, weight, bias)
        pair = products.matmul(x, x.mT)
    assert found.dtype is pair.dtype is torch.bfloat16
    exact = x.bfloat16().double() @ weight.bfloat16().double().T + bias.bfloat16().double()
    torch.testing.assert_close(found.double(), exact, rtol=2**-8, atol=1e-3)
    torch.testing.assert_close(pair.double(), x.bfloat16().double() @ x.bfloat16().double().mT, rtol=2**-8, atol=1e-3)


def test_without_autocast_nothing_is_rounded():
    x, weight, bias = torch.randn(3, 7, 40), torch.randn(5, 40), torch.randn(5)
    assert torch.equal(products.linear(x, weight, bias), torch.nn.functional.linear(x, weight, bias))
    assert torch.equal(products.matmul(x, x.mT), x @ x.mT)


def test_gradients_reach_both_operands_in_their_own_type(monkeypatch):
    monkeypatch.setattr(products, "CPU_MULTIPLIES_BFLOAT16", False)
    x, weight = torch.randn(3, 40, requires_grad=True), torch.randn(5, 40, requires_grad=True)
    with torch.autocast("cpu", torch.bfloat16):
        products.linear(x, weight).float().sum().backward()
    torch.testing.assert_close(x.grad, weight.detach().sum(0).expand(3, -1), rtol=0.02, atol=0.05)
    torch.testing.assert_close(weight.grad, x.detach().sum(0).expand(5, -1), rtol=0.02, atol=0.05)


def test_attention_is_that_of_rounded_operands_in_float32(monkeypatch):
    monkeypatch.setattr(products, "CPU_MULTIPLIES_BFLOAT16", False)
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 3, 9, 8).bfloat16() for _ in range(3))
    mask = torch.rand(2, 1, 1, 9) < 0.8
    mask[..., 0] = True
    scores = (query.float() @ key.float().transpose(-1, -2) / 8**0.5).masked_fill(~mask, -torch.inf)
    expected = scores.softmax(dim=-1) @ value.float()

    with torch.autocast("cpu", torch.bfloat16):
        found = products.attention(query, key, value, mask)

    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), expected, rtol=2**-8, atol=1e-3)
