"""Momentum contrast, version 2 (He et al. 2020, Chen et al. 2020): stage `image`.

Queue and momentum encoder are buffers: they are saved and restored with the model's state at every ZeRO stage, and no
optimizer touches them. What is queued is what all ranks computed in one step, in the order of the global batch, so the
queue is the same for any number of ranks and any micro-batch size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.model.heads import MlpHead
from polycli.astroclip.recipe.model import AugmentationSection
from polycli.astroclip.recipe.objectives import MocoSection
from polycli.astroclip.training.contrastive import gather_in_rank_order, unit_vectors
from polycli.astroclip.training.objectives import Objective, Outcome, input_view
from polycli.astroclip.training.teacher import first_and_last, follow, frozen_copy
from polycli.engine.task import Batch


class MomentumContrast(Objective):
    """Tell one view of an image from all others by another view of it, which a slower encoder has seen."""

    queue: Tensor
    queue_place: Tensor

    def __init__(
        self, network: AstroClip, section: MocoSection, augmentation: AugmentationSection, *, bands: Sequence[str]
    ) -> None:
        super().__init__(network)
        if network.image_encoder is None:
            raise TypeError("momentum contrast needs an image encoder")
        self.section, self.augmentation, self.bands = section, augmentation, tuple(bands)
        width = network.width("image", "backbone")
        self.projection = MlpHead(width, section.projection)
        self.momentum = frozen_copy(nn.ModuleDict(self._trained()))
        self.register_buffer("queue", unit_vectors(torch.randn(section.queue_size, section.projection)))
        self.register_buffer("queue_place", torch.zeros(1, dtype=torch.long))
        self._step_keys: list[Tensor] = []

    def forward(self, batch: Batch) -> Outcome:
        """Cross-entropy of the right key among it and the queue, averaged over the batch's images."""
        first, last = first_and_last(batch)
        if self.training and first:
            self._step_keys.clear()
            self._follow()
        views = [
            input_view(self.network, batch["image"], batch["keys"], self.augmentation, bands=self.bands, view=view)
            for view in range(2)
        ]
        queries = unit_vectors(self.projection(self.network.image_features(views[0])))
        with torch.no_grad():
            keys = unit_vectors(self.momentum["projection"](self._slow_features(views[1])))
        if not self.training:
            return queries.new_zeros(()), {"one": queries, "other": keys}
        with torch.autocast(queries.device.type, enabled=False):
            right = (queries * keys).sum(dim=1, keepdim=True)
            # A copy of the queue: the last micro-batch writes to it, and the backward pass still reads it.
            logits = torch.cat([right, queries @ self.queue.clone().T], dim=1) / self.section.temperature
            labels = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
            losses = functional.cross_entropy(logits, labels, reduction="none")
        self._step_keys.append(keys)
        if last:
            self._enqueue()
        return losses.mean(), {"accuracy": (logits.detach().argmax(dim=1) == 0).float()}

    def _trained(self) -> dict[str, nn.Module]:
        encoder = self.network.image_encoder
        if encoder is None:
            raise TypeError("momentum contrast needs an image encoder")
        return {"backbone": encoder.backbone, "projection": self.projection}

    def _slow_features(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """Features from the momentum encoder; with batch norm the images are shuffled and encoded in two halves.

        A key would otherwise be known by the batch statistics that it shares with its query (He et al. 2020, 3.3).
        """
        backbone = self.momentum["backbone"]
        normalises = any(isinstance(module, nn.BatchNorm2d) for module in backbone.modules())
        if not normalises or not self.training or len(rgb) < 4:
            return backbone.pooled(rgb)  # type: ignore[operator,no-any-return]
        order = torch.randperm(len(rgb), device=rgb.device)
        halves = [backbone.pooled(half) for half in rgb[order].chunk(2)]  # type: ignore[operator]
        return torch.cat(halves)[order.argsort()]

    def _follow(self) -> None:
        """Move the momentum encoder a little towards the trained one; once per optimizer step."""
        for name, module in self._trained().items():
            follow(self.momentum[name], module, self.section.momentum)

    @torch.no_grad()
    def _enqueue(self) -> None:
        """Put the step's keys of all ranks in place of the oldest ones, unless one is not a number."""
        keys = gather_in_rank_order(torch.cat(self._step_keys))
        self._step_keys.clear()
        keys = keys[-len(self.queue) :]
        places = (self.queue_place + torch.arange(len(keys), device=keys.device)) % len(self.queue)
        # The engine drops such a step on all ranks; the queue does so too.
        sound = torch.isfinite(keys).all()
        self.queue[places] = torch.where(sound, keys, self.queue[places])
        self.queue_place.add_(sound * len(keys)).remainder_(len(self.queue))
