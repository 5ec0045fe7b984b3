"""Makes the network that a model section asks for."""

from __future__ import annotations

from polycli.mpp.model.avit import AViT
from polycli.mpp.model.baselines.fno import FourierOperator
from polycli.mpp.model.baselines.unet import ConvNextUnet
from polycli.mpp.model.baselines.vit import VideoTransformer
from polycli.mpp.model.network import Network
from polycli.mpp.recipe.networks import FnoSection, NetworkSection, UnetSection, VitSection
from polycli.mpp.recipe.training import ModelSection
from polycli.nn.skeleton import skeleton


def make_network(section: NetworkSection) -> Network:
    """A new network, with the weights that torch's generator gives it."""
    if isinstance(section, FnoSection):
        return FourierOperator(section)
    if isinstance(section, UnetSection):
        return ConvNextUnet(section)
    if isinstance(section, VitSection):
        return VideoTransformer(section)
    if isinstance(section, ModelSection):
        return AViT(section)
    raise TypeError(f"no network has a section of type {type(section).__name__}")


def parameter_count(section: NetworkSection) -> int:
    """Counts the parameters of such a model without allocating them."""
    with skeleton():
        return sum(parameter.numel() for parameter in make_network(section).parameters())
