"""The public checkpoints of the original projects: where they are, under which licence, how large. Facts, no code."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

_MPP = "https://github.com/PolymathicAI/multiple_physics_pretraining"
_MPP_FOLDER = "https://drive.google.com/drive/folders/1Qaqa-RnzUDOO8-Gi4zlf4BE53SfWqDwx"
_ASTROCLIP = "https://github.com/PolymathicAI/AstroCLIP"
_HUGGING_FACE = "https://huggingface.co/polymathic-ai"


@dataclass(frozen=True, kw_only=True)
class KnownWeights:
    """One public checkpoint, or a word on why there is none."""

    name: str
    family: str
    project: str
    address: str | None
    #: As the project's LICENSE file says.
    licence: str
    parameters: int | None = None
    remark: str = ""

    @property
    def size(self) -> str:
        """The number of parameters in millions, as far as it is known."""
        return "?" if self.parameters is None else f"{self.parameters / 1e6:.2f} M"

    def as_document(self) -> dict[str, Any]:
        """For `--json`."""
        return asdict(self)


def _mpp(size: str, millions: float) -> KnownWeights:
    return KnownWeights(
        name=f"MPP AViT-{size}",
        family="mpp",
        project=_MPP,
        address=_MPP_FOLDER,
        licence="MIT",
        parameters=round(millions * 1e6),
        remark="12 states; download the .tar and give it as CHECKPOINT" if size == "Ti" else "",
    )


KNOWN_WEIGHTS: tuple[KnownWeights, ...] = (
    _mpp("Ti", 7.29),
    _mpp("S", 28.98),
    _mpp("B", 115.61),
    _mpp("L", 407.06),
    KnownWeights(
        name="AstroCLIP",
        family="astroclip",
        project=_ASTROCLIP,
        address=f"{_HUGGING_FACE}/astroclip",
        licence="MIT",
        remark="the aligned pair, 1024 numbers for each image and spectrum",
    ),
    KnownWeights(
        name="AstroDINO",
        family="astroclip",
        project=_ASTROCLIP,
        address=f"{_HUGGING_FACE}/astrodino",
        licence="MIT",
        remark="the image encoder alone, ViT-L/12",
    ),
    KnownWeights(
        name="SpecFormer",
        family="astroclip",
        project=_ASTROCLIP,
        address=f"{_HUGGING_FACE}/specformer",
        licence="MIT",
        parameters=43_177_750,
        remark="the spectrum encoder alone",
    ),
    KnownWeights(
        name="xVal",
        family="xval",
        project="https://github.com/PolymathicAI/xVal",
        address=None,
        licence="none",
        remark="the project published neither weights nor a licence",
    ),
)
