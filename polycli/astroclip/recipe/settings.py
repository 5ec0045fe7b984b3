"""The settings that `--set` gives to eval, predict and embed: typed and closed, in the words of recipes."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveInt, field_validator

from polycli.astroclip.recipe.preparing import (
    ArraysSection,
    DesiSection,
    PairSection,
    PrepareRecipe,
    QualitySection,
    ResampleSection,
    SelectSection,
)
from polycli.astroclip.recipe.training import MaskingSection
from polycli.astroclip.recipe.votes import VotesSection
from polycli.sections import MOST_RESAMPLES, CalibrateSection, Section, UnitSettings, UsedCalibration
from polycli.workflow.untrained import ALLOW_DESCRIPTION

#: Whether a verb writes how unlike the training objects are: where statistics of these are kept, never, or must.
NoveltyUse = Literal["auto", "never", "must"]


class UnsaidSection(Section):
    """Facts about the model that weights without their model.json lack; given, they replace what a checkpoint says."""

    num_heads: PositiveInt | None = Field(None, description="of a checkpoint of one encoder")
    vit_heads: PositiveInt | None = Field(None, description="of the image encoder")
    spectrum_heads: PositiveInt | None = Field(None, description="of the spectrum encoder")
    n_head: PositiveInt | None = Field(None, description="of the cross-attention in the alignment's heads")


class EncodingSettings(Section):
    """The settings that all three verbs share: how objects go through the encoders."""

    family: Literal["astroclip"]
    batch_size: PositiveInt = Field(32, description="objects per forward pass")
    precision: Literal["float32", "bfloat16"] = Field(
        "float32", description="bfloat16 is faster on GPUs and on processors with its instructions"
    )
    model: UnsaidSection = UnsaidSection()
    allow_untrained: bool = Field(False, description=ALLOW_DESCRIPTION)


class CalibrateSettings(EncodingSettings, CalibrateSection):
    """The settings of `polycli calibrate astroclip --set KEY=VALUE`."""

    verb: Literal["calibrate"]
    by: Literal["none", "magnitude"] = Field(
        "none", description="find bounds in bins of the catalogue's r magnitude, so that they hold in each of them"
    )
    novelty: bool = Field(
        False,
        description="keep statistics of the training objects' vectors too, by which predict and embed tell what is "
        "unlike them; of a model without head these alone",
    )
    bins: int = Field(
        3, ge=2, le=100, description="of magnitude, with equal numbers of objects; each needs 19 for 95 %"
    )


class UnalignedSection(Section):
    """The encoders before their alignment, for comparison; those that the run began from where absent."""

    image: str | None = None
    spectrum: str | None = None


class AuditSection(Section):
    """The search for shortcuts: scores that are owed to how objects were observed."""

    run: bool = Field(True, description="audit; of a model with two modalities it about doubles the time of its probes")
    target: str = Field("redshift", description="column of numbers that must not be told by nuisances")
    columns: tuple[str, ...] = Field(
        (), description="further columns of nuisances, beside psf, noise, depth, sky, ebv, airmass, exptime and nobs"
    )
    permutations: PositiveInt = Field(999, le=100_000, description="behind each p-value; more where columns are many")
    occluded: NonNegativeInt = Field(
        8,
        le=1000,
        description="test objects of which parts are hidden one by one, to see what moves the answer; 0: none",
    )
    attended: NonNegativeInt = Field(
        32,
        le=1000,
        description="test objects of an aligned model on which the attention of its heads is scored, the first of them "
        "drawn; 0: none",
    )
    level: float = Field(0.01, gt=0, lt=0.5, description="share of clean surveys in which a leak may be found")


class MorphologySection(Section):
    """The scores of volunteers' votes, and of retrieval by class."""

    votes_above: NonNegativeInt = Field(
        34, description="objects with more votes on a question count for its accuracy and are of a class; as published"
    )
    votes: VotesSection | None = Field(
        None, description="questions whose answers are classes to be found, of models whose own head has learnt none"
    )
    retrieval: bool = Field(True, description="rank objects by class, where the store has classes")
    graded: bool = Field(
        False, description="finding an object is worth its share of the votes for the answer, instead of 1 or 0"
    )
    marked: PositiveInt = Field(5, le=1000, description="examples that are marked good, and as many bad")
    draws: PositiveInt = Field(20, le=10_000, description="how often examples are drawn")


