"""The transformer: pre-norm layers with fused attention and the parameter names of torch's own encoder.

Residual sums and norms are float32; products run in autocast's type.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.nn.products import attention, linear
from polycli.xval.recipe.model import ModelSection


class Product(nn.Linear):
    """A linear layer that is quick in bfloat16 on processors without instructions for it."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  # torch's name
        """Returns `input` times the weight."""
        return linear(input, self.weight, self.bias)


class SelfAttention(nn.Module):
    """Every token with every other one of its record, or with those before it."""

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        width = section.embed_dim
        self.heads, self.causal, self.dropout = section.num_heads, section.causal, section.attention_dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = Product(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)
        nn.init.zeros_(self.out_proj.bias)

    def forward(self, x: Float[Tensor, "b l d"], mask: Bool[Tensor, "b 1 #l l"] | None) -> Float[Tensor, "b l d"]:
        """Attention over the tokens that `mask` allows; all of them where it is None."""
        projected = linear(x, self.in_proj_weight, self.in_proj_bias)
        rows, length, width = x.shape
        query, key, value = projected.view(rows, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        dropout = self.dropout if self.training else 0.0
        mixed = attention(query, key, value, mask, dropout=dropout, causal=self.causal and mask is None)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x))."""

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        width = section.embed_dim
        self.self_attn = SelfAttention(section)
        self.linear1 = Product(width, section.feed_forward)
        self.linear2 = Product(section.feed_forward, width)
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.dropout = section.dropout

    def forward(self, x: Float[Tensor, "b l d"], mask: Bool[Tensor, "b 1 #l l"] | None) -> Float[Tensor, "b l d"]:
        """Applies one pre-norm layer: attention, then the MLP, each added to its input."""
        x = x + self._drop(self.self_attn(self.norm1(x), mask))
        hidden = self._drop(functional.gelu(self.linear1(self.norm2(x))))
        return x + self._drop(self.linear2(hidden))

    def _drop(self, x: Tensor) -> Tensor:
        return functional.dropout(x, self.dropout, self.training) if self.dropout else x


class EncoderStack(nn.Module):
    """The layers, without a norm after the last one, as published."""

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        self.causal = section.causal
        self.layers = nn.ModuleList(EncoderLayer(section) for _ in range(section.blocks))

    def forward(self, x: Float[Tensor, "b l d"], real: Bool[Tensor, "b l"] | None) -> Float[Tensor, "b l d"]:
        """`real` says which tokens are no padding; None where none is."""
        mask = None if real is None else self._mask(real)
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def _mask(self, real: Bool[Tensor, "b l"]) -> Bool[Tensor, "b 1 #l l"]:
        """Returns which keys each query may see."""
        if not self.causal:
            # A row of nothing but padding sees itself: softmax over nothing is not a number.
            return (real | ~real.any(dim=1, keepdim=True))[:, None, None, :]
        length = real.shape[1]
        earlier = torch.ones(length, length, dtype=torch.bool, device=real.device).tril()
        itself = torch.eye(length, dtype=torch.bool, device=real.device)
        return ((earlier & real[:, None, :]) | itself)[:, None]
