"""The table of families, and what each brings: behind help, dispatch, recipes, `inspect` and the demo.

A family is a package with one object `FAMILY`. Those that polycli ships stand in `SHIPPED`, one line each; an installed
package adds its own with an entry point in the group `polycli.families`. Nothing heavy is imported to know about a
family: what needs torch is named as `package.module:NAME` and fetched by `resolve` when it is used.
"""

from __future__ import annotations

import difflib
import importlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from polycli import console
from polycli.errors import UserError
from polycli.plugins import load_plugin, plugin_names
from polycli.references import resolve

if TYPE_CHECKING:
    from torch import Tensor

#: By name: where the `FAMILY` of each family that polycli ships is.
SHIPPED: dict[str, str] = {
    "mpp": "polycli.mpp:FAMILY",
    "xval": "polycli.xval:FAMILY",
    "astroclip": "polycli.astroclip:FAMILY",
}
#: The group of entry points by which an installed package brings a family: `NAME = "package:FAMILY"`.
ENTRY_POINTS = "polycli.families"
#: The verbs that take a family, in the order of use.
VERBS: tuple[str, ...] = ("prepare", "pretrain", "finetune", "calibrate", "eval", "predict", "embed", "study")
#: Verbs that are the same for every family, and the schemas of their recipes.
SHARED_RECIPES: dict[str, str] = {"study": "polycli.workflow.study.recipe:StudyRecipe"}
_PLAIN_NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """One public checkpoint of a family's original project, or a word on why there is none."""

    name: str
    project: str
    address: str | None
    #: As the project's LICENSE file says.
    licence: str
    parameters: int | None = None
    remark: str = ""
    #: What the model is for, in a few words.
    does: str = ""
    #: The repository on huggingface.co, from which `weights get` fetches; None where it is published otherwise.
    repository: str | None = None
    #: The hash of the published file; None where the project states none.
    sha256: str | None = None

    @property
    def short_name(self) -> str:
        """The name as `weights get` takes it: `mpp-avit-ti`."""
        return self.name.lower().replace(" ", "-")

    @property
    def size(self) -> str:
        """The number of parameters in millions, `?` where it is not known."""
        return "?" if self.parameters is None else f"{self.parameters / 1e6:.2f} M"


class Inspector:
    """The facts that `polycli inspect` tells about a family's files beyond those that it tells of any.
    By default, nothing.
    """

    def store(self, about: Mapping[str, Any]) -> Mapping[str, object]:  # noqa: ARG002
        """Facts from the `about` section of a store's manifest, by their names."""
        return {}

    def columns(self, store: Path) -> Mapping[str, str]:  # noqa: ARG002
        """Describes each column of a store by its name: unit, range, and how many values are absent."""
        return {}

    def rows(self, store: Path, count: int) -> Mapping[str, Sequence[object]]:  # noqa: ARG002
        """The columns of a store's first rows, by name."""
        return {}

    def scores(self, scores: Mapping[str, Any]) -> Mapping[str, object]:  # noqa: ARG002
        """Facts from scores.json; empty where the scores are not of this family."""
        return {}

    def source_file(self, path: Path) -> Mapping[str, object]:  # noqa: ARG002
        """Describes what `prepare` would find in a source file (HDF5); empty where it is none of this family."""
        return {}

    def records_file(self, path: Path) -> Mapping[str, object]:  # noqa: ARG002
        """Describes what `prepare` would make of a table or of JSON; empty where it is none of this family."""
        return {}

    def tensors(self, tensors: Mapping[str, Tensor]) -> str | None:  # noqa: ARG002
        """The sizes of the model that the tensors of a published checkpoint make; None where they make none."""
        return None