class EvalSettings(EncodingSettings):
    """The settings of `polycli eval astroclip --set KEY=VALUE`."""

    verb: Literal["eval"]
    properties: tuple[str, ...] = Field(
        (),
        description="columns to predict; if empty, redshift and all but brightness, nuisance and positions",
    )
    labels: tuple[str, ...] = Field((), description="columns to classify; if empty, all texts of at most 20 classes")
    neighbours: PositiveInt = Field(64, description="k of k-NN; weights are inverse distances")
    neighbour_counts: tuple[PositiveInt, ...] = Field(
        (),
        description="numbers of neighbours by which redshifts are scored too, each weighed by inverse distance, all "
        "alike, and by a Gaussian kernel",
    )
    reference_objects: PositiveInt = Field(20000, description="training objects that probes learn from, at most")
    candidates: PositiveInt = Field(10000, description="objects among which one is searched, at most")
    unaligned: UnalignedSection = UnalignedSection()
    stein: str | None = Field(
        None,
        description="the published ResNet-50 of Stein et al. 2021, for comparison: as it was trained, and as the paper "
        "of AstroCLIP compared it",
    )
    masking: MaskingSection | None = Field(
        None, description="what is hidden of spectra, for models of stage spectrum; as in the training if absent"
    )
    audit: AuditSection = AuditSection()
    morphology: MorphologySection = MorphologySection()
    bands: UsedCalibration = UsedCalibration()
    report: bool = Field(True, description="write report.html and figures; scores.json is written in any case")
    bootstrap_samples: PositiveInt = Field(
        1000, le=MOST_RESAMPLES, description="resamples of the objects behind each interval"
    )
    seed: NonNegativeInt = Field(0, lt=2**32, description="of the bootstrap, of probes and of second looks")


class ReadingSettings(Section):
    """The settings for reading files that are no stores, in the words of prepare's recipe."""

    source: str | None = Field(
        None, description="as --source of prepare, such as legacysurvey+desi; found by a look at the files if absent"
    )
    arrays: ArraysSection = ArraysSection()
    desi: DesiSection = DesiSection()
    select: SelectSection = SelectSection()
    quality: QualitySection = QualitySection()
    pair: PairSection = PairSection()
    resample: ResampleSection = ResampleSection()

    @property
    def recipe(self) -> PrepareRecipe:
        """The settings as a prepare recipe, which is how a source takes them."""
        sections = {name: getattr(self, name) for name in ("arrays", "desi", "select", "quality", "pair", "resample")}
        return PrepareRecipe(family="astroclip", verb="prepare", **sections)


class PredictSettings(EncodingSettings, ReadingSettings):
    """The settings of `polycli predict astroclip --set KEY=VALUE`."""

    verb: Literal["predict"]
    properties: tuple[str, ...] = Field(
        ("redshift",), min_length=1, description="columns that neighbours tell, for models without head"
    )
    reference: tuple[str, ...] = Field(
        (), description="stores whose training objects are the neighbours; the run's own if empty"
    )
    modality: Literal["image", "spectrum", "both"] | None = Field(
        None, description="what neighbours are searched by; all that model and data have if absent"
    )
    neighbours: PositiveInt = 64
    quantiles: tuple[float, ...] = Field(
        (0.16, 0.5, 0.84),
        description="of the neighbours' values, weighted; of a flow, if given, else its own. Those of a quantile head "
        "are fixed",
    )
    draws: NonNegativeInt = Field(0, le=10_000, description="samples of a flow's posterior, as a column of lists")
    seed: NonNegativeInt = Field(0, lt=2**32, description="of the draws; those of an object depend on it and on its id")
    bands: UsedCalibration = UsedCalibration()
    novelty: NoveltyUse = Field(
        "auto", description="column of how unlike the training each object is, where `calibrate` kept its statistics"
    )
    overwrite: bool = Field(False, description="replace the output where it exists")

    @field_validator("quantiles")
    @classmethod
    def _rising(cls, value: tuple[float, ...]) -> tuple[float, ...]:
        if any(not 0 < quantile < 1 for quantile in value) or list(value) != sorted(value):
            raise ValueError("quantiles lie between 0 and 1 and rise")
        return value


class EmbedSettings(UnitSettings, EncodingSettings):
    """The settings of `polycli embed astroclip --set KEY=VALUE`."""

    verb: Literal["embed"]
    dtype: Literal["float32", "float16"] = Field("float32", description="of the vectors as written")
    vectors: tuple[Literal["image", "spectrum", "fused"], ...] = Field(
        (), description="which ones; all that model and data have if empty. fused: mean of both unit vectors"
    )
    novelty: NoveltyUse = Field(
        "auto", description="column of how unlike the training each object is, where `calibrate` kept its statistics"
    )
    normalise: bool = Field(False, description="write unit vectors; as published, vectors are not normalised")
