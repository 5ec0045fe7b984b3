"""The recipe sections of the networks: image encoder, spectrum encoder, heads. Pure pydantic, no torch."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt, model_validator

from polycli.astroclip.recipe.votes import VotesSection
from polycli.sections import MOST_BLOCKS, WIDEST, Section

Modality = Literal["image", "spectrum"]
#: In the order in which vectors stand beside each other.
MODALITIES: tuple[Modality, ...] = ("image", "spectrum")
#: Bands in the order in which stores have them; colours are made of them the other way round.
BANDS = ("g", "r", "z")
#: What an image encoder can see of a cutout, see `polycli.astroclip.data.rgb`.
ImageInput = Literal["rgb", "stein", "flux", "asinh"]
#: Those that make three colours of g, r and z.
COLOURS = ("rgb", "stein")
#: Pixels of a spectrum to each place of the convolutions' last map.
PIECE_STEP = 8
#: Quantiles of a posterior: the ends of intervals of 68, 90 and 95 %, quartiles, the median, and some between.
POSTERIOR_LEVELS = (0.025, 0.05, 0.1, 0.16, 0.25, 0.375, 0.5, 0.625, 0.75, 0.84, 0.9, 0.95, 0.975)


def sizes_near(size: int, patch_size: int) -> tuple[int, ...]:
    """The sizes next to `size` that whole patches fill, the lower one first.

    >>> sizes_near(64, 12)
    (60, 72)
    """
    below = size // patch_size * patch_size
    return tuple(found for found in (below, below + patch_size) if found > 0)


class ImageSection(Section):
    """The image encoder: a vision transformer as DINOv2 has it (Oquab et al. 2023), or a ResNet-50."""

    name: Literal["vit", "resnet50", "convnext"] = Field(
        "vit",
        description="resnet50 has no sizes but those of its name; convnext, a supervised baseline, has embed_dim, "
        "depth, layer_scale and drop_path",
    )
    size: PositiveInt = Field(144, description="pixels along one side of the model's input; cutouts are cropped to it")
    input: ImageInput = Field(
        "rgb",
        description="what is seen of nanomaggies: the colours of AstroCLIP and AstroDINO (rgb), those that the "
        "published ResNet-50 of Stein et al. 2021 was trained on (stein), or `bands` as they are (flux), or each "
        "stretched by itself (asinh)",
    )
    bands: tuple[str, ...] = Field(
        BANDS,
        min_length=1,
        description="by name, one plane of the input each for `input: flux` and `asinh`; stores may have more, in any "
        "order",
    )
    patch_size: PositiveInt = Field(12, description="pixels per token and axis")
    embed_dim: PositiveInt = Field(
        1024, le=WIDEST, description="width; 192, 384, 768, 1024 for tiny, small, base, large"
    )
    depth: PositiveInt = Field(24, le=MOST_BLOCKS, description="blocks; 12, 12, 12, 24 for tiny, small, base, large")
    num_heads: PositiveInt = Field(16, description="attention heads; 3, 6, 12, 16 for tiny, small, base, large")
    layer_scale: PositiveFloat = Field(
        1e-5, description="initial factor on every residual branch, as published; short runs learn faster from 0.1"
    )
    drop_path: NonNegativeFloat = Field(0.0, lt=1, description="stochastic depth of the last block; rises from 0")
    pool: Literal["class", "patches"] = Field(
        "class",
        description="what stands for the whole image before the heads: the class token, as published, or the mean of "
        "the patches, which tells images apart sooner in short trainings",
    )
    stem: Literal["linear", "convolution"] = Field(
        "linear",
        description="what makes tokens of pixels: one linear map, as published, or a few convolutions (Xiao et al. "
        "2021), which learn from fewer objects",
    )

    @model_validator(mode="after")
    def _divisible(self) -> ImageSection:
        if len(set(self.bands)) < len(self.bands):
            raise ValueError(f"bands {', '.join(self.bands)}: each band once was expected")
        if self.input in COLOURS and self.bands != BANDS:
            raise ValueError(
                f"input {self.input} makes colours of {', '.join(BANDS)}, and bands are {', '.join(self.bands)}: set "
                "input to asinh or flux"
            )
        if self.name == "vit" and self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}")
        if self.name == "vit" and self.size % self.patch_size:
            near = " and ".join(map(str, sizes_near(self.size, self.patch_size)))
            raise ValueError(
                f"size {self.size} is not divisible by patch_size {self.patch_size}; the nearest that are: {near}"
            )
        if self.name == "vit" and self.stem == "convolution" and self.patch_size == 1:
            raise ValueError("patch_size 1: convolutions need at least 2")
        return self

    @property
    def planes(self) -> int:
        """The number of planes of the encoder's input: colours, or bands."""
        return len(BANDS) if self.input in COLOURS else len(self.bands)

    @property
    def features(self) -> int:
        """Length of the pooled feature vector."""
        return 2048 if self.name == "resnet50" else self.embed_dim


