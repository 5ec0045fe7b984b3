"""The losses of the stages: modules that take a batch and give its loss and metrics.

A batch holds `image` (B, C, H, W) in nanomaggies, `flux`, `ivar`, `mask` and `wavelength` (B, L), as needed, `keys`
(B,) from which everything random about an object is drawn, and `place` (2,): which of how many micro-batches of the
step this is. In eval mode the metrics hold what `validation` compares over all validation objects.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from polycli.astroclip.data.augmentations import augmented_spectrum, augmented_view
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.masking import chunk_mask, hide, masked_error
from polycli.astroclip.model.specformer import SpecFormer
from polycli.astroclip.model.spectrum_inputs import SpectrumInputs
from polycli.astroclip.model.stems import signal_share
from polycli.astroclip.model.vision_transformer import VisionTransformer
from polycli.astroclip.model.votes import vote_losses
from polycli.astroclip.recipe.model import AugmentationSection
from polycli.astroclip.recipe.training import AlignSection, MaskingSection
from polycli.astroclip.training.contrastive import info_nce
from polycli.engine.task import Batch

Outcome = tuple[Float[Tensor, ""], dict[str, Tensor]]


class Objective(nn.Module):
    """A network with a loss; `.network` is what is exported."""

    def __init__(self, network: AstroClip) -> None:
        super().__init__()
        self.network = network


class MaskedModelling(Objective):
    """Stage `spectrum`: reconstruct the tokens that were hidden."""

    def __init__(self, network: AstroClip, section: MaskingSection) -> None:
        super().__init__(network)
        self.section = section

    def forward(self, batch: Batch) -> Outcome:
        """The mean squared error over all that was hidden; with templates, what they say of it counts as well."""
        if self.network.spectrum_encoder is None:
            raise TypeError("masked modelling needs a spectrum encoder")
        backbone = self.network.spectrum_encoder.specformer
        with torch.autocast(batch["flux"].device.type, enabled=False):
            weight = backbone.weight(batch["flux"], batch.get("mask"), batch.get("wavelength"))
            tokens = backbone.tokens(batch["flux"], weight)
            context = backbone.context(batch["flux"], batch.get("ivar"), batch.get("mask"), weight)
            pieces = backbone.pieces(weight, batch.get("wavelength"))
        hidden = chunk_mask(
            batch["keys"],
            tokens.shape[1],
            chunks=self.section.chunks,
            chunk_length=self.section.chunk_length,
            there=None if pieces is None else pieces.share > 0,
        )
        masked = hide(tokens, hidden)
        reconstruction = backbone.reconstruct(backbone.encode(masked, context, hidden, pieces=pieces))
        counts = None
        if self.section.weight == "ivar":
            # No pixels stand for the first two numbers of a token, nor for the first token: they do not count.
            counts = functional.pad(signal_share(context["ivar"]), (2, 0))
        error = masked_error(reconstruction, tokens, masked, counts)
        if backbone.templates is None:
            return error, {}
        by_templates = backbone.template_error(tokens, context, hidden)
        metrics = {"pieces": error.detach(), "templates": by_templates.detach()} if self.training else {}
        return error + by_templates, metrics


class Alignment(Objective):
    """Stage `align`: find the spectrum of an image, and the image of a spectrum, among those of all ranks.

    Objects are embedded `chunk_size` at a time and, where that is not all at once, again in the backward pass. The
    gradient is that of the whole batch (Gao et al. 2021), the memory that of one chunk. With weights `within_*`, a
    second view of an image finds its first one likewise, and a spectrum's its own (Mu et al. 2022).
    """

    def __init__(
        self,
        network: AstroClip,
        section: AlignSection,
        augmentation: AugmentationSection,
        *,
        bands: Sequence[str],
        chunk_size: int,
    ) -> None:
        super().__init__(network)
        self.augmentation, self.bands, self.chunk_size = augmentation, tuple(bands), chunk_size
        self.frozen = tuple(section.freeze)
        weights = {"image": section.within_image, "spectrum": section.within_spectrum}
        self.within = {name: weight for name, weight in weights.items() if weight > 0}
        for backbone in self._frozen_backbones():
            backbone.requires_grad_(requires_grad=False)
        freeze_what_heads_do_not_see(network)
        # Its logarithm trains, so that it stays positive; without gradient it is saved all the same.
        self.log_scale = nn.Parameter(torch.tensor([section.scale]).log(), requires_grad=section.learn_scale)

    def train(self, mode: bool = True) -> Alignment:  # noqa: FBT001, FBT002  # torch's signature
        """Sets the mode as every module does, but keeps frozen backbones in eval mode, so that they do not move."""
        super().train(mode)
        for backbone in self._frozen_backbones():
            backbone.eval()
        return self

    def forward(self, batch: Batch) -> Outcome:
        """The mean loss of this rank's objects, over whose mean the engine averages."""
        objects = {name: values for name, values in batch.items() if name != "place"}
        count = len(batch["image"])
        if not self.training or count <= self.chunk_size:
            vectors = self._embed(objects)
        else:
            parts = []
            for start in range(0, count, self.chunk_size):
                chunk = {name: values[start : start + self.chunk_size] for name, values in objects.items()}
                parts.append(checkpoint(self._embed, chunk, use_reentrant=False))
            vectors = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
        images, spectra = vectors["image"], vectors["spectrum"]
        if not self.training:
            return images.new_zeros(()), {"one": images.float(), "other": spectra.float()}
        scale = self.log_scale.exp()
        metrics = {"scale": scale.detach()} if self.log_scale.requires_grad else {}
        loss = info_nce(images, spectra, scale).mean()
        if self.within:
            metrics["across"] = loss.detach()
        for name, weight in self.within.items():
            alone = info_nce(vectors[name], vectors[f"second_{name}"], scale).mean()
            loss = loss + weight * alone
            metrics[f"within_{name}"] = alone.detach()
        return loss, metrics

    def scale(self) -> float:
        """The factor on cosines, as it is now."""
        return float(self.log_scale.detach().exp())

    def _embed(self, objects: Batch) -> dict[str, Float[Tensor, "b e"]]:
        """Vectors of images and spectra, and in training those of the second views that are compared with them."""
        augmentation = self.augmentation if self.training else None
        found: dict[str, Tensor] = {}
        for view, prefix in enumerate(("", "second_")):
            for name in ("image", "spectrum"):
                if view == 0 or (self.training and name in self.within):
                    found[prefix + name] = self._vectors(name, objects, augmentation, view)
        return found

    def _vectors(
        self, modality: str, objects: Batch, augmentation: AugmentationSection | None, view: int
    ) -> Float[Tensor, "b e"]:
        if modality == "spectrum":
            return self.network.embed_spectrum(*spectrum_view(objects, augmentation, view=view))
        rgb = input_view(self.network, objects["image"], objects["keys"], augmentation, bands=self.bands, view=view)
        return self.network.embed_image(rgb)

    def _frozen_backbones(self) -> list[nn.Module]:
        encoders = {"image": self.network.image_encoder, "spectrum": self.network.spectrum_encoder}
        return [encoder.backbone for name, encoder in encoders.items() if name in self.frozen and encoder is not None]


