"""The flow of `polycli prepare` for every family: drafts, hashes of what is read, plans, staged pieces, stores.

    sources --open--> drafts --hash--> plans --stage, piece by piece--> staged rows --publish--> stores

A family says in a `Preparation` what its drafts and plans are; everything else happens here: the recipe, what is there
already, worker processes, parts of a job array, dry runs, disks that may fill, and what is said at the end.
"""

from __future__ import annotations

import shutil
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar, cast

from polycli import console
from polycli.errors import UserError
from polycli.json_records import to_object
from polycli.paths import refuse_unwritable
from polycli.publishing import missing_parents, remove_empty
from polycli.recipes import default_recipe, load_recipe
from polycli.requests import JsonDocument, PrepareRequest
from polycli.sections import Section
from polycli.store.manifest import Manifest, SourceFile, read_manifest
from polycli.store.parts import mine, note_part, note_pieces, refuse_missing
from polycli.store.processes import Workers, processor_count
from polycli.store.source_hashes import NOTES_NAME, hash_sources
from polycli.workflow.prepared_stores import (
    DraftedStore,
    DryRun,
    Facts,
    PreparedStore,
    PreparedStores,
    StagedPart,
    StagedStore,
    size_of,
)
from polycli.workflow.store_plans import Content, Draft, Plan, Task, place_of

Recipe = TypeVar("Recipe", bound=Section)