@dataclass(frozen=True, kw_only=True)
class Family:
    """The definition of a family: its doors and its data, as plain values and references that are fetched when used.

    `polycli VERB NAME` calls `run(request)` in the module `PACKAGE.VERB`; a verb without a module is one that the
    family does not have.
    """

    name: str
    #: In one line, for `polycli --help`.
    about: str
    #: The package whose modules are the verbs.
    package: str
    #: By verb: the schema of its recipes, a `Section`.
    recipes: Mapping[str, str] = field(default_factory=dict)
    #: By verb that takes no recipe: the schema of what `--set` may say, a `Section`.
    settings: Mapping[str, str] = field(default_factory=dict)
    #: By the name that `--source` takes: the class that reads it.
    sources: Mapping[str, str] = field(default_factory=dict)
    #: By the name that `export --format` takes: the function (store, output, force) that writes a store in that format.
    exports: Mapping[str, str] = field(default_factory=dict)
    #: For hints where there is no data yet: the lines that make a store, from files and without any.
    first_store: str | None = None
    #: The lines of `polycli demo NAME`, without `polycli`; `{demo}` is the folder, the report goes to `{demo}/report`.
    demo: tuple[str, ...] = ()
    #: The public checkpoints of the original project.
    weights: tuple[PublishedWeights, ...] = ()
    #: The family's own class of `Inspector`.
    inspector: str | None = None
    #: The class that shows the rows of a store, `polycli.workflow.pictures.Pictures`; None where they have no pictures.
    pictures: str | None = None

    def __post_init__(self) -> None:
        """Refuse a name that could be no word of a command line and no part of a path."""
        if not _PLAIN_NAME.fullmatch(self.name):
            raise ValueError(f"a family's name is of small letters, digits and _, found {self.name!r}")

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs that the family has, in the order of use."""
        return tuple(v for v in VERBS if v in SHARED_RECIPES or find_spec(f"{self.package}.{v}") is not None)

    def door(self, verb: str) -> ModuleType:
        """The module whose `run` does `polycli VERB NAME`."""
        return importlib.import_module(f"{self.package}.{verb}")

    def inspects(self) -> Inspector:
        """The family's inspector, or one that knows nothing."""
        found: Inspector = Inspector() if self.inspector is None else resolve(self.inspector)()
        return found


def find_family(name: str) -> Family:
    """The family of this name.

    Raises:
        UserError: no family has this name, or the package that brings it cannot be used.
    """
    if name in SHIPPED:
        family: Family = resolve(SHIPPED[name])
        return family
    installed = load_plugin(ENTRY_POINTS, SHIPPED, name, what="the family")
    if installed is None:
        names = family_names()
        near = difflib.get_close_matches(name.lower(), names, n=1)
        suggestion = f"; did you mean {near[0]}?" if near else ""
        raise UserError(f"there is no family {name!r}: the families are {', '.join(names)}{suggestion}")
    if not isinstance(installed, Family) or installed.name != name:
        raise UserError(
            f"the entry point {name} in {ENTRY_POINTS} is to name a Family called {name!r}, and names {installed!r}"
        )
    return installed


def family_names() -> tuple[str, ...]:
    """The names of all families: shipped ones first, then those of installed packages."""
    return (*SHIPPED, *plugin_names(ENTRY_POINTS, SHIPPED))


def all_families() -> tuple[Family, ...]:
    """Every family that can be used; one that an installed package brings and that cannot be is left out, and said."""
    families = []
    for name in family_names():
        try:
            families.append(find_family(name))
        except UserError as error:
            console.warn(f"{error.message}; it is left out")
    return tuple(families)


def require_verb(family: str, verb: str) -> None:
    """Make sure that `polycli VERB FAMILY` exists.

    Raises:
        UserError: no such family, or it does not have this verb in this version.
    """
    present = find_family(family).verbs
    if verb not in present:
        raise UserError(
            f"{family} does not have the verb `{verb}` in this version: it has {', '.join(present)}",
            hint="polycli --help lists what there is",
        )


def verb_module(family: str, verb: str) -> ModuleType:
    """The module whose `run` does `polycli VERB FAMILY`.

    Raises:
        UserError: as `require_verb`.
    """
    require_verb(family, verb)
    return find_family(family).door(verb)
