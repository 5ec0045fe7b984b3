"""ResNet-50 (He et al. 2015, with the stride in the 3 x 3 convolution), the image encoder of the workshop version.

The names in the state dict are those that Stein et al. 2021 publish under `encoder_q.`, without the two `fc` layers:
those are the image head.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from polycli.astroclip.recipe.model import ImageSection

#: Bottlenecks per stage and their inner width; each puts out four times as many channels.
STAGES = ((3, 64), (4, 128), (6, 256), (3, 512))
EXPANSION = 4


class ResNet50(nn.Module):
    """Feature maps at a thirty-second of the image's size.

    Attributes:
        section: the recipe section that it was built from.
    """

    def __init__(self, section: ImageSection) -> None:
        super().__init__()
        self.section = section
        self.conv1 = nn.Conv2d(section.planes, 64, kernel_size=7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        channels = 64
        for number, (count, width) in enumerate(STAGES, start=1):
            inputs = [channels] + [EXPANSION * width] * count
            stride = 1 if number == 1 else 2
            blocks = [
                _Bottleneck(before, width, stride if index == 0 else 1)
                for index, (before, _) in enumerate(pairwise(inputs))
            ]
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
            channels = EXPANSION * width
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")

    @property
    def blocks(self) -> list[nn.Module]:
        """The bottlenecks of all stages, in order."""
        stages = (self.get_submodule(f"layer{number}") for number in range(1, len(STAGES) + 1))
        return [block for stage in stages for block in stage.children()]

    def forward(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b t 2048"]:
        """Features at each place of the last map, row by row."""
        maps = self.maxpool(torch.relu(self.bn1(self.conv1(rgb))))
        for block in self.blocks:
            maps = block(maps)
        return maps.flatten(2).transpose(1, 2)  # type: ignore[no-any-return]

    def pooled(self, rgb: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2048"]:
        """Returns the mean of the features over all places."""
        return self(rgb).mean(dim=1)  # type: ignore[no-any-return]


class _Bottleneck(nn.Module):
    """Narrow, convolve, widen, and add the input, itself brought to the new size where that differs."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = EXPANSION * width
        self.conv1 = nn.Conv2d(inputs, width, kernel_size=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, kernel_size=3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, outputs, kernel_size=1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, maps: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d h2 w2"]:
        branch = torch.relu(self.bn1(self.conv1(maps)))
        branch = torch.relu(self.bn2(self.conv2(branch)))
        branch = self.bn3(self.conv3(branch))
        return torch.relu(branch + (maps if self.downsample is None else self.downsample(maps)))