class TemplateSection(Section):
    """Learned templates that are shifted along a spectrum until they fit, see `polycli.astroclip.model.templates`."""

    count: PositiveInt = Field(16, description="templates")
    highest_redshift: PositiveFloat = Field(
        0.65, le=20, description="redshifts from 0 to so much are told apart; a constant in all of them is free"
    )
    log_step: PositiveFloat = Field(
        1e-3, le=5e-3, description="size of a pixel in the logarithm of the wavelength; 0.001 is 300 km/s"
    )
    first: PositiveFloat = Field(3600.0, description="wavelength of the stores' first pixel, Angstrom")
    last: PositiveFloat = Field(9824.0, allow_inf_nan=False, description="likewise of the last")
    step: PositiveFloat = Field(0.8, description="from pixel to pixel, Angstrom")

    @model_validator(mode="after")
    def _sound(self) -> TemplateSection:
        if self.last - self.first < self.step:
            raise ValueError(f"templates: from first {self.first:g} to last {self.last:g} is less than a step")
        if self.log_step < self.step / self.first:
            raise ValueError(
                f"templates: log_step {self.log_step:g} is finer than the first pixel, {self.step / self.first:.2g}"
            )
        return self

    @property
    def pixels(self) -> int:
        """The number of pixels of a spectrum."""
        return round((self.last - self.first) / self.step) + 1

    @property
    def bins(self) -> int:
        """Logarithmic pixels of a spectrum."""
        return math.ceil(math.log((self.last + self.step) / self.first) / self.log_step)

    @property
    def shifts(self) -> int:
        """Logarithmic pixels by which templates are shifted at most."""
        return math.ceil(math.log1p(self.highest_redshift) / self.log_step)


