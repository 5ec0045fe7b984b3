"""Self-distillation of image encoders as DINOv2 has it (Oquab et al. 2023): stage `image`, objective `dinov2`.

A teacher, which is a moving average of the student, sees two large crops of a cutout. The student sees them with some
patches hidden, and small crops, and foretells what the teacher says of the other large crop and of the hidden patches.
Teacher, centres and the count of steps are buffers: a resumed run goes on bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from polycli.astroclip.data.augmentations import augmented_view
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.masking import block_mask
from polycli.astroclip.model.vision_transformer import VisionTransformer
from polycli.astroclip.recipe.model import AugmentationSection, ImageSection
from polycli.astroclip.recipe.objectives import Dinov2Section
from polycli.astroclip.training.distillation_losses import (
    PrototypeHead,
    cross_entropy,
    entropy,
    koleo,
    sinkhorn_targets,
    softmax_targets,
    spread,
    sum_over_ranks,
)
from polycli.astroclip.training.objectives import Objective, Outcome
from polycli.astroclip.training.teacher import first_and_last, follow, frozen_copy
from polycli.engine.schedule import cosine
from polycli.engine.task import Batch

#: Crops that the teacher sees.
LARGE_CROPS = 2


class _Seen(NamedTuple):
    """Logits of one network: of whole crops, crop by crop, and of the hidden patches of the large ones."""

    whole: Float[Tensor, "n k"]
    patches: Float[Tensor, "m k"]


class SelfDistillation(Objective):
    """Foretell what a slower copy of the network says of other crops of an image, and of patches that are hidden.

    Attributes:
        teacher: the moving average of the network, which is what is exported.
    """

    centre: Tensor
    patch_centre: Tensor
    step: Tensor

    def __init__(
        self,
        network: AstroClip,
        section: Dinov2Section,
        augmentation: AugmentationSection,
        *,
        bands: Sequence[str],
        steps: int,
    ) -> None:
        """`steps`: of the whole training, over which the schedules go."""
        super().__init__(network)
        self.section, self.augmentation, self.bands, self.steps = section, augmentation, tuple(bands), steps
        self.image = _image_section(network)
        self.heads = nn.ModuleDict({"whole": prototype_head(self.image, section)})
        if section.separate_heads:
            self.heads["patches"] = prototype_head(self.image, section)
        # A mask token that nothing hides behind would be worn away by weight decay.
        backbone_of(network).mask_token.requires_grad = section.patch_weight > 0 and section.masked_images > 0
        self.teacher, self.teacher_heads = frozen_copy(network), frozen_copy(self.heads)
        self.register_buffer("centre", torch.zeros(section.prototypes))
        self.register_buffer("patch_centre", torch.zeros(section.prototypes))
        self.register_buffer("step", torch.zeros(1, dtype=torch.long))
        self._sums: dict[str, list[Tensor]] = {}

    def train(self, mode: bool = True) -> SelfDistillation:  # noqa: FBT001, FBT002  # torch's signature
        """Sets the mode as every module does, but keeps the teacher whole, without drop path."""
        super().train(mode)
        self.teacher.eval()
        return self

    def forward(self, batch: Batch) -> Outcome:
        """The mean over images of all three losses, and by their side how sure and how varied the teacher is."""
        first, last = first_and_last(batch)
        if self.training and first:
            self._begin_step()
        large = torch.cat([self._crop(batch, view) for view in range(LARGE_CROPS)])
        if not self.training:
            one, other = backbone_of(self.teacher).pooled(large).float().chunk(LARGE_CROPS)
            return one.new_zeros(()), {"one": one, "other": other}
        hidden = torch.cat([self._hidden(batch, view) for view in range(LARGE_CROPS)])
        small = [self._crop(batch, LARGE_CROPS + number) for number in range(self.section.local_crops)]

        with torch.no_grad():
            said, vectors = self._teacher_says(large, hidden)
        found, student_vectors = self._student_says(large, small, hidden)
        with torch.autocast(large.device.type, enabled=False):
            targets, patch_targets = self._targets("centre", said.whole), self._targets("patch_centre", said.patches)
            of_crops, divergence = self._crop_loss(targets, found.whole, count=len(batch["image"]))
            of_patches = self._patch_loss(patch_targets, found.patches, hidden)
            spreading = torch.stack([koleo(own) for own in student_vectors.float().chunk(LARGE_CROPS)]).sum(dim=0)
            loss = of_crops + self.section.patch_weight * of_patches + self.section.koleo_weight * spreading.mean()
        if last:
            self._end_step()
        metrics = {
            "crops": of_crops.detach(),
            "patches": of_patches.detach(),
            "koleo": spreading.detach(),
            "teacher_entropy": entropy(targets),
            "teacher_kl": divergence.detach(),
            "spread": spread(vectors.float()),
        }
        return loss, metrics

    def teacher_temperature(self) -> float:
        """The teacher's temperature in this step: a linear rise, then level."""
        section, warm_up = self.section, self.section.teacher_warmup_steps
        share = min(int(self.step) / warm_up, 1.0) if warm_up else 1.0
        rise = section.teacher_temperature - section.first_teacher_temperature
        return section.first_teacher_temperature + share * rise

    def momentum(self) -> float:
        """How much of its weights the teacher keeps in this step."""
        return cosine(self.section.momentum, self.section.final_momentum, self.steps, int(self.step))

    def _begin_step(self) -> None:
        """Have the teacher follow what the last step made of the student."""
        self._sums.clear()
        if self.step > 0:
            momentum = cosine(self.section.momentum, self.section.final_momentum, self.steps, int(self.step) - 1)
            follow(self.teacher, self.network, momentum)
            follow(self.teacher_heads, self.heads, momentum)

    def _end_step(self) -> None:
        """Move the centres by what all ranks saw in this step, for the next one."""
        for name, own in self._sums.items():
            total, count = map(sum_over_ranks, own)
            centre = self.get_buffer(name)
            moved = centre.lerp(total / count.clamp(min=1), 1 - self.section.centre_momentum)
            # The engine drops a step of bad numbers on all ranks, and the centre leaves it out.
            sound = torch.isfinite(moved).all() & (count > 0)
            centre.copy_(torch.where(sound, moved, centre))
        self._sums.clear()
        self.step += 1

    def _crop(self, batch: Batch, view: int) -> Float[Tensor, "b p s s"]:
        local = view >= LARGE_CROPS
        with torch.autocast(batch["image"].device.type, enabled=False):
            return augmented_view(
                batch["image"],
                batch["keys"],
                self.augmentation,
                view=view,
                size=self.section.local_size if local else self.image.size,
                bands=self.bands,
                kind=self.image.input,
                planes=self.image.bands,
                reach=self.section.local_reach if local else None,
            )

    def _hidden(self, batch: Batch, view: int) -> Bool[Tensor, "b n"]:
        section = self.section
        return block_mask(
            batch["keys"],
            self.image.size // self.image.patch_size,
            probability=section.masked_images if section.patch_weight > 0 else 0.0,
            least=section.least_masked,
            most=section.most_masked,
            view=view,
        )

    def _teacher_says(self, large: Tensor, hidden: Bool[Tensor, "b n"]) -> tuple[_Seen, Float[Tensor, "b d"]]:
        backbone = backbone_of(self.teacher)
        tokens = backbone(large)
        whole = backbone.pool(tokens)
        return _Seen(*_logits(self.teacher_heads, whole, tokens[:, 1:][hidden])), whole

    def _student_says(
        self, large: Tensor, small: Sequence[Tensor], hidden: Bool[Tensor, "b n"]
    ) -> tuple[_Seen, Float[Tensor, "b d"]]:
        backbone = backbone_of(self.network)
        tokens = backbone(large, hidden=hidden)
        whole = backbone.pool(tokens)
        every = torch.cat([whole, backbone.pooled(torch.cat(list(small)))]) if small else whole
        frozen = int(self.step) < self.section.freeze_last_layer_steps
        return _Seen(*_logits(self.heads, every, tokens[:, 1:][hidden], frozen=frozen)), whole

    def _targets(self, centre: str, logits: Float[Tensor, "n k"]) -> Float[Tensor, "n k"]:
        temperature = self.teacher_temperature()
        if self.section.centring == "sinkhorn":
            return sinkhorn_targets(logits, temperature)
        total, count = logits.sum(dim=0), torch.tensor(float(len(logits)), device=logits.device)
        before = self._sums.get(centre)
        self._sums[centre] = [total, count] if before is None else [before[0] + total, before[1] + count]
        return softmax_targets(logits, self.get_buffer(centre), temperature)

    def _crop_loss(
        self, targets: Float[Tensor, "n k"], logits: Float[Tensor, "m k"], *, count: int
    ) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
        """The mean over pairs of a large crop and any other one; and by how much it is above the teacher's entropy."""
        temperature = self.section.student_temperature
        said, crops = torch.split(targets, count), torch.split(logits, count)
        pairs = [
            cross_entropy(target, crop, temperature).mean()
            for place, target in enumerate(said)
            for other, crop in enumerate(crops)
            if other != place
        ]
        loss = torch.stack(pairs).mean()
        return loss, loss - entropy(targets).mean()

    def _patch_loss(
        self, targets: Float[Tensor, "m k"], logits: Float[Tensor, "m k"], hidden: Bool[Tensor, "b n"]
    ) -> Float[Tensor, ""]:
        """Each large crop's mean over its hidden patches, averaged over all crops; crops with none of them count 0."""
        each = cross_entropy(targets, logits, self.section.student_temperature)
        share = (1 / hidden.sum(dim=1, keepdim=True).clamp(min=1)).expand(-1, hidden.shape[1])[hidden]
        return (each * share).sum() / len(hidden)


def prototype_head(image: ImageSection, section: Dinov2Section) -> PrototypeHead:
    """Builds the head that a recipe asks for."""
    return PrototypeHead(
        image.features, width=section.head_width, bottleneck=section.bottleneck, prototypes=section.prototypes
    )


def backbone_of(network: AstroClip) -> VisionTransformer:
    """The vision transformer of a network."""
    encoder = network.image_encoder
    if encoder is None or not isinstance(encoder.backbone, VisionTransformer):
        raise TypeError("objectives that hide patches need a vision transformer")
    return encoder.backbone


def _image_section(network: AstroClip) -> ImageSection:
    return backbone_of(network).section


def _logits(
    heads: nn.ModuleDict, whole: Tensor, patches: Tensor, *, frozen: bool = False
) -> tuple[Float[Tensor, "n k"], Float[Tensor, "m k"]]:
    """Computes the logits of whole crops and of patches; one head sees both together, so that it runs once."""
    if "patches" in heads:
        return heads["whole"](whole, frozen=frozen), heads["patches"](patches, frozen=frozen)
    found = heads["whole"](torch.cat([whole, patches]), frozen=frozen)
    return found[: len(whole)], found[len(whole) :]
