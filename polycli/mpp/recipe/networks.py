"""The networks that a recipe can choose with `model.kind`, besides the axial transformer that MPP itself is.

Each section is read from the recipe and stored in model.json, so that a checkpoint says which network it holds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Self

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from polycli.mpp.recipe.physics import PUBLISHED_FIELDS
from polycli.sections import MOST_BLOCKS, WIDEST, Section

#: What `model.kind` may be.
KINDS = ("avit", "fno", "unet", "vit")
#: Errors of pydantic name the member of a union that they arose in; a recipe has no such key, and its messages leave
#: out what begins so.
KIND_TAG = "kind:"


class NetworkSection(Section):
    """The keys that all networks have: which fields are known, and what is predicted of them."""

    kind: str
    fields: tuple[str, ...] = Field(PUBLISHED_FIELDS, description="the states that the model knows, by name")
    predicts: Literal["state", "change"] = Field(
        "state", description="the next state, as published, or the change to it"
    )

    @property
    def told(self) -> tuple[str, ...]:
        """The names of the numbers that the network is told of each sample beside its frames."""
        return ()

    def for_history(self, history: int) -> Self:
        """The section of a network that is trained on so many frames of context.

        Raises:
            ValueError: it cannot be.
        """
        self.check_history(history)
        return self

    def check_history(self, history: int) -> None:
        """Refuse a number of context frames that the network cannot take.

        Raises:
            ValueError: with the sentence that says why.
        """


class LaggedSection(NetworkSection):
    """A network that has weights of its own for each frame of the context."""

    history: PositiveInt | None = Field(
        None, description="most frames that it can see; data.history if absent, and fewer are allowed later"
    )

    def for_history(self, history: int) -> Self:
        """The section with `history` in it, where the recipe leaves it open."""
        self.check_history(history)
        return self if self.history is not None else self.model_copy(update={"history": history})

    def check_history(self, history: int) -> None:
        """Refuse more frames than the network has weights for."""
        if self.history is not None and history > self.history:
            raise ValueError(f"a context of {history} frames; this network has weights for {self.history} at most")


class FnoSection(LaggedSection):
    """The Fourier neural operator (Li et al. 2021), with the blocks that the neuraloperator package has."""

    kind: Literal["fno"]
    width: PositiveInt = Field(64, le=WIDEST, description="channels of the hidden fields")
    modes: PositiveInt = Field(
        12, le=2**12, description="highest wavenumber kept along each axis; neuraloperator's n_modes is twice as many"
    )
    blocks: PositiveInt = Field(4, le=MOST_BLOCKS, description="Fourier layers")
    positions: bool = Field(True, description="tell it where each point lies: two channels, x and y from 0 to 1")
    domain_padding: NonNegativeFloat = Field(
        0.125, le=1, description="axes that are not periodic are lengthened at both ends by this share of their points"
    )


class UnetSection(LaggedSection):
    """A U-Net of ConvNeXt blocks, as The Well's baseline CNextU-net is described (Ohana et al. 2024)."""

    kind: Literal["unet"]
    width: PositiveInt = Field(
        42, le=WIDEST, description="channels at full resolution; each stage below has twice more"
    )
    stages: PositiveInt = Field(4, le=10, description="how often the resolution is halved")
    blocks_per_stage: PositiveInt = Field(2, le=MOST_BLOCKS, description="ConvNeXt blocks at each resolution")
    kernel_size: Literal[3, 5, 7, 9] = Field(7, description="points of the depthwise convolutions along both axes")
    layer_scale: PositiveFloat = Field(
        1e-6, description="initial factor on every residual branch, as published; short runs learn faster from 0.1"
    )


class VitSection(NetworkSection):
    """A video transformer with an encoder and a decoder, as VideoMAE (Tong et al. 2022): tokens are short tubes."""

    kind: Literal["vit"]
    embed_dim: PositiveInt = Field(le=WIDEST, description="width of the encoder; 384, 768, 1024 for S, B, L")
    num_heads: PositiveInt = Field(description="attention heads of the encoder; 6, 12, 16 for S, B, L")
    blocks: PositiveInt = Field(le=MOST_BLOCKS, description="blocks of the encoder; 12, 12, 24 for S, B, L")
    decoder_dim: PositiveInt = Field(le=WIDEST, description="width of the decoder; half of the encoder's as published")
    decoder_heads: PositiveInt = Field(description="attention heads of the decoder")
    decoder_blocks: PositiveInt = Field(4, le=MOST_BLOCKS, description="blocks of the decoder")
    mlp_ratio: PositiveInt = Field(4, le=64, description="width of the MLPs over that of their tokens")
    patch_size: PositiveInt = Field(16, le=256, description="points per token and axis")
    tubelet: PositiveInt = Field(2, le=64, description="frames per token; data.history is a multiple of it")
    position_grid: tuple[PositiveInt, PositiveInt, PositiveInt] = Field(
        (8, 14, 14),
        description="tokens along time, H and W that positions are numbered in, as published; larger data widen it",
    )

    @model_validator(mode="after")
    def _divisible(self) -> VitSection:
        for width, heads, whose in (
            (self.embed_dim, self.num_heads, "embed_dim"),
            (self.decoder_dim, self.decoder_heads, "decoder_dim"),
        ):
            if width % heads or width % 2:
                raise ValueError(f"{whose} {width} is not divisible by its {heads} heads and by 2")
        return self

    def check_history(self, history: int) -> None:
        """Refuse a context that is not made of whole tubes."""
        if history % self.tubelet:
            raise ValueError(f"a context of {history} frames; this network's tubes are {self.tubelet} frames long")


def kind_of(section: Any) -> str:  # noqa: ANN401  # A section, or what a recipe has in its place.
    """The tag of the network that a model section asks for: `kind:avit` where it does not say."""
    if isinstance(section, Mapping):
        return f"{KIND_TAG}{section.get('kind', KINDS[0])}"
    return f"{KIND_TAG}{getattr(section, 'kind', KINDS[0])}"
