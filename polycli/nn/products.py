"""The matrix products of the layers, quick in bfloat16 on processors that have no instructions for it.

On a CPU that cannot multiply bfloat16, the operands are rounded to it, multiplied in float32, and the result is
rounded: what bfloat16 instructions compute, several times faster than torch's own loops for it.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

#: False on processors with neither AVX-512 nor its like on other architectures.
CPU_MULTIPLIES_BFLOAT16 = bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())  # noqa: SLF001  # it has no public name


def linear(x: Float[Tensor, "*b i"], weight: Float[Tensor, "o i"], bias: Tensor | None = None) -> Float[Tensor, "*b o"]:
    """Computes `torch.nn.functional.linear` in autocast's type."""
    if not _emulates(x):
        return functional.linear(x, weight, bias)
    with torch.autocast("cpu", enabled=False):
        return functional.linear(_rounded(x), _rounded(weight), None if bias is None else _rounded(bias)).bfloat16()


def matmul(one: Float[Tensor, "*b i j"], other: Float[Tensor, "*b j k"]) -> Float[Tensor, "*b i k"]:
    """Computes `torch.matmul` in autocast's type."""
    if not _emulates(one):
        return one @ other
    with torch.autocast("cpu", enabled=False):
        return (_rounded(one) @ _rounded(other)).bfloat16()


def _emulates(x: Tensor) -> bool:
    return (
        x.device.type == "cpu"
        and not CPU_MULTIPLIES_BFLOAT16
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") is torch.bfloat16
    )


def _rounded(x: Tensor) -> Tensor:
    return x.bfloat16().float()


def attention(
    query: Float[Tensor, "b h l d"],
    key: Float[Tensor, "b h l d"],
    value: Float[Tensor, "b h l d"],
    mask: Tensor | None = None,
    *,
    dropout: float = 0.0,
    causal: bool = False,
) -> Float[Tensor, "b h l d"]:
    """`scaled_dot_product_attention` of query, key and value as they are, in float32 where bfloat16 is emulated."""
    if not _emulates(query):
        return functional.scaled_dot_product_attention(query, key, value, mask, dropout, causal)
    with torch.autocast("cpu", enabled=False):
        query, key, value = query.float(), key.float(), value.float()
        return functional.scaled_dot_product_attention(query, key, value, mask, dropout, causal).bfloat16()
