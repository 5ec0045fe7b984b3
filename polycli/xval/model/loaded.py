"""A checkpoint of xVal that eval, predict and embed work with: the network, and how it reads records."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from polycli.errors import CheckpointError
from polycli.report.scores import Provenance
from polycli.workflow.loaded import LoadedCheckpoint, evaluation_device, find_checkpoint
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.tokenization import read_tokenization
from polycli.xval.model.heads import RecordModel
from polycli.xval.model.numformer import Numformer
from polycli.xval.model.weights import model_from, record_model_from


@dataclass(frozen=True, kw_only=True)
class NumformerProvenance(Provenance):
    """The origin of what a model of records says."""

    #: The name of the encoding of numbers, such as `xval`.
    encoding: str


@dataclass(frozen=True, kw_only=True)
class LoadedNumformer(LoadedCheckpoint):
    """A network in eval mode on its device, and where it comes from."""

    model: Numformer
    tokenization: Tokenization
    #: How much of a record training hides; None where the checkpoint does not say.
    mask_probability: float | None

    @property
    def judge(self) -> RecordModel | None:
        """The model, where finetuning gave it a head that answers for whole records."""
        return self.model if isinstance(self.model, RecordModel) else None

    @property
    def encoding(self) -> str:
        """The name of the encoding of numbers."""
        return self.tokenization.encoding.name

    def provenance(self) -> NumformerProvenance:
        """Records where results come from: the checkpoint, and how its model encodes numbers."""
        return NumformerProvenance(**vars(super().provenance()), encoding=self.encoding)


def _probability(found: LoadedCheckpoint) -> float | None:
    """How often numbers were hidden in training, as model.json says."""
    said = found.described_object("objective").get("mask_probability")
    if said is None or (isinstance(said, int | float) and 0 <= said <= 1):
        return said
    raise CheckpointError(f"{found.model_file}: objective.mask_probability is {said!r}, a probability was expected")


def load_checkpoint(path: Path, *, quiet: bool = False) -> LoadedNumformer:
    """Find the checkpoint that `path` means, say which and why unless `quiet`, and load it.

    Raises:
        CheckpointError: it is absent, truncated, dangerous, of another family, or does not say how it reads records.
    """
    found = find_checkpoint(path, family="xval", quiet=quiet)
    description = found.description
    if description is None:
        raise CheckpointError(
            f"{found.model_file}: weights alone, without the model.json that says what their tokens mean",
            hint="give a run of polycli, or the folder of `polycli export`",
        )
    model = record_model_from(found.model_file, description) or model_from(found.model_file, description, {})
    model.requires_grad_(requires_grad=False)
    source = str(found.model_file.with_suffix(".json"))
    return LoadedNumformer(
        **vars(found),
        model=model.to(evaluation_device()),
        tokenization=read_tokenization(description.model_extra or {}, model.section, source=source),
        mask_probability=_probability(found),
    )
