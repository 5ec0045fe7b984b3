"""Prepares one store of objects: one or two sources, paired, with catalogues joined on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from polycli import console
from polycli.astroclip.data.description import ImageDescription, PairingDescription, SpectrumDescription
from polycli.astroclip.data.judging.flags import sentence_of
from polycli.astroclip.data.publishing import Plan, about, summarise
from polycli.astroclip.data.source import Listing, Source
from polycli.astroclip.data.staging import BLOCK, BlockTask, stage
from polycli.astroclip.data.survey import Survey, gather, inputs_of, with_distinct_names
from polycli.astroclip.data.tables.hats_tables import hats_files
from polycli.astroclip.recipe.preparing import PrepareRecipe
from polycli.errors import UserError
from polycli.files.hats_folders import is_hats
from polycli.paths import plain_path
from polycli.store.manifest import LeftOut, Manifest, SourceFile
from polycli.workflow.prepare import Preparation
from polycli.workflow.prepared_stores import DraftedStore, DryRun, size_of
from polycli.workflow.sources import load_source
from polycli.workflow.store_plans import Draft

#: Between two sources whose objects are paired: --source legacysurvey+desi.
_AND = "+"
#: Sections of the recipe that decide what is read, by the source that they are for.
_SECTIONS = {
    "arrays": ("arrays",),
    "desi": ("desi",),
    "hats": ("arrays", "mmu"),
    "mmu": ("arrays", "mmu"),
    "spectra": ("spectra",),
    "mock": ("mock",),
}
#: What one process stages, for estimates: reading, checks, hashing, writing and reading back.
BYTES_PER_SECOND = 40e6


@dataclass(frozen=True, kw_only=True)
class ObjectFacts:
    """Facts that a dry run tells of objects; None for a modality that they have not, and where nothing was paired."""

    image: ImageDescription | None
    spectrum: SpectrumDescription | None
    #: The names of the columns.
    properties: Sequence[str]
    pairing: PairingDescription | None
    rejected: Sequence[LeftOut]


@dataclass(frozen=True, kw_only=True)
class Paired:
    """How many pairs a store has, None where nothing was paired; and by doubt how many objects are flagged."""

    pairs: int | None
    flagged: Mapping[str, int]


class ObjectPreparation(Preparation[PrepareRecipe, Survey, BlockTask, ObjectFacts]):
    """One store of the objects of one source, or of the pairs of two."""

    family = "astroclip"
    row, rows_are = "object", "objects"
    counted = ("object", "objects")
    doing = "preparing objects"

    def drafts(self) -> list[Draft[Survey]]:
        """Returns one draft, of all objects."""
        request, recipe = self.request, self.recipe
        names = request.source.split(_AND)
        sources = load_sources(names)
        shares = inputs_of(sources, names, request.inputs)
        # A pair is cut after it is made, or little of it would be left.
        limit = request.limit if len(sources) == 1 else None
        listings: list[Listing] = [
            source.open(share, recipe, limit) for source, share in zip(sources, shares, strict=True)
        ]
        listings = with_distinct_names(listings, shares)
        survey = gather(request.output.name.removesuffix(".zarr"), listings, recipe, request.limit)
        _say_pairs(survey)
        files = [file for listing in survey.listings for file in zip(listing.files, listing.file_names, strict=True)]
        for section in recipe.catalogues:
            path = plain_path(section.path)
            files += hats_files(path) if is_hats(path) else [(path, path.name)]
        return [
            Draft(
                name=survey.name,
                target=request.output,
                content=survey,
                files=tuple(files),
                pieces=-(-len(survey) // BLOCK),
                # Blocks are staged before they are joined.
                bytes=2 * _bytes(survey),
            )
        ]

    def plan(self, draft: Draft[Survey], sources: Sequence[SourceFile]) -> Plan:
        """The plan for the survey, with the settings that decided its content."""
        request, recipe = self.request, self.recipe
        sections = {"select", "quality", "images", "split", "pair", "resample"}
        sections |= {section for source in request.source.split(_AND) for section in _SECTIONS.get(source, ())}
        options = {
            "source": request.source,
            "limit": request.limit,
            **recipe.model_dump(mode="json", include=sections),
            "catalogues": [
                {**section.model_dump(mode="json"), "path": Path(section.path).name} for section in recipe.catalogues
            ],
        }
        return Plan.of(draft.content, draft.target, recipe, sources, options)

    @staticmethod
    def stage(task: BlockTask) -> None:
        """Read, check and stage one piece."""
        stage(task)

    def size(self, task: BlockTask) -> int:
        """Counts the objects of a task."""
        return len(task.survey)

    def summary(self, manifest: Manifest) -> str:
        """Says how many objects were left out."""
        return f"{len(manifest.rejected)} rejected"

    def describe(self, plan: object, manifest: Manifest) -> Paired:  # noqa: ARG002
        """Returns the number of pairs, and of doubtful objects; says the latter, and what was filled."""
        pairing, flagged = manifest.about["pairing"], manifest.about.get("doubts", {})
        if said := sentence_of(flagged):
            console.note(f"{manifest.name}: {said}")
        return Paired(pairs=None if pairing is None else pairing["pairs"], flagged=flagged)

    def preview(self, draft: Draft[Survey]) -> DraftedStore[ObjectFacts]:
        """Describes the store that would be made, as far as the listings tell."""
        survey = draft.content
        summarise(survey.name, survey.rejected)
        known = [listing.seconds for listing in survey.listings if listing.seconds is not None]
        return DraftedStore(
            path=draft.target,
            name=survey.name,
            rows=len(survey),
            files=sum(len(listing.files) for listing in survey.listings),
            bytes=_bytes(survey),
            seconds=len(survey) * sum(known) + _bytes(survey) / BYTES_PER_SECOND,
            more=ObjectFacts(
                image=survey.image,
                spectrum=survey.spectrum,
                properties=[found.name for found in about(survey).properties],
                pairing=survey.pairing,
                rejected=survey.rejected,
            ),
        )

    def show(self, dry_run: DryRun[ObjectFacts]) -> str:
        """Renders a dry run as text: what would be in the store."""
        store, workers = dry_run.drafts[0], dry_run.workers
        facts = store.more
        lines = [
            f"store       {store.path}",
            f"objects     {store.rows:,}, and {len(facts.rejected):,} rejected before reading",
            f"images      {_image_sentence(facts.image)}",
            f"spectra     {_spectrum_sentence(facts.spectrum)}",
            f"properties  {', '.join(facts.properties) or 'none'}",
            f"size        {size_of(store.bytes)} before compression",
            f"time        {dry_run.minutes(store):.2f} minutes, {console.counted(workers, 'process', 'processes')}",
        ]
        return "\n".join(lines)


def load_sources(names: Sequence[str]) -> list[Source]:
    """The one or two sources that --source names.

    Raises:
        UserError: there is none of that name, or there are more than two.
    """
    sources = [load_source("astroclip", name) for name in names]
    if len(names) > 2:
        raise UserError(f"--source {_AND.join(names)}: one source was expected, or two with {_AND} between them")
    return sources


def _say_pairs(survey: Survey) -> None:
    pairing = survey.pairing
    if pairing is None:
        return
    console.say(
        f"{survey.name}: {pairing.pairs:,} pairs by {pairing.by}; without a partner "
        f"{pairing.images_left:,} images and {pairing.spectra_left:,} spectra"
    )
    if pairing.contested:
        console.warn(
            f"{survey.name}: {pairing.contested:,} further matches within {pairing.radius_arcsec:g} arcsec; "
            "each object went to the nearest that was free, of equally near ones to the earlier in its file"
        )


def _image_sentence(image: ImageDescription | None) -> str:
    if image is None:
        return "none"
    height, width = image.size
    return f"{', '.join(image.bands)}; {height} x {width} pixels of {image.pixel_scale_arcsec:g} arcsec"


def _spectrum_sentence(spectrum: SpectrumDescription | None) -> str:
    if spectrum is None:
        return "none"
    return f"{spectrum.pixels:,} pixels, {spectrum.first:g} to {spectrum.last:g} A"


def _bytes(survey: Survey) -> int:
    """Size of the store before compression."""
    image = 0 if survey.image is None else 4 * len(survey.image.bands) * prod(survey.image.size)
    spectrum = 0 if survey.spectrum is None else 9 * survey.spectrum.pixels
    return len(survey) * (image + spectrum + 8 * (len(survey.columns) + len(survey.promised) + 7))
