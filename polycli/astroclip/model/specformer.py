"""SpecFormer: a transformer over overlapping pieces of a spectrum (Parker et al. 2024, section 4.2).

A spectrum loses its mean and deviation, which go into the first token; every further token is one piece of it. The
names in the state dict are those of the published checkpoint.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn
from torch.nn import functional

from polycli.astroclip.model.native_grid import (
    Pieces,
    WavelengthEncoding,
    pieces_of,
    pixel_weights,
    weighted_deviation_and_mean,
)
from polycli.astroclip.model.spectrum_inputs import SpectrumInputs
from polycli.astroclip.model.stems import PieceConvolutions
from polycli.astroclip.model.templates import Fit, Templates
from polycli.astroclip.recipe.model import SpectrumSection
from polycli.errors import UserError

#: A spectrum that varies less than this (in 1e-17 erg/s/cm2/A) is not blown up to unit deviation.
SMALLEST_DEVIATION = 0.2


class SpecFormer(nn.Module):
    """Tokens of a spectrum and, for training, a reconstruction of them.

    Attributes:
        section: the recipe section that it was built from.
    """

    def __init__(self, section: SpectrumSection) -> None:
        super().__init__()
        self.section = section
        width, features = section.embed_dim, section.token_features
        self.data_embed: nn.Linear | PieceConvolutions
        if section.stem == "convolution":
            self.data_embed = PieceConvolutions(section.section_length, width, len(section.inputs))
        else:
            self.data_embed = nn.Linear(features, width)
        # Convolutions take what there is besides the flux as channels; a linear map has another one beside it for each.
        self._added = section.inputs if section.stem == "linear" else ()
        self.position_embed: nn.Embedding | WavelengthEncoding = (
            WavelengthEncoding(width) if section.grid == "native" else nn.Embedding(section.max_length, width)
        )
        self.dropout = nn.Dropout(section.dropout)
        self.blocks = nn.ModuleList(_Block(section) for _ in range(section.depth))
        self.final_layernorm = nn.LayerNorm(width)
        self.head = nn.Linear(width, features)
        for name in self._added:
            self.add_module(f"{name}_embed", nn.Linear(section.section_length, width, bias=False))
        self.templates = None if section.templates is None else Templates(section.templates, width)
        self._initialise()

    def forward(
        self,
        flux: Float[Tensor, "b l"] | Float[Tensor, "b l 1"],
        ivar: Float[Tensor, "b l"] | None = None,
        mask: Bool[Tensor, "b l"] | None = None,
        wavelength: Float[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b t d"]:
        """Embeddings of all tokens, of which the first is for mean and deviation, and the templates' comes last.

        Args:
            flux: in 1e-17 erg/s/cm2/A.
            ivar: inverse variance of `flux`; needed where `section.inputs` names it, else not looked at.
            mask: True where a pixel is not to be used; likewise, and where `section.grid` is native.
            wavelength: in Angstrom, 0 where a spectrum is padded; needed where `section.grid` is native.
        """
        return self.read(SpectrumInputs(flux, ivar, mask, wavelength))[0]

    def read(self, spectra: SpectrumInputs) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t"] | None]:
        """The embeddings that `forward` returns, and how much each token counts; None where all count alike."""
        flux, ivar, mask, wavelength = spectra
        weight = self.weight(flux, mask, wavelength)
        pieces = self.pieces(weight, wavelength)
        found = self.encode(self.tokens(flux, weight), self.context(flux, ivar, mask, weight), pieces=pieces)
        return found, None if pieces is None else pieces.share

    def weight(
        self, flux: Tensor, mask: Bool[Tensor, "b l"] | None, wavelength: Float[Tensor, "b l"] | None
    ) -> Float[Tensor, "b l"] | None:
        """How much each pixel counts on a grid of its own, 0 where masked; None where all count alike, as published."""
        return pixel_weights(mask, wavelength, _flat(flux)) if self.section.grid == "native" else None

    def pieces(self, weight: Float[Tensor, "b l"] | None, wavelength: Float[Tensor, "b l"] | None) -> Pieces | None:
        """Finds where tokens lie, and how much each counts, on grids of their own; None where positions are learned."""
        if weight is None or wavelength is None:
            return None
        return pieces_of(self._pieces(wavelength.float()), self._pieces(weight))

    def tokens(
        self, flux: Float[Tensor, "b l"] | Float[Tensor, "b l 1"], weight: Float[Tensor, "b l"] | None = None
    ) -> Float[Tensor, "b t f"]:
        """The spectrum in pieces, float32: what `encode` takes, and what masked modelling reconstructs.

        Two zeros stand before the pixels of each piece. The first token holds (mean - 2) / 2 and (deviation - 2) / 8,
        then zeros. As published, the piece that would end with the spectrum is left out, whether it is whole or not.
        Pixels without a weight do not enter mean and deviation, and are zeros in their pieces.
        """
        flux = _flat(flux)
        templates = self.section.templates
        if templates is not None and flux.shape[1] != templates.pixels:
            raise UserError(f"spectra have {flux.shape[1]} pixels, the templates are for {templates.pixels}")
        deviation, mean = deviation_and_mean(flux, weight)
        pieces = functional.pad(self._pieces(standardised(flux, weight)[0]), (2, 0, 1, 0))
        # Written beside, not into, the padded tensor, so that this can be compiled and differentiated.
        first = functional.pad(torch.cat([(mean - 2) / 2, (deviation - 2) / 8], dim=1), (0, pieces.shape[2] - 2))
        return torch.cat([first[:, None], pieces[:, 1:]], dim=1)

    def context(
        self,
        flux: Tensor,
        ivar: Float[Tensor, "b l"] | None,
        mask: Bool[Tensor, "b l"] | None,
        weight: Float[Tensor, "b l"] | None = None,
    ) -> dict[str, Float[Tensor, "b t p"]]:
        """Maps each name in `section.inputs` to what tokens see besides the flux, in pieces; the first token sees
        zeros.

        The inverse variance becomes the logarithm of one plus the signal to noise of one deviation of the spectrum.
        """
        given = {"ivar": ivar, "mask": mask}
        if absent := [name for name in self.section.inputs if given[name] is None]:
            raise UserError(f"this spectrum encoder sees {absent[0]} too, and none was given")
        pieces: dict[str, Tensor] = {}
        for name in self.section.inputs:
            values = _flat(given[name])  # type: ignore[arg-type]
            if name == "ivar":
                values = torch.log1p(values.clamp(min=0).sqrt() * deviation_and_mean(_flat(flux), weight)[0])
                values = values if weight is None else torch.where(weight > 0, values, 0.0)
            pieces[name] = functional.pad(self._pieces(values), (0, 0, 1, 0))
        return pieces

    def encode(
        self,
        tokens: Float[Tensor, "b t f"],
        context: dict[str, Float[Tensor, "b t p"]] | None = None,
        hidden: Bool[Tensor, "b t"] | None = None,
        *,
        pieces: Pieces | None = None,
    ) -> Float[Tensor, "b t2 d"]:
        """Embeddings of tokens, masked or not, and of the templates' token where there is one.

        Args:
            tokens: of `tokens`, zero where hidden.
            context: of `context`.
            hidden: which tokens are, for the templates; none by default.
            pieces: of `pieces`, for grids of their own: tokens are attended to as much as they count.
        """
        count = tokens.shape[1]
        if pieces is None and count > self.section.max_length:
            raise UserError(
                f"the spectrum has {count} tokens, the model has positions for {self.section.max_length}",
                hint="shorten the spectrum, or train with model.spectrum.max_length of at least that",
            )
        if isinstance(self.data_embed, PieceConvolutions):
            embedded = self.data_embed(tokens, context or {})
        else:
            embedded = self.data_embed(tokens)
            for name, seen in (context or {}).items():
                embedded = embedded + self.get_submodule(f"{name}_embed")(seen)
        places = torch.arange(count, device=tokens.device) if pieces is None else pieces
        embedded = embedded + self.position_embed(places)
        if self.templates is not None:
            embedded = torch.cat([embedded, self.templates(*self._pixels(tokens, context or {}, hidden))], dim=1)
        embedded = self.dropout(embedded)
        for block in self.blocks:
            embedded = block(embedded) if pieces is None else block(embedded, pieces.share)
        return self.final_layernorm(embedded)  # type: ignore[no-any-return]

    def reconstruct(self, embedding: Float[Tensor, "b t2 d"]) -> Float[Tensor, "b t f"]:
        """Tokens from their embeddings: the last layer of masked modelling."""
        return self.head(embedding[:, : embedding.shape[1] - self.section.added_tokens])  # type: ignore[no-any-return]

    def template_error(
        self, tokens: Float[Tensor, "b t f"], context: dict[str, Float[Tensor, "b t p"]], hidden: Bool[Tensor, "b t"]
    ) -> Float[Tensor, ""]:
        """Returns the error of the templates about lines in hidden pieces, seeing the others; `tokens` hide nothing."""
        if self.templates is None:
            raise TypeError("this encoder has no templates")
        flux, weight = self._pixels(tokens, context, None)
        return self.templates.error(flux, weight, self._pixels(tokens, context, hidden)[1])

    def template_fit(
        self, flux: Float[Tensor, "b l"], ivar: Float[Tensor, "b l"] | None, mask: Bool[Tensor, "b l"] | None
    ) -> Fit:
        """Fits the templates to spectra of which nothing is hidden; arguments as in `forward`."""
        if self.templates is None:
            raise TypeError("this encoder has no templates")
        with torch.autocast(flux.device.type, enabled=False):
            pixels = self._pixels(self.tokens(flux), self.context(flux, ivar, mask), None)
            return self.templates.fit(self.templates.lines(*pixels))

    def _pieces(self, values: Shaped[Tensor, "b l"]) -> Shaped[Tensor, "b t p"]:
        length, step = self.section.section_length, self.section.section_step
        pixels = values.shape[1]
        count = token_count(self.section, pixels) - 1
        if count < 1:
            raise UserError(
                f"a spectrum of {pixels} pixels is too short for pieces of {length}: it needs "
                f"{fewest_pixels(self.section)}"
            )
        return values.unfold(1, length, step)[:, :count]

    def _pixels(
        self, tokens: Float[Tensor, "b t f"], context: dict[str, Tensor], hidden: Bool[Tensor, "b t"] | None
    ) -> tuple[Float[Tensor, "b l"], Float[Tensor, "b l"]]:
        """Pixels out of their pieces, and their inverse variances, 0 where masked or hidden: what templates see.

        A pixel counts as hidden with the last piece that begins at or before it, though another may still show it.
        """
        step = self.section.section_step
        weight = torch.expm1(context["ivar"][:, 1:, :step].clamp(max=20)).square()
        if "mask" in context:
            weight = weight * (context["mask"][:, 1:, :step] == 0)
        if hidden is not None:
            weight = weight * ~hidden[:, 1:, None]
        return tokens[:, 1:, 2 : 2 + step].flatten(1), weight.flatten(1)

    def _initialise(self) -> None:
        """Truncated normal weights, narrower the deeper the network."""
        linear = self.data_embed if isinstance(self.data_embed, nn.Linear) else self.data_embed.proj
        _fill(linear.weight, 1 / math.sqrt(self.section.embed_dim))
        if isinstance(self.position_embed, nn.Embedding):
            _fill(self.position_embed.weight, 1 / math.sqrt(self.section.embed_dim))
        for layer in (module for module in self.blocks.modules() if isinstance(module, nn.Linear)):
            _fill(layer.weight, 1 / math.sqrt(2 * layer.in_features * self.section.depth))
            nn.init.zeros_(layer.bias)
        _fill(self.head.weight, 1 / math.sqrt(self.head.in_features))
        nn.init.zeros_(self.head.bias)
        for name in self._added:
            nn.init.zeros_(self.get_submodule(f"{name}_embed").weight)  # type: ignore[arg-type]


class _Block(nn.Module):
    """Attention and a two-layer network, each on normalised tokens and added to them."""

    def __init__(self, section: SpectrumSection) -> None:
        super().__init__()
        width = section.embed_dim
        self.layernorm1 = nn.LayerNorm(width)
        self.attention = _SelfAttention(width, section.num_heads, section.dropout)
        self.layernorm2 = nn.LayerNorm(width)
        self.mlp = TwoLayers(width, 4 * width, section.dropout)

    def forward(
        self, tokens: Float[Tensor, "b t d"], share: Float[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b t d"]:
        tokens = tokens + self.attention(self.layernorm1(tokens), share)
        return tokens + self.mlp(self.layernorm2(tokens))  # type: ignore[no-any-return]


class _SelfAttention(nn.Module):
    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.rate = heads, dropout
        self.attention = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: Float[Tensor, "b t d"], share: Float[Tensor, "b t"] | None) -> Float[Tensor, "b t d"]:
        batch, count, width = tokens.shape
        parts = self.attention(tokens).view(batch, count, 3, self.heads, width // self.heads)
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        rate = self.rate if self.training else 0.0
        # The logarithm of a weight, added before the softmax, multiplies by it; that of 0 hides a token.
        seen = None if share is None else share.log().to(queries.dtype)[:, None, None, :]
        mixed = functional.scaled_dot_product_attention(queries, keys, values, attn_mask=seen, dropout_p=rate)
        return self.dropout(self.projection(mixed.transpose(1, 2).reshape(batch, count, width)))  # type: ignore[no-any-return]


class TwoLayers(nn.Module):
    """Linear, GELU, linear; the published names are `encoder` and `decoder`."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.encoder = nn.Linear(width, hidden)
        self.decoder = nn.Linear(hidden, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, values: Float[Tensor, "... d"]) -> Float[Tensor, "... d"]:
        """Each vector by itself, to one of the same width."""
        return self.dropout(self.decoder(functional.gelu(self.encoder(values))))  # type: ignore[no-any-return]