class Preparation(ABC, Generic[Recipe, Content, Task, Facts]):
    """The part of `prepare` that each family writes itself. `run` is the same for all."""

    family: ClassVar[str]
    #: What a row of a store is called, and several: trajectory, record or object.
    row: ClassVar[str]
    rows_are: ClassVar[str]
    #: One of what a part counts, and several.
    counted: ClassVar[tuple[str, str]]
    #: What a bar of progress says.
    doing: ClassVar[str]

    def __init__(self, request: PrepareRequest, recipe: Recipe | None = None) -> None:
        """Takes a request, whose recipe is read unless it is given."""
        self.request = request
        self.recipe = self.with_defaults(self._read_recipe() if recipe is None else recipe)

    @property
    def folder(self) -> Path:
        """The folder that the stores come to stand in."""
        return self.request.output.parent

    def with_defaults(self, recipe: Recipe) -> Recipe:
        """Return the recipe with what follows from the source where it says nothing; as it is, unless overridden."""
        return recipe

    @abstractmethod
    def drafts(self) -> Sequence[Draft[Content]]:
        """Looks at the sources and returns a draft of each store.

        Raises:
            SourceError: an input is missing, damaged or of no known layout, or there is nothing in it.
        """

    @abstractmethod
    def plan(self, draft: Draft[Content], sources: Sequence[SourceFile]) -> Plan[Task]:
        """The plan for a draft; equal sources and options give an equal fingerprint, wherever files lie."""

    @staticmethod
    @abstractmethod
    def stage(task: Any) -> None:  # noqa: ANN401  # The family's own kind of task.
        """Do one piece, in a worker process."""

    @abstractmethod
    def preview(self, draft: Draft[Content]) -> DraftedStore[Facts]:
        """Describes a draft for a dry run."""

    @abstractmethod
    def show(self, dry_run: DryRun[Facts]) -> str:
        """A dry run as people read it."""

    @abstractmethod
    def summary(self, manifest: Manifest) -> str:
        """The end of the sentence that says what a store has: what was left out, say."""

    def describe(self, plan: Plan[Task], manifest: Manifest) -> object:  # noqa: ARG002
        """Returns facts that only this family has about a store, a record or a mapping; more for the user to know is
        said on stderr.
        """
        return {}

    @abstractmethod
    def size(self, task: Task) -> int:
        """Returns how far a bar of progress goes by one piece."""

    def pieces(self, plan: Plan[Task]) -> int:
        """Returns how many notes of finished work a build has in the end: one for each piece."""
        return len(plan.keys)

    def amount(self, task: Task) -> int:
        """Returns how many of what a part counts are in one piece."""
        return self.size(task)

    def run(self) -> JsonDocument:
        """Prepare what is asked for; returns what was done, or with `dry_run` what would be.

        Raises:
            UserError: input, recipe or output is wrong, or another process makes the same store; nothing was written.
            PolycliError: the disk is full, or a process was killed; what is finished is kept.
        """
        drafts = self.drafts()
        if self.request.dry_run:
            return self._dry_run(drafts)
        plans, new, staged = self._work(drafts)
        if staged is not None:
            return to_object(staged)
        return to_object(PreparedStores(stores=[self._described(plan, new=plan.target in new) for plan in plans]))

    def make(self) -> list[Path]:
        """Prepare, and say nothing of the stores that come of it; returns where they are. Errors as for `run`."""
        plans, _, _ = self._work(self.drafts())
        return [plan.target for plan in plans]

    def _work(self, drafts: Sequence[Draft[Content]]) -> tuple[Sequence[Plan[Task]], set[Path], StagedPart | None]:
        """All plans, which of their stores are new, and, of a part, what it has staged."""
        request, staged = self.request, None
        refuse_unwritable(self.folder, what="stores")
        made = missing_parents(self.folder / "store")
        try:
            with ExitStack() as held, Workers(self._workers(drafts)) as pool:
                plans = self._plans(drafts, pool)
                waiting = self._reserve(plans, held)
                if request.part is not None:
                    staged = self._stage_part(plans, waiting, request.part, pool)
                else:
                    if request.finalize:
                        self._refuse_missing(plans, waiting)
                    else:
                        self._warn_of_full_disk(drafts, waiting)
                    self._build(waiting, pool, held)
        finally:
            remove_empty(made)
        if staged is None:
            shutil.rmtree(self._notes, ignore_errors=True)
        return plans, {plan.target for plan in waiting}, staged

    def _workers(self, drafts: Sequence[Draft[Content]]) -> int:
        asked = processor_count() if self.request.workers is None else self.request.workers
        return max(1, min(asked, sum(draft.pieces for draft in drafts)))

    def _read_recipe(self) -> Recipe:
        """The recipe that was named, or the defaults, with `--set` applied."""
        request = self.request
        if request.recipe is None:
            found = default_recipe(self.family, "prepare", request.overrides)
        else:
            found = load_recipe(request.recipe, family=self.family, verb="prepare", overrides=request.overrides)
        return cast("Recipe", found)  # the family's table of schemas says so

    @property
    def _notes(self) -> Path:
        output = self.request.output
        return output / NOTES_NAME if self.folder == output else output.with_name(output.name + NOTES_NAME)

    def _plans(self, drafts: Sequence[Draft[Content]], pool: Workers) -> list[Plan[Task]]:
        """Hash the source files: content alone decides whether a store is there, or a killed prepare goes on."""
        request = self.request
        paths = list(dict.fromkeys(path for draft in drafts for path, _ in draft.files))
        notes = self._notes if request.part is not None or request.finalize else None
        hashes = hash_sources(paths, pool, notes=notes, part=request.part)
        return [
            self.plan(
                draft,
                [SourceFile(name=name, size=path.stat().st_size, sha256=hashes[path]) for path, name in draft.files],
            )
            for draft in drafts
        ]

    def _reserve(self, plans: Sequence[Plan[Task]], held: ExitStack) -> list[Plan[Task]]:
        """The plans whose stores are not there yet, reserved for this process, or for the parts of one prepare.

        Raises:
            StoreError: something else stands where a store should go, or another process is making it.
        """
        places = {plan.target: place_of(plan) for plan in plans}
        for place in places.values():
            place.refuse_other_target()
        waiting = [plan for plan in plans if not places[plan.target].is_done()]
        for plan in waiting:
            held.enter_context(places[plan.target].reserved(shared=self.request.part is not None))
            note_pieces(places[plan.target].work, self.pieces(plan))
        # Until it was reserved, another process may have made it.
        for plan in [plan for plan in waiting if places[plan.target].is_done()]:
            waiting.remove(plan)
            places[plan.target].clear()
        return waiting

    def _stage_part(
        self, plans: Sequence[Plan[Task]], waiting: Sequence[Plan[Task]], part: tuple[int, int], pool: Workers
    ) -> StagedPart:
        """Stage this part; nothing is published. What a part is does not depend on what is there already."""
        index, count = part
        targets = {plan.target for plan in waiting}
        pieces = mine([(plan, key) for plan in plans for key in plan.keys], part)
        tasks = [(plan.target, plan.task(key)) for plan, key in pieces if plan.target in targets]
        for plan in waiting:
            note_part(place_of(plan).work, part)
        for _, problem in self._staged(tasks, pool):
            if problem is not None:
                raise problem
        staged: Counter[Path] = Counter()
        for target, task in tasks:
            staged[target] += self.amount(task)
        one, many = self.counted
        console.say(
            f"part {index}/{count}: {console.counted(staged.total(), one, many)} staged; when every part is done, run "
            "the same line with --finalize in place of --part"
        )
        return StagedPart(
            part=(index, count),
            staged={many: staged.total()},
            stores=[StagedStore(path=plan.target, staged={many: staged[plan.target]}) for plan in plans],
        )

    def _refuse_missing(self, plans: Sequence[Plan[Task]], waiting: Sequence[Plan[Task]]) -> None:
        """Checks before anything is joined that every piece of every store is there.

        Raises:
            StoreError: a part has not run, or not to its end; the line that makes it is named.
        """
        targets = {plan.target for plan in waiting}
        pieces = [(plan, key) for plan in plans for key in plan.keys]
        undone = [
            number for number, (plan, key) in enumerate(pieces) if plan.target in targets and not plan.is_staged(key)
        ]
        works = [place_of(plan).work for plan in waiting]
        refuse_missing(works, undone, len(pieces), output=self.request.output, line=self.request.line)

    def _build(self, plans: Sequence[Plan[Task]], pool: Workers, held: ExitStack) -> None:
        """Stage all pieces of all plans, and publish each store as soon as its rows are there."""
        owners = {plan.target: plan for plan in plans}
        tasks = [(plan.target, plan.task(key)) for plan in plans for key in plan.keys]
        left = Counter(target for target, _ in tasks)
        failures: list[UserError] = []
        for target, problem in self._staged(tasks, pool):
            if problem is not None:
                self._abandon(owners[target], held)
                raise problem
            left[target] -= 1
            if left[target] == 0:
                try:
                    owners[target].publish()
                except UserError as error:
                    # The other stores are finished first, so that none of their work is lost.
                    failures.append(error)
                    self._abandon(owners[target], held)
        if failures:
            raise failures[0]

    def _abandon(self, plan: Plan[Task], held: ExitStack) -> None:
        """Have a build removed when all processes have stopped: mended, its input or recipe makes another one."""
        if not self.request.finalize:
            held.callback(place_of(plan).clear)

    def _staged(self, tasks: Sequence[tuple[Path, Task]], pool: Workers) -> Iterator[tuple[Path, UserError | None]]:
        """The targets of the pieces, as they are done, and what is wrong with the input of one."""
        with console.progress(sum(self.size(task) for _, task in tasks), self.doing) as bar:
            for (target, task), problem in pool.unordered(partial(_attempt, type(self).stage), tasks):
                bar.advance(self.size(task))
                yield target, problem

    def _described(self, plan: Plan[Task], *, new: bool) -> PreparedStore:
        """Describes a store that is there now, on stderr and as a document."""
        manifest = read_manifest(plan.target)
        one, many = self.row, self.rows_are
        counts = ", ".join(f"{count} {split}" for split, count in manifest.splits.items())
        state = "" if new else "already there, with equal content: "
        rows = console.counted(manifest.rows, one, many)
        console.say(f"{plan.target}: {state}{rows} ({counts}), {self.summary(manifest)}")
        return PreparedStore(
            path=plan.target,
            name=manifest.name,
            new=new,
            rows={many: manifest.rows},
            splits={str(split): count for split, count in manifest.splits.items()},
            rejected=len(manifest.rejected),
            store_hash=manifest.store_hash,
            more=self.describe(plan, manifest),
        )

    def _dry_run(self, drafts: Sequence[Draft[Content]]) -> JsonDocument:
        dry_run = DryRun(workers=self._workers(drafts), drafts=[self.preview(draft) for draft in drafts])
        if not self.request.json:
            console.result(self.show(dry_run))
        return to_object(dry_run.document(self.rows_are))

    def _warn_of_full_disk(self, drafts: Sequence[Draft[Content]], waiting: Sequence[Plan[Task]]) -> None:
        """Compression may yet make it fit, so this is no error."""
        targets = {plan.target for plan in waiting}
        needed = sum(draft.bytes or 0 for draft in drafts if draft.target in targets)
        place = next(folder for folder in (self.folder.absolute(), *self.folder.absolute().parents) if folder.exists())
        free = shutil.disk_usage(place).free
        if needed > free:
            console.warn(
                f"{self.request.output}: {size_of(needed)} are needed before compression, {size_of(free)} are free"
            )


def _attempt(stage: Callable[[Task], None], piece: tuple[Path, Task]) -> UserError | None:
    """Do one piece in a worker process; returned, not raised, an error keeps the piece that it belongs to."""
    try:
        stage(piece[1])
    except UserError as error:
        return error
    return None