class PropertyFit(Objective):
    """`finetune`: properties from embeddings. Unknown values (NaN, class -1, no votes) do not count."""

    def __init__(self, network: AstroClip, augmentation: AugmentationSection, *, bands: Sequence[str]) -> None:
        super().__init__(network)
        self.augmentation, self.bands = augmentation, tuple(bands)

    def forward(self, batch: Batch) -> Outcome:
        """The mean over properties of each one's loss; `vectors` in the batch are embeddings made before."""
        head = self.network.property_head()
        vectors = batch.get("vectors")
        if vectors is None:
            rgb = None
            augmentation = self.augmentation if self.training else None
            if "image" in batch:
                rgb = input_view(self.network, batch["image"], batch["keys"], augmentation, bands=self.bands)
            spectra = spectrum_view(batch, augmentation) if "flux" in batch else None
            vectors = self.network.property_input(rgb, spectra)
        numbers, scores, votes = head(vectors)
        losses = [self._number_loss(numbers, batch["numbers"])] if numbers.shape[1] else []
        losses += [
            functional.cross_entropy(score, batch["classes"][:, index], ignore_index=-1, reduction="sum")
            / (batch["classes"][:, index] >= 0).sum().clamp(min=1)
            for index, score in enumerate(scores)
        ]
        if votes is not None:
            losses.append(self._votes_loss(votes, batch["votes"]))
        metrics: dict[str, Tensor] = {}
        if not self.training:
            metrics = {"numbers": head.in_units(numbers).flatten(1)}
            metrics |= {f"classes/{index}": score.argmax(dim=1) for index, score in enumerate(scores)}
            metrics |= {} if votes is None else {"votes": votes}
        return torch.stack(losses).mean(), metrics

    def freeze_unused(self, *, everything: bool) -> None:
        """Leave what the head does not see as it is, or with `everything` all but the head."""
        section = self.network.property_head().section
        freeze_what_heads_do_not_see(self.network)
        for name, parameter in self.network.named_parameters():
            beside = section.source == "backbone" and ".backbone." not in name
            if not name.startswith("properties.") and (everything or beside):
                parameter.requires_grad = False
        if section.source == "backbone" and not everything and self.network.image_encoder is not None:
            for name, parameter in self.network.image_encoder.backbone.named_parameters():
                parameter.requires_grad = name != "mask_token"

    def _votes_loss(self, votes: Float[Tensor, "b a"], counts: Float[Tensor, "b a"]) -> Float[Tensor, ""]:
        """The sum over questions, averaged over the objects that anybody voted on."""
        section = self.network.property_head().section.votes
        if section is None:
            raise TypeError("this head has learnt no votes")
        losses = vote_losses(votes, counts, section.slices().values()).sum(dim=1)
        return (losses.sum() / (counts.sum(dim=1) > 0).sum().clamp(min=1)).float()

    def _number_loss(self, numbers: Float[Tensor, "b n o"], target: Float[Tensor, "b n"]) -> Float[Tensor, ""]:
        head = self.network.property_head()
        target = head.standardised(target)
        known = torch.isfinite(target)
        losses = head.posterior.losses(numbers, torch.where(known, target, 0.0))
        return torch.where(known, losses, 0.0).sum() / known.sum().clamp(min=1)