def token_count(section: SpectrumSection, pixels: int) -> int:
    """Tokens of a spectrum of so many pixels, the first one for mean and deviation included."""
    if section.grid == "native":
        # All whole pieces, so that padding adds none that are there.
        return max((pixels - section.section_length) // section.section_step + 1, 0) + 1
    # Pieces begin at every step below `pixels - overlap`; the last of them is left out.
    overlap = section.section_length - section.section_step
    return max(math.ceil((pixels - overlap) / section.section_step) - 1, 0) + 1


def fewest_pixels(section: SpectrumSection) -> int:
    """Pixels of the shortest spectrum of which there is a piece; the published encoder leaves out the last one."""
    return section.section_length + (section.grid != "native")


def standardised(
    flux: Float[Tensor, "b l"], weight: Float[Tensor, "b l"] | None = None
) -> tuple[Float[Tensor, "b l"], Float[Tensor, "b 1"]]:
    """Spectra as the encoder sees them, 0 without a weight, and the deviations that they were divided by."""
    deviation, mean = deviation_and_mean(flux, weight)
    standard = (flux - mean) / deviation
    return standard if weight is None else torch.where(weight > 0, standard, 0.0), deviation


def deviation_and_mean(
    flux: Float[Tensor, "b l"], weight: Float[Tensor, "b l"] | None = None
) -> tuple[Float[Tensor, "b 1"], Float[Tensor, "b 1"]]:
    """Standard deviation, which is not smaller than a floor, and mean of each spectrum; weighted where there is one."""
    if weight is None:
        deviation, mean = torch.std_mean(flux, dim=1, keepdim=True)
    else:
        deviation, mean = weighted_deviation_and_mean(flux, weight)
    return deviation.clamp(min=SMALLEST_DEVIATION), mean


def _flat(values: Tensor) -> Float[Tensor, "b l"]:
    """(B, L) float32 of (B, L) or (B, L, 1)."""
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.ndim != 2:
        raise UserError(f"spectra are {tuple(values.shape)}, (spectra, pixels) was expected")
    return values.float()


def _fill(weight: Tensor, deviation: float) -> None:
    nn.init.trunc_normal_(weight, std=deviation, a=-3 * deviation, b=3 * deviation)
