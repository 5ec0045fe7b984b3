"""A video transformer of an encoder and a decoder (VideoMAE, Tong et al. 2022), which fills in tubes it is not shown.

Masked, it sees some tubes and gives the values of the others. As a forecaster it sees all tubes of the context and
gives those of the time behind it: the next frame is the first one of these. Both uses share every weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from polycli.mpp.model.baselines.tokens import TubeEmbedding, TubeReadout, cut_tubes, frame_of, numbered, positions
from polycli.mpp.model.network import Network
from polycli.mpp.model.padding import crop_to_grid, pad_to_patches
from polycli.mpp.recipe.networks import VitSection
from polycli.nn.products import attention, linear


class TransformerBlock(nn.Module):
    """Attention among all tokens, then an MLP, each behind a norm and added to what came in; keys have no bias."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width)
        self.join = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.expand = nn.Linear(width, mlp_ratio * width)
        self.shrink = nn.Linear(mlp_ratio * width, width)
        for layer in (self.query, self.key, self.value, self.join, self.expand, self.shrink):
            nn.init.xavier_uniform_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        """Returns tokens of the same shape."""
        normed = self.norm1(x)
        query, key, value = (
            torch.unflatten(linear(normed, layer.weight, layer.bias), -1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.query, self.key, self.value)
        )
        joined = attention(query, key, value).transpose(1, 2).flatten(2)
        x = x + linear(joined, self.join.weight, self.join.bias)
        inner = functional.gelu(linear(self.norm2(x), self.expand.weight, self.expand.bias))
        return x + linear(inner, self.shrink.weight, self.shrink.bias)


