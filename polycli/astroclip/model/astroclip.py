"""The network: an image encoder and a spectrum encoder, each with a head into one common space where they are aligned.

It says nothing about how it is trained. The names in its state dict are those of the published AstroCLIP checkpoint; a
model of one modality has the names of that half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, TypeAlias

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polycli.astroclip.data.rgb import model_input
from polycli.astroclip.model.conv_attention import ConvAttention
from polycli.astroclip.model.convnext import ConvNeXt
from polycli.astroclip.model.heads import CrossAttention, MlpHead, PropertyHead, last_layers
from polycli.astroclip.model.resnet import ResNet50
from polycli.astroclip.model.specformer import SpecFormer
from polycli.astroclip.model.spectrum_inputs import SpectrumInputs
from polycli.astroclip.model.vision_transformer import VisionTransformer
from polycli.astroclip.recipe.model import BANDS, HeadSection, ImageSection, ModelSection, SpectrumSection
from polycli.errors import CheckpointError

#: What not every encoder looks at: inverse variances, masks and wavelengths, (b, l) each.
Given: TypeAlias = Tensor | None


class ImageEncoder(nn.Module):
    """Encodes images, as model input, as one vector each."""

    def __init__(self, section: ImageSection, heads: HeadSection | None) -> None:
        super().__init__()
        self.heads = heads
        self.backbone = image_backbone(section)
        self.cross_attention: CrossAttention | None = None
        self.mlp: nn.Module | None = None
        if heads is not None and heads.image == "mlp":
            self.mlp = MlpHead(section.features, heads.embed_dim)
        elif heads is not None:
            self.cross_attention, self.mlp = CrossAttention(heads, section.features), last_layers(heads)

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b e"]:
        """The head's vector; the backbone's features where there is no head."""
        if self.heads is None or self.mlp is None:
            return self.features(rgb)
        if self.cross_attention is None:
            return self.mlp(self.backbone.pooled(rgb))  # type: ignore[no-any-return]
        gathered = self.cross_attention(self.tokens(rgb))
        # As published, the image's last layers are not added to their input, and the spectrum's are.
        return gathered + self.mlp(gathered) if self.heads.image_residual else self.mlp(gathered)  # type: ignore[no-any-return]

    def features(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The backbone's pooled features: a ViT's class token, a ResNet's mean."""
        return self.backbone.pooled(rgb)

    def tokens(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t d"]:
        """Returns the tokens that the cross-attention sees."""
        whole = self.heads is None or self.heads.image_tokens == "all"
        if not isinstance(self.backbone, VisionTransformer) or whole:
            return self.backbone(rgb)  # type: ignore[no-any-return]
        return self.backbone(rgb, whole=False, positions=False)  # type: ignore[no-any-return]

    def attention(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h t"]:
        """The query's weights on the tokens of each image; only with a cross-attention head."""
        if self.cross_attention is None:
            raise CheckpointError("this image encoder has no cross-attention, so there are no attention weights")
        return self.cross_attention.attention(self.tokens(rgb))


def image_backbone(section: ImageSection) -> VisionTransformer | ResNet50 | ConvNeXt:
    """Builds the network that a section names."""
    if section.name == "vit":
        return VisionTransformer(section)
    return ResNet50(section) if section.name == "resnet50" else ConvNeXt(section)


class SpectrumEncoder(nn.Module):
    """Encodes spectra as one vector each."""

    def __init__(self, section: SpectrumSection, heads: HeadSection | None) -> None:
        super().__init__()
        self.backbone: SpecFormer | ConvAttention = (
            SpecFormer(section) if section.name == "specformer" else ConvAttention(section)
        )
        self.cross_attention: CrossAttention | None = None
        self.mlp: nn.Module | None = None
        if heads is not None:
            self.cross_attention, self.mlp = CrossAttention(heads, section.embed_dim), last_layers(heads)

    def forward(self, spectra: SpectrumInputs) -> Float[Tensor, "b e"]:
        """The head's vector; the backbone's features where there is no head."""
        if self.cross_attention is None or self.mlp is None:
            return self.features(spectra)
        gathered = self.cross_attention(*self._tokens(spectra))
        return gathered + self.mlp(gathered)  # type: ignore[no-any-return]

    def features(self, spectra: SpectrumInputs) -> Float[Tensor, "b d"]:
        """The backbone's features: of SpecFormer the mean over all tokens, as the papers' baseline has it."""
        if isinstance(self.backbone, ConvAttention):
            return self.backbone.pooled(spectra.flux, spectra.ivar, spectra.mask)
        tokens, share = self._tokens(spectra)
        if share is None:
            return tokens.mean(dim=1)
        return (tokens * share[:, :, None]).sum(dim=1) / share.sum(dim=1, keepdim=True)

    @property
    def specformer(self) -> SpecFormer:
        """The backbone, where it reconstructs spectra; raises `CheckpointError` where it is another network."""
        if not isinstance(self.backbone, SpecFormer):
            raise CheckpointError(f"a spectrum encoder {self.backbone.section.name} reconstructs no spectra")
        return self.backbone

    def attention(self, spectra: SpectrumInputs) -> Float[Tensor, "b h t"]:
        """The query's weights on the tokens of each spectrum; only with a head."""
        if self.cross_attention is None:
            raise CheckpointError("this spectrum encoder has no cross-attention, so there are no attention weights")
        return self.cross_attention.attention(*self._tokens(spectra))

    def _tokens(self, spectra: SpectrumInputs) -> tuple[Float[Tensor, "b t d"], Float[Tensor, "b t"] | None]:
        """The backbone's tokens, and how much each of them counts; None where all count alike."""
        if isinstance(self.backbone, ConvAttention):
            return self.backbone(spectra.flux, spectra.ivar, spectra.mask), None
        return self.backbone.read(spectra)


class AstroClip(nn.Module):
    """Galaxies as vectors, from their images, from their spectra, or from either.

    Attributes:
        section: the recipe section that it was built from.
        image_encoder, spectrum_encoder: None where the model has none.
        properties: predicts properties from the vectors; None where the model was not finetuned.
    """

    def __init__(self, section: ModelSection) -> None:
        super().__init__()
        self.section = section
        self.image_encoder = None if section.image is None else ImageEncoder(section.image, section.heads)
        self.spectrum_encoder = None if section.spectrum is None else SpectrumEncoder(section.spectrum, section.heads)
        self.properties = None
        if section.properties is not None:
            inputs = sum(self.width(name, section.properties.source) for name in section.properties.modalities)
            self.properties = PropertyHead(section.properties, inputs)

    def image_input(self, flux: Float[Tensor, "b c h w"], bands: Sequence[str] = BANDS) -> Float[Tensor, "b p s s"]:
        """Crops cutouts in nanomaggies to the image encoder's input, in the colours or bands that it was trained on.

        Raises:
            CheckpointError: the model has no image encoder.
            UserError: the planes are not `bands`, or the cutouts are smaller than the input.
        """
        section = self._image().backbone.section
        return model_input(flux, section.size, bands, section.input, section.bands)

    def embed_image(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b e"]:
        """Vectors of images, not normalised.

        Args:
            rgb: model input; `image_input` makes it from nanomaggies.

        Raises:
            CheckpointError: the model has no image encoder.
        """
        return self._image()(rgb)  # type: ignore[no-any-return]

    def embed_spectrum(
        self,
        flux: Float[Tensor, "b l"],
        ivar: Float[Tensor, "b l"] | None = None,
        mask: Bool[Tensor, "b l"] | None = None,
        wavelength: Float[Tensor, "b l"] | None = None,
    ) -> Float[Tensor, "b e"]:
        """Vectors of spectra, not normalised.

        Args:
            flux: 1e-17 erg/s/cm2/A on the wavelengths that the model was trained on.
            ivar: its inverse variance, for models that see it.
            mask: True where a pixel is not to be used, for models that see it.
            wavelength: Angstrom, 0 where a spectrum is padded, for models that read any grid (`grid: native`).

        Raises:
            CheckpointError: the model has no spectrum encoder.
        """
        return self._spectrum()(SpectrumInputs(flux, ivar, mask, wavelength))  # type: ignore[no-any-return]

    def image_features(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The image backbone's pooled features, before the head."""
        return self._image().features(rgb)

    def spectrum_features(self, spectra: SpectrumInputs) -> Float[Tensor, "b d"]:
        """The spectrum backbone's mean token, before the head."""
        return self._spectrum().features(spectra)

    def image_attention(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b h t"]:
        """Returns the weight that each head of the query gives to each token of each image."""
        return self._image().attention(rgb)

    def spectrum_attention(self, spectra: SpectrumInputs) -> Float[Tensor, "b h t"]:
        """Returns the weight that each head of the query gives to each token of each spectrum."""
        return self._spectrum().attention(spectra)

    def spectrum_templates(
        self, flux: Float[Tensor, "b l"], ivar: Given = None, mask: Given = None
    ) -> Float[Tensor, "b n"]:
        """Returns how templates fit each spectrum: the likeliest shift, log(1 + z) but for a constant, then the numbers
        that their token is made of.

        Raises:
            CheckpointError: the spectrum encoder has no templates.
        """
        backbone = self._spectrum().specformer
        if backbone.templates is None:
            raise CheckpointError("this spectrum encoder has no templates")
        fit = backbone.template_fit(flux, ivar, mask)
        return torch.cat([backbone.templates.log_redshifts(fit)[:, None], backbone.templates.numbers(fit)], dim=1)

    @property
    def has_templates(self) -> bool:
        """Whether the spectrum encoder has templates."""
        return self.section.spectrum is not None and self.section.spectrum.templates is not None

    def property_head(self) -> PropertyHead:
        """Returns the head that predicts properties from vectors; raises `CheckpointError` where there is none."""
        if self.properties is None:
            raise CheckpointError(
                "this model embeds and predicts no properties", hint="polycli finetune astroclip adds a head to it"
            )
        return self.properties

    def property_input(
        self, rgb: Float[Tensor, "b 3 h w"] | None = None, spectra: SpectrumInputs | None = None
    ) -> Float[Tensor, "b d"]:
        """Concatenates the vectors of the property head's modalities, which is its input."""
        return torch.cat(list(self.property_parts(rgb, spectra).values()), dim=1)

    def property_parts(
        self, rgb: Float[Tensor, "b 3 h w"] | None = None, spectra: SpectrumInputs | None = None
    ) -> dict[str, Float[Tensor, "b d"]]:
        """The vectors of the property head's modalities, by name, in their order.

        They are those of `embed_image` and `embed_spectrum` unless the head looks at the backbones' features.
        """
        section = self.property_head().section
        plain = section.source == "backbone"
        parts: dict[str, Tensor] = {}
        for name in section.modalities:
            if (rgb if name == "image" else spectra) is None:
                raise CheckpointError(f"this model predicts properties from its {name} encoder too: no {name} given")
            if name == "image":
                parts[name] = self.image_features(rgb) if plain else self.embed_image(rgb)  # type: ignore[arg-type]
            else:
                parts[name] = self.spectrum_features(spectra) if plain else self.embed_spectrum(*spectra)  # type: ignore[arg-type,misc]
        return parts

    def predict_properties(
        self,
        rgb: Float[Tensor, "b 3 h w"] | None = None,
        flux: Float[Tensor, "b l"] | None = None,
        ivar: Tensor | None = None,
        mask: Tensor | None = None,
        wavelength: Tensor | None = None,
        *,
        levels: Float[Tensor, "*b q"] | None = None,
    ) -> dict[str, Float[Tensor, "b q"]]:
        """Maps each column to its value, or one per quantile, in its own unit; classes to probabilities.

        Questions of volunteers map to the Dirichlet concentrations of their answers.

        `levels`: quantiles that are asked for instead of the head's own, which a flow alone can give.

        Raises:
            CheckpointError: the model was not finetuned, or what it looks at is missing.
        """
        spectra = None if flux is None else SpectrumInputs(flux, ivar, mask, wavelength)
        return self.properties_of(self.property_parts(rgb, spectra), levels=levels)

    def properties_of(
        self, parts: dict[str, Float[Tensor, "b d"]], *, levels: Float[Tensor, "*b q"] | None = None
    ) -> dict[str, Float[Tensor, "b q"]]:
        """Returns what `predict_properties` does, for vectors that `property_parts` gave."""
        head = self.property_head()
        outputs = head(torch.cat(list(parts.values()), dim=1))
        numbers = head.in_units(outputs.numbers, levels)
        found = {name: numbers[:, index] for index, name in enumerate(head.section.regression)}
        classes = zip(head.section.classification, outputs.classes, strict=True)
        found |= {name: score.softmax(dim=1) for name, score in classes}
        if head.section.votes is not None and outputs.votes is not None:
            found |= {name: outputs.votes[:, answers] for name, answers in head.section.votes.slices().items()}
        return found

    def blocks(self) -> list[nn.Module]:
        """The parts that repeat in the backbones."""
        return [block for encoder in self._encoders() for block in encoder.backbone.blocks]

    def width(self, modality: str, source: str = "embedding") -> int:
        """Length of a modality's vectors (`embedding`), or of its features before the head (`backbone`)."""
        if source == "embedding" and self.section.heads is not None:
            return self.section.heads.embed_dim
        if modality == "image":
            return 0 if self.section.image is None else self.section.image.features
        return 0 if self.section.spectrum is None else self.section.spectrum.embed_dim

    def _encoders(self) -> list[ImageEncoder | SpectrumEncoder]:
        return [encoder for encoder in (self.image_encoder, self.spectrum_encoder) if encoder is not None]

    def _image(self) -> ImageEncoder:
        if self.image_encoder is None:
            _refuse("spectra", "image")
        return self.image_encoder

    def _spectrum(self) -> SpectrumEncoder:
        if self.spectrum_encoder is None:
            _refuse("images", "spectrum")
        return self.spectrum_encoder


def _refuse(has: str, wanted: str) -> NoReturn:
    raise CheckpointError(
        f"this is a checkpoint for {has} alone: it has no {wanted} encoder",
        hint=f"give a checkpoint of the {wanted} stage, or one of the align stage, which has both",
    )


def parameter_count(section: ModelSection) -> int:
    """Counts the parameters of such a model without allocating them."""
    from polycli.nn.skeleton import skeleton

    with skeleton():
        return sum(parameter.numel() for parameter in AstroClip(section).parameters())
