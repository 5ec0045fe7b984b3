"""Stein et al. 2021's published ResNet-50 beside a model: as it was trained, and as AstroCLIP's paper compared it.

As trained: its own colours, the middle 96 pixels, the 2,048 numbers before its two last layers, which Stein et al.
search with, and means of batch normalisation that it learnt. As compared in Parker et al. 2024: AstroDINO's colours,
144 pixels, the 128 numbers that its contrastive loss saw, and batch normalisation by the batch at hand, so that an
object's vector depends on the others of its batch. Between the two rows lies what that comparison took away.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor, nn

from polycli.astroclip.data.rgb import model_input
from polycli.astroclip.data.store import ObjectStore
from polycli.astroclip.model.loaded import LoadedAstroClip, load_checkpoint
from polycli.astroclip.model.published_names import PUBLISHED_RESNET_SIZE
from polycli.astroclip.recipe.model import BANDS, ImageInput
from polycli.astroclip.scoring.encode import Encoder, Vectors
from polycli.console import note
from polycli.errors import CheckpointError

#: Inputs of probes, by how the network is read.
AS_TRAINED, AS_COMPARED = "stein_as_trained", "stein_as_compared"
#: Pixels of a cutout that AstroCLIP's comparison showed it.
COMPARED_SIZE = 144


def open_stein(path: str, *, allow_untrained: bool) -> LoadedAstroClip:
    """Load the published weights.

    Raises:
        CheckpointError: the file is no ResNet-50 with its two last layers.
    """
    loaded = load_checkpoint(Path(path), quiet=True, allow_untrained=allow_untrained)
    section, heads = loaded.model.section.image, loaded.model.section.heads
    if section is None or section.name != "resnet50" or heads is None or heads.image != "mlp":
        raise CheckpointError(
            f"stein: {path} is no ResNet-50 with two last layers, as Stein et al. 2021 publish",
            hint="give their resnet50.ckpt; other encoders are compared with unaligned.image=CHECKPOINT",
        )
    return loaded


def check_stein(loaded: LoadedAstroClip, store: ObjectStore) -> None:
    """Look whether the network can read a store, and say where it cannot stand beside the model as it was shown.

    Raises:
        StoreError: bands or pixel scale are others.
    """
    if not store.has_images:
        note(f"{store.name}: has no images, so that Stein et al.'s network does not stand beside the model")
        return
    loaded.check(store.about, f"{store.path}, beside {loaded.model_file}")
    side = 0 if store.about.image is None else min(store.about.image.size)
    if 0 < side < COMPARED_SIZE:
        note(
            f"{store.name}: cutouts of {side} pixels: Stein et al.'s network sees "
            f"{min(side, PUBLISHED_RESNET_SIZE)} of the {PUBLISHED_RESNET_SIZE} that it was trained on, and {side} of "
            f"the {COMPARED_SIZE} that it was compared with"
        )


def stein_vectors(
    encoder: Encoder, rows: NDArray[np.int64], *, advance: Callable[[int], None] = lambda _: None
) -> dict[str, Vectors]:
    """(n, d) vectors of some objects of a store with images, by the way in which the network is read."""
    model = encoder.model

    def made(size: int, kind: ImageInput, embed: Callable[[Tensor], Float[Tensor, "b d"]]) -> Vectors:
        parts = []
        # Batches of nearly equal size: a single object behind the others would be normalised by itself.
        for part in np.array_split(rows, max(1, -(-len(rows) // encoder.batch_size))):
            images = torch.from_numpy(encoder.store.read_images(part)).to(encoder.device)
            with torch.no_grad(), torch.autocast(encoder.device.type, torch.bfloat16, enabled=encoder.half):
                rgb = model_input(images, min(size, *images.shape[2:]), encoder.store.bands, kind, BANDS)
                parts.append(embed(rgb).float().cpu().numpy())
            advance(len(part))
        return np.concatenate(parts)

    found = {AS_TRAINED: made(PUBLISHED_RESNET_SIZE, "stein", model.image_features)}
    with normalised_by_batch(model):
        found[AS_COMPARED] = made(COMPARED_SIZE, "rgb", model.embed_image)
    return found


@contextmanager
def normalised_by_batch(model: nn.Module) -> Iterator[None]:
    """Normalises by the means of each batch inside, as networks do that nobody put into eval mode; nothing is kept."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    kept = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.train()
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, tracks in zip(layers, kept, strict=True):
            layer.eval()
            layer.track_running_stats = tracks
