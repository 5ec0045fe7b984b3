"""The requests that the command line makes to a family: one frozen record per verb, the same for all families.

`polycli VERB FAMILY ...` becomes `polycli.FAMILY.VERB.run(request)`. A verb reads its request, writes its results, and
raises a `PolycliError` where it cannot; it returns what `--json` prints, or None.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

JsonDocument = dict[str, Any]
ResumePolicy = Literal["auto", "never", "must"]
Split = Literal["train", "validation", "test"]


@dataclass(frozen=True, kw_only=True)
class PrepareRequest:
    """`polycli prepare`: source files to stores."""

    source: str
    inputs: tuple[Path, ...]
    output: Path
    recipe: str | None = None
    overrides: tuple[str, ...] = ()
    workers: int | None = None
    limit: int | None = None
    part: tuple[int, int] | None = None
    finalize: bool = False
    dry_run: bool = False
    #: The words after `polycli` as they were typed, for hints that give a line to run.
    line: tuple[str, ...] = ()
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class TrainRequest:
    """`polycli pretrain` and, with a checkpoint, `polycli finetune`: stores to a run.

    `data` is as the user wrote it, globs and lists included, so that the family can say how to make what is missing.
    """

    recipe: str
    data: tuple[Path, ...] = ()
    output: Path | None = None
    checkpoint: Path | None = None
    overrides: tuple[str, ...] = ()
    resume: ResumePolicy = "auto"
    limit: int | None = None
    dry_run: bool = False
    #: How many local ranks were asked for; a dry run, which starts none, plans for so many.
    nproc: int | None = None
    json: bool = False

    @property
    def run_folder(self) -> Path:
        """The folder of the run: the same line run again finds it."""
        return self.output or Path("runs") / Path(self.recipe).stem


@dataclass(frozen=True, kw_only=True)
class ScoredRequest:
    """A checkpoint and the rows of stores on which it is compared with the truth."""

    checkpoint: Path
    data: tuple[Path, ...] = ()
    split: Split = "test"
    #: Where the result goes; beside the run or the weights where it is not said.
    output: Path | None = None
    limit: int | None = None
    overrides: tuple[str, ...] = ()
    #: Whether rows that the model was trained on may be among them.
    allow_overlap: bool = False
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class EvalRequest(ScoredRequest):
    """`polycli eval`: a checkpoint and stores to scores, figures and a report."""

    #: Further checkpoints that are scored on the same rows and shown beside the first.
    baselines: tuple[Path, ...] = ()
    #: Whether report.html is opened in the browser.
    open: bool = False


@dataclass(frozen=True, kw_only=True)
class CalibrateRequest(ScoredRequest):
    """`polycli calibrate`: a checkpoint and rows that were held back to bounds that hold for others like them."""

    split: Split = "validation"


@dataclass(frozen=True, kw_only=True)
class PredictRequest:
    """`polycli predict`: a checkpoint and data without truth to forecasts, filled records or catalogues."""

    checkpoint: Path
    data: tuple[Path, ...]
    output: Path
    split: Split | None = None
    limit: int | None = None
    overrides: tuple[str, ...] = ()
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class EmbedRequest:
    """`polycli embed`: a checkpoint and data to vectors with the ids of what they describe."""

    checkpoint: Path
    data: tuple[Path, ...]
    output: Path
    split: Split | None = None
    limit: int | None = None
    overrides: tuple[str, ...] = ()
    part: tuple[int, int] | None = None
    finalize: bool = False
    #: Whether the rows of further data are added to embeddings that are there.
    append: bool = False
    #: The address or the file of the scheduler of a Dask cluster that computes.
    dask: str | None = None
    #: A folder on the disk of each machine, where units are written before they are copied.
    scratch: Path | None = None
    dry_run: bool = False
    #: Whether a dry run answers with a script for Slurm, whose job array takes so many hours.
    sbatch: bool = False
    hours: float = 4.0
    #: The words after `polycli` as they were typed, for hints that give a line to run.
    line: tuple[str, ...] = ()
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """`polycli search`: embeddings and something to look for to its nearest neighbours."""

    embeddings: Path
    #: What is looked for: one of these.
    id: str | None = None
    position: str | None = None
    row: str | None = None
    file: Path | None = None
    like: tuple[str, ...] = ()
    unlike: tuple[str, ...] = ()
    examples: Path | None = None
    #: Arcseconds within which an object must lie from a position.
    radius: float = 10.0
    #: Which object of a file of several.
    object: str | None = None
    #: The model that embeds the file.
    checkpoint: Path | None = None
    #: The kind of vectors of the query, and of those that are searched.
    vector: str | None = None
    among: str | None = None
    k: int = 10
    cone: str | None = None
    box: str | None = None
    where: str | None = None
    #: Whether the index answers instead of a comparison with all vectors.
    index: bool = False
    output: Path | None = None
    #: Stores with the pictures of a gallery.
    data: tuple[Path, ...] = ()
    force: bool = False
    json: bool = False


@dataclass(frozen=True, kw_only=True)
class StudyRequest:
    """`polycli study`: a recipe of experiments to a folder of runs and one table."""

    recipe: str
    output: Path
    overrides: tuple[str, ...] = ()
    limit: int | None = None
    #: How many commands run at the same time.
    jobs: int = 1
    dry_run: bool = False
    json: bool = False