def freeze_what_heads_do_not_see(network: AstroClip) -> None:
    """Turn off gradients of parameters that no vector depends on: weight decay would wear them away.

    These are what reconstructs spectra, a layer and the templates' patterns, and, where the image head sees patches
    alone, the token of the whole image and the positions.
    """
    if network.spectrum_encoder is not None and isinstance(network.spectrum_encoder.backbone, SpecFormer):
        backbone = network.spectrum_encoder.backbone
        backbone.head.requires_grad_(requires_grad=False)
        if backbone.templates is not None:
            backbone.templates.patterns.requires_grad = False
    heads, encoder = network.section.heads, network.image_encoder
    if encoder is None or heads is None or not isinstance(encoder.backbone, VisionTransformer):
        return
    if heads.image == "cross_attention" and heads.image_tokens == "patches":
        for parameter in (encoder.backbone.cls_token, encoder.backbone.pos_embed):
            parameter.requires_grad = False


def input_view(
    network: AstroClip,
    image: Float[Tensor, "b c h w"],
    keys: Tensor,
    augmentation: AugmentationSection | None,
    *,
    bands: Sequence[str],
    view: int = 0,
) -> Float[Tensor, "b 3 s s"]:
    """Cutouts in nanomaggies as the network's input: augmented, or their middles where that is None."""
    section = network.section.image
    if section is None:
        raise TypeError("there is no image encoder, so there is no input for it")
    with torch.autocast(image.device.type, enabled=False):
        if augmentation is None:
            return network.image_input(image, bands)
        return augmented_view(
            image,
            keys,
            augmentation,
            view=view,
            size=section.size,
            bands=bands,
            kind=section.input,
            planes=section.bands,
        )


def spectrum_view(objects: Batch, augmentation: AugmentationSection | None, *, view: int = 0) -> SpectrumInputs:
    """The spectra of some objects as the network takes them, augmented unless `augmentation` is None."""
    spectra = SpectrumInputs.of(objects)
    if spectra is None:
        raise TypeError("these objects have no spectra")
    if augmentation is None:
        return spectra
    flux, ivar, mask, wavelength = spectra
    with torch.autocast(flux.device.type, enabled=False):
        return SpectrumInputs(
            *augmented_spectrum(flux, ivar, mask, objects["keys"], augmentation, view=view), wavelength
        )