class SpectrumSection(Section):
    """The spectrum encoder, SpecFormer (Parker et al. 2024, section 4.2), or convolutions and attention."""

    name: Literal["specformer", "conv_attention"] = Field(
        "specformer",
        description="conv_attention, a supervised baseline (Melchior et al. 2023), has embed_dim, inputs and dropout",
    )
    embed_dim: PositiveInt = Field(768, le=WIDEST, description="width")
    depth: PositiveInt = Field(6, le=MOST_BLOCKS, description="blocks")
    num_heads: PositiveInt = Field(6, description="attention heads")
    section_length: PositiveInt = Field(20, le=WIDEST, description="pixels per token")
    section_step: PositiveInt = Field(10, description="pixels from the start of one token to that of the next")
    grid: Literal["trained", "native"] = Field(
        "trained",
        description="trained: all spectra are on the wavelengths of the training, as published; native: spectra on "
        "any grid, of which each token carries its wavelength and width in place of a learned position",
    )
    max_length: PositiveInt = Field(800, description="most tokens that there are positions for; native has no limit")
    dropout: NonNegativeFloat = Field(0.0, lt=1)
    inputs: tuple[Literal["ivar", "mask"], ...] = Field(
        (), description="what the tokens see besides the flux; the added weights of a linear stem start at zero, so"
        " that training starts from the published model"
    )  # fmt: skip
    stem: Literal["linear", "convolution"] = Field(
        "linear",
        description="what makes tokens of pixels: one linear map, as published, or a few convolutions (Xiao et al. "
        "2021), which learn from fewer objects",
    )
    templates: TemplateSection | None = Field(
        None,
        description="one more token, from learned templates that are shifted until they fit (Tonry & Davis 1979); "
        "masked modelling trains them, and finds redshifts with them in a few thousand spectra; published: none",
    )

    @model_validator(mode="after")
    def _sound(self) -> SpectrumSection:
        if self.name == "conv_attention":
            if self.templates is not None:
                raise ValueError("templates are of specformer, and name is conv_attention")
            if self.grid == "native":
                raise ValueError("grid native is of specformer, and name is conv_attention")
            if len(set(self.inputs)) != len(self.inputs):
                raise ValueError("inputs names one input twice")
            return self
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}")
        if self.section_step > self.section_length:
            raise ValueError(f"section_step {self.section_step} is longer than section_length {self.section_length}")
        if len(set(self.inputs)) != len(self.inputs):
            raise ValueError("inputs names one input twice")
        if self.stem == "convolution" and self.section_length % PIECE_STEP:
            raise ValueError(f"section_length {self.section_length}: convolutions need a multiple of {PIECE_STEP}")
        if self.grid == "native" and self.section_length < 2:
            raise ValueError("grid native needs a section_length of 2 at least: one pixel has no width")
        if self.templates is not None and "ivar" not in self.inputs:
            raise ValueError("templates weigh pixels by their inverse variance: inputs must name ivar")
        if self.templates is not None and self.grid == "native":
            raise ValueError("templates are for one grid of wavelengths, and grid is native: set templates to null")
        return self

    @property
    def added_tokens(self) -> int:
        """Tokens behind those of mean and deviation and of the pieces."""
        return 0 if self.templates is None else 1

    @property
    def token_features(self) -> int:
        """Numbers per token: two for mean and deviation, then the pixels."""
        return self.section_length + 2


class HeadSection(Section):
    """The heads that map the encoders' outputs into the common space.

    MNRAS version (Parker et al. 2024): cross-attention of a learned query over the tokens, for both, 1024 numbers.
    Workshop version (Lanusse et al. 2023): two linear layers on the image's pooled features, 128 numbers.
    """

    embed_dim: PositiveInt = Field(1024, le=WIDEST, description="length of the vectors; 1024 (MNRAS) or 128 (workshop)")
    num_heads: PositiveInt = Field(4, description="of the cross-attention")
    dropout: NonNegativeFloat = Field(0.1, lt=1)
    image: Literal["cross_attention", "mlp"] = Field("cross_attention", description="mlp in the workshop version")
    image_tokens: Literal["patches", "all"] = Field(
        "patches",
        description="of a ViT: patches alone and without their positions, as published, or all with positions",
    )
    image_residual: bool = Field(
        False, description="add the image head's last layers to their input, as the spectrum head does; published: no"
    )

    @model_validator(mode="after")
    def _divisible(self) -> HeadSection:
        if self.embed_dim % self.num_heads:
            raise ValueError(f"embed_dim {self.embed_dim} is not divisible by num_heads {self.num_heads}")
        return self