class MaskToken(nn.Module):
    """The token that stands for a tube which is not shown, beside the place of which it is asked for."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(0.02 * torch.randn(width))

    def forward(self, places: Float[Tensor, "b m d"]) -> Float[Tensor, "b m d"]:
        """Returns a token for each place."""
        return self.weight + places


class VideoTransformer(Network):
    """Next frame from a context of frames, or hidden tubes from those that are shown."""

    section: VitSection

    def __init__(self, section: VitSection) -> None:
        super().__init__(section)
        states, tube = len(section.fields), (section.tubelet, section.patch_size)
        self.patches = TubeEmbedding(states, *tube, section.embed_dim)
        self.blocks = nn.ModuleList(
            TransformerBlock(section.embed_dim, section.num_heads, section.mlp_ratio) for _ in range(section.blocks)
        )
        self.norm = nn.LayerNorm(section.embed_dim, eps=1e-6)
        self.bridge = nn.Linear(section.embed_dim, section.decoder_dim, bias=False)
        self.mask = MaskToken(section.decoder_dim)
        self.decoder = nn.ModuleList(
            TransformerBlock(section.decoder_dim, section.decoder_heads, section.mlp_ratio)
            for _ in range(section.decoder_blocks)
        )
        self.decoder_norm = nn.LayerNorm(section.decoder_dim, eps=1e-6)
        self.pixels = TubeReadout(states, *tube, section.decoder_dim)

    @property
    def feature_points(self) -> int:
        """A token is a patch; where the patch size does not divide the grid, outer patches reach beyond it."""
        return self.section.patch_size

    @property
    def field_axes(self) -> Mapping[str, int]:
        """Kernels of the first and of the last layer, and the biases of the last."""
        return {"patches.weight": 1, "pixels.weight": 0, "pixels.bias": 0}

    @property
    def shared_ends(self) -> Sequence[nn.Module]:
        """The decoder, and the norm and the map that lead to it."""
        return (self.norm, self.bridge, self.mask, self.decoder, self.decoder_norm)

    def features(
        self,
        x: Float[Tensor, "b t c h w"],
        state_labels: Int[Tensor, " c"] | Int[Tensor, "b c"],
        bcs: Int[Tensor, "b 2"],
        told: Float[Tensor, "b m"] | None = None,  # noqa: ARG002  # AViT alone is told something.
    ) -> Float[Tensor, "b hp wp d"]:
        """The encoder's tokens of the last tubes, which masked pretraining shapes as well as forecasting does."""
        x, mean, scale, selection = self._normalised(x, state_labels, bcs)
        tubes = self.tubes((x - mean) / scale, bcs)
        times, height, width = tubes.shape[1:4]
        places = numbered(range(times), height, width, self.section.position_grid, x.device)
        tokens = self._encoded(self._tokens(tubes, selection, places).flatten(1, 2))
        return torch.unflatten(tokens, 1, (times, height, width))[:, -1]

    def tubes(self, x: Float[Tensor, "b t c h w"], bcs: Int[Tensor, "b 2"]) -> Float[Tensor, "b n hp wp c k"]:
        """The values of all tubes of frames that are normalised."""
        padded = pad_to_patches(x, bcs, self.section.patch_size)
        return cut_tubes(padded, self.section.tubelet, self.section.patch_size)

    def fill(
        self,
        tubes: Float[Tensor, "b n hp wp c k"],
        selection: Float[Tensor, "s c n"],
        order: Int[Tensor, "b p"],
        hidden: int,
    ) -> Float[Tensor, "b n {hidden} c k"]:
        """The values of the tubes that are hidden, from the others.

        Args:
            tubes: all of them; nothing is read of those that are hidden.
            selection: which states the fields are.
            order: the places of a frame, row by row, in an order of each sample's own.
            hidden: how many of them, the first in that order, are hidden at all times.
        """
        times, height, width = tubes.shape[1:4]
        places = numbered(range(times), height, width, self.section.position_grid, tubes.device)
        shown = order[:, hidden:]
        tokens = self._encoded(_at(self._tokens(tubes, selection, places), shown).flatten(1, 2))
        wave = positions(places, self.section.decoder_dim).expand(len(order), -1, -1, -1)
        answers = self._decoded(tokens, _at(wave, shown).flatten(1, 2), _at(wave, order[:, :hidden]).flatten(1, 2))
        return torch.unflatten(self.pixels(answers, selection), 1, (times, hidden))

    def hidden(
        self,
        x: Float[Tensor, "b t c h w"],
        selection: Float[Tensor, "s c n"],
        bcs: Int[Tensor, "b 2"],
        told: Float[Tensor, "b m"] | None = None,  # noqa: ARG002  # AViT alone is told something.
    ) -> Float[Tensor, "b hp wp d"]:
        """The decoder's tokens of the tubes behind the context."""
        tubes = self.tubes(x, bcs)
        times, height, width = tubes.shape[1:4]
        places = numbered(range(times + 1), height, width, self.section.position_grid, x.device)
        tokens = self._encoded(self._tokens(tubes, selection, places[:-1]).flatten(1, 2))
        wave = positions(places, self.section.decoder_dim).expand(len(x), -1, -1, -1)
        # What is asked for begins from what stood there last: to find that place among all others takes long to learn.
        asked = wave[:, -1] + self.bridge(tokens[:, -height * width :])
        return torch.unflatten(self._decoded(tokens, wave[:, :-1].flatten(1, 2), asked), 1, (height, width))

    def decoded(
        self, hidden: Float[Tensor, "b hp wp d"], selection: Float[Tensor, "s c n"], grid: tuple[int, int]
    ) -> Float[Tensor, "b c h w"]:
        """The first frame of those tubes."""
        values = torch.unflatten(self.pixels(hidden.flatten(1, 2), selection), 1, hidden.shape[1:3])
        frame = frame_of(values, 0, self.section.patch_size)
        return crop_to_grid(frame, grid, self.section.patch_size)

    def _tokens(self, tubes: Tensor, selection: Tensor, places: Tensor) -> Float[Tensor, "b n p d"]:
        return self.patches(tubes, selection).flatten(2, 3) + positions(places, self.section.embed_dim)  # type: ignore[no-any-return]

    def _encoded(self, tokens: Float[Tensor, "b l d"]) -> Float[Tensor, "b l d"]:
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)  # type: ignore[no-any-return]

    def _decoded(
        self, shown: Float[Tensor, "b l d"], where: Float[Tensor, "b l e"], asked: Float[Tensor, "b m e"]
    ) -> Float[Tensor, "b m e"]:
        """Tokens of places that are asked for, from encoded ones of places that are shown."""
        tokens = torch.cat([self.bridge(shown) + where, self.mask(asked)], dim=1)
        for block in self.decoder:
            tokens = block(tokens)
        return self.decoder_norm(tokens[:, shown.shape[1] :])  # type: ignore[no-any-return]


def _at(tokens: Float[Tensor, "b n p d"], places: Int[Tensor, "b m"]) -> Float[Tensor, "b n m d"]:
    """The tokens of some places of a frame, at all times."""
    index = places[:, None, :, None].expand(-1, tokens.shape[1], -1, tokens.shape[3])
    return tokens.gather(2, index)
