"""Settings for catalogues that are released in one form: which columns become properties, and how rows find objects.

Each stands behind what the recipe itself says of a catalogue.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from polycli.astroclip.data.table_files import nearest_names
from polycli.astroclip.recipe.preparing import CatalogueSection
from polycli.astroclip.recipe.trees import GALAXY_ZOO_DECALS
from polycli.console import note
from polycli.errors import SourceError

#: What is put behind a question for the number of its answers: in the released tables, and in their description.
_TOTALS = ("total-votes", "total")
#: Of PROVABGS (Hahn et al. 2023): the best fit's mass, which every release has, and what some have besides.
_MASS = "PROVABGS_LOGMSTAR_BF"
_PROVABGS = ("Z_MW", "TAGE_MW", "AVG_SFR", "MAG_G", "MAG_R", "MAG_Z", "MAG_W1", "FIBMAG_R")
_MAGNITUDES = ("MAG_G", "MAG_R", "MAG_Z")
_PROVABGS_REDSHIFT = "Z_HP"
#: Arcsec: the positions of Galaxy Zoo are those of another catalogue than DESI's.
_RADIUS = 2.0


def with_preset(section: CatalogueSection, names: Sequence[str], path: Path) -> CatalogueSection:
    """The section with the settings of its preset for what it leaves out; `names` are the columns of the file.

    Raises:
        SourceError: a column of the preset is missing.
    """
    if section.preset is None:
        return section
    found = _galaxy_zoo(names, path) if section.preset == "gz_decals" else _provabgs(names, path)
    left_out = {key: value for key, value in found.items() if key not in section.model_fields_set}
    return section.model_copy(update=left_out)


def _galaxy_zoo(names: Sequence[str], path: Path) -> dict[str, object]:
    """The votes for each answer and for each question; rows are found by position, since ids are names of the sky.

    A question that the table knows nothing of is said and left out, one that it has in part is refused.
    """
    columns, absent = list[str](), list[str]()
    for question, answers in GALAXY_ZOO_DECALS.items():
        counts = [f"{question}_{answer}" for answer in answers]
        totals = [f"{question}_{end}" for end in _TOTALS]
        if not {*counts, *totals} & {*names}:
            absent.append(question)
            continue
        columns += [_there(name, names, path, "gz_decals") for name in counts]
        columns.append(
            next((name for name in totals if name in names), "") or _there(totals[0], names, path, "gz_decals")
        )
    if not columns:
        question, answers = next(iter(GALAXY_ZOO_DECALS.items()))
        _there(f"{question}_{answers[0]}", names, path, "gz_decals")
    if absent:
        asked = f"{len(absent)} of {len(GALAXY_ZOO_DECALS)} questions"
        note(f"{path}: has no votes on {asked} of preset gz_decals, which are left out: {', '.join(absent)}")
    return {"by": "sky", "radius_arcsec": _RADIUS, "columns": tuple(columns)}


def _provabgs(names: Sequence[str], path: Path) -> dict[str, object]:
    """Masses, metallicities, ages and star formation of fits that worked; rows are found by TARGETID."""
    mass = _there(_MASS, names, path, "provabgs")
    conditions = [f"{name} > 0" for name in (mass, *_MAGNITUDES) if name in names]
    settings: dict[str, object] = {
        "by": "id",
        "columns": (mass, *(name for name in _PROVABGS if name in names)),
        "where": " and ".join(conditions),
    }
    if _PROVABGS_REDSHIFT in names:
        settings["redshift"] = _PROVABGS_REDSHIFT
    return settings


def _there(name: str, names: Sequence[str], path: Path, preset: str) -> str:
    if name not in names:
        raise SourceError(
            f"{path}: has no column {name}, which preset {preset} reads",
            hint=nearest_names(name, list(names), "Without preset, `columns` names those that are to be read."),
        )
    return name