class PropertySection(Section):
    """A small network from embeddings to properties; what `finetune` trains."""

    modalities: tuple[Modality, ...] = Field(
        MODALITIES, min_length=1, description="whose embeddings it sees, one behind the other"
    )
    hidden: tuple[PositiveInt, ...] = Field((64, 64), description="widths of its hidden layers; () is a linear head")
    dropout: NonNegativeFloat = Field(0.1, lt=1)
    regression: tuple[str, ...] = Field((), description="columns predicted as numbers, such as redshift and logm")
    classification: dict[str, tuple[str, ...]] = Field(
        {}, description="columns predicted as classes, and the classes; those of the training rows where empty"
    )
    posterior: Literal["none", "quantiles", "flow"] = Field(
        "none",
        description="what is learnt of a number: its mean (none), quantiles that cannot cross (pinball loss), or a "
        "conditional flow (needs polycli[flows])",
    )
    quantiles: tuple[float, ...] = Field(
        (),
        description="which quantiles; those of 68, 90 and 95 % intervals and some between, if empty, where posterior "
        "is not none. With none, quantiles that are sorted afterwards, as in earlier versions",
    )
    flow_bins: PositiveInt = Field(8, le=64, description="of a flow: bins of its splines")
    source: Literal["embedding", "backbone"] = Field(
        "embedding", description="what is seen: the aligned vectors, or the encoders' features before the heads"
    )
    votes: VotesSection | None = Field(
        None, description="questions of volunteers whose votes are learnt: votes.tree names them, or own ones"
    )

    @model_validator(mode="after")
    def _sound(self) -> PropertySection:
        if not self.regression and not self.classification and self.votes is None:
            raise ValueError("regression, classification and votes are all empty: nothing to predict")
        if self.posterior != "none" and not self.quantiles:
            # Spelled out in the recipe of the run and in model.json, so that a checkpoint says which ones it has.
            object.__setattr__(self, "quantiles", POSTERIOR_LEVELS)
        if any(not 0 < quantile < 1 for quantile in self.quantiles) or list(self.quantiles) != sorted(self.quantiles):
            raise ValueError("quantiles lie between 0 and 1 and rise")
        if len(set(self.quantiles)) < len(self.quantiles):
            raise ValueError("quantiles names one level twice")
        if self.posterior != "none" and not self.regression:
            raise ValueError(f"posterior {self.posterior} is of numbers, and regression names none")
        if self.posterior != "none" and len(self.quantiles) < 2:
            raise ValueError(f"posterior {self.posterior} needs two quantiles at least")
        if both := sorted(set(self.regression) & set(self.classification)):
            raise ValueError(f"{both[0]} stands under regression and under classification")
        if self.votes is not None:
            columns = {*self.regression, *self.classification}
            if both := sorted(columns & {*self.votes.questions, *self.votes.columns}):
                raise ValueError(f"{both[0]} stands under votes and under regression or classification")
            if both := sorted(columns & self.votes.predicted_names()):
                raise ValueError(f"{both[0]} of regression or classification is what predict calls a column of votes")
        return self


class AugmentationSection(Section):
    """Differences between two views of a cutout, and changes to spectra in stage `align` and in `finetune`.

    Probabilities are those that the papers state. The published AstroDINO code takes one minus them, so that its first
    view is never blurred or made noisier.
    """

    flip: float = Field(0.5, ge=0, le=1, description="probability of mirroring, for each axis by itself")
    rotation: Literal["none", "quarter", "free"] = Field(
        "quarter", description="by multiples of 90 degrees, or by any angle (bilinear, which smooths the noise)"
    )
    crop: Literal["random", "centre"] = "random"
    blur: tuple[float, ...] = Field((1.0, 0.1), min_length=1, description="probability of worse seeing, by view")
    noise: tuple[float, ...] = Field((1.0, 0.1), min_length=1, description="probability of more noise, by view")
    spectrum_noise: NonNegativeFloat = Field(
        0.0,
        description="noise added to spectra, in deviations of what they have: 1 doubles the variance; published: none",
    )
    spectrum_scale: NonNegativeFloat = Field(
        0.0,
        description="deviation, in dex, of a factor on every spectrum; how bright an object is, which image and "
        "spectrum share, then tells less of which belong together; published: none",
    )
    spectrum_gaps: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="probability of each of 24 stretches of a spectrum to be missing from its second view, which "
        "align.within_spectrum makes",
    )

    @model_validator(mode="after")
    def _probabilities(self) -> AugmentationSection:
        if any(not 0 <= value <= 1 for value in (*self.blur, *self.noise)):
            raise ValueError("blur and noise are probabilities, from 0 to 1")
        return self


class ModelSection(Section):
    """An image encoder, a spectrum encoder, or both; with heads they are aligned, with properties finetuned."""

    image: ImageSection | None = None
    spectrum: SpectrumSection | None = None
    heads: HeadSection | None = None
    properties: PropertySection | None = None

    @model_validator(mode="after")
    def _sound(self) -> ModelSection:
        # Both are absent where checkpoints say what they are: `init` of the align stage, and finetuning.
        if self.properties is not None and (self.image is not None or self.spectrum is not None):
            missing = [name for name in self.properties.modalities if getattr(self, name) is None]
            if missing:
                raise ValueError(f"properties.modalities names {missing[0]}, and there is no {missing[0]} encoder")
        return self
