"""A checkpoint of xVal that eval, predict and embed work with: the network, and how it reads records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from polycli.errors import CheckpointError, StoreError
from polycli.report.scores import Provenance
from polycli.store.manifest import read_manifest
from polycli.workflow.loaded import LoadedCheckpoint, evaluation_device, find_checkpoint
from polycli.workflow.run_stores import stores_of_run
from polycli.xval.data.collate import Tokenization
from polycli.xval.data.tokenization import read_tokenization
from polycli.xval.model.heads import RecordModel
from polycli.xval.model.numformer import Numformer
from polycli.xval.model.weights import model_from, record_model_from
from polycli.xval.records.units import refuse_other_units


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

    @cached_property
    def units(self) -> dict[str, str]:
        """Maps patterns of key paths to units: those of the checkpoint, else those of its run's stores that are still
        there.
        """
        if self.tokenization.units:
            return dict(self.tokenization.units)
        found: dict[str, str] = {}
        for entry in stores_of_run(self.run).values():
            try:
                about = read_manifest(Path(entry.path)).about
            except StoreError:
                continue  # The store has moved: its units are not known, which the records can do without.
            found |= about.get("source", {}).get("units", {})
        return found

    def check_units(self, units: Mapping[str, str], what: str, *, allow: bool) -> None:
        """Make sure that data have the units that the model learned; what it learned without one is warned of.

        Args:
            units: patterns of key paths to units, as the data has them.
            what: what messages call the data.
            allow: whether other units are warned of alone.

        Raises:
            SourceError: a unit is another one.
        """
        learned_at = self.tokenization.language.key_paths
        refuse_other_units(units, self.units, learned_at=learned_at, source=what, allow=allow)

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
