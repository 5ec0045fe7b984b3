"""Tells `polycli inspect` about MPP's stores, evaluations, PDEBench files and published weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from polycli.console import counted
from polycli.errors import SourceError
from polycli.families import Inspector
from polycli.store.manifest import read_manifest
from polycli.workflow.sources import load_source

if TYPE_CHECKING:
    from torch import Tensor

    from polycli.mpp.data.source import Source


class MppInspector(Inspector):
    """Facts of this family, by their names."""

    def store(self, about: Mapping[str, Any]) -> Mapping[str, object]:
        """Physics, fields with units, grid, time step, boundary conditions, parameters and constants."""
        known = {"grid", "extent", "dt"} <= about.keys()
        return {
            "physics": about.get("physics"),
            "fields": [
                f"{name} [{unit}]" if unit else name
                for name, unit in zip(about.get("fields", ()), about.get("units", ()), strict=False)
            ],
            "grid": "; ".join(
                f"{points} points along {axis}, {low:g} to {high:g}"
                for axis, points, (low, high) in zip("xy", about["grid"], about["extent"], strict=False)
            )
            if known
            else None,
            "time step": f"{about['dt']:g}" if known else None,
            "boundaries": about.get("boundary_conditions"),
            "parameters": about.get("parameter_names") or None,
            "constants": about.get("constants"),
        }

    def columns(self, store: Path) -> Mapping[str, str]:
        """Ranges, means and deviations of the fields, from the training split, as the manifest has them."""
        manifest = read_manifest(store)
        units = dict(zip(manifest.about.get("fields", ()), manifest.about.get("units", ()), strict=False))
        return {
            name: f"{entry['min']:g} to {entry['max']:g}{f' [{units[name]}]' if units.get(name) else ''}, mean "
            f"{entry['mean']:.3g}, standard deviation {entry['std']:.3g}; no gaps"
            for fields in manifest.statistics.values()
            for name, entry in fields.items()
            if {"min", "max", "mean", "std"} <= entry.keys()
        }

    def scores(self, scores: Mapping[str, Any]) -> Mapping[str, object]:
        """The VRMSE of one step by dataset, and how it compares with predicting no change."""
        ratios = {
            name: found.get("one_step", {}).get("vrmse", {}) for name, found in scores.get("datasets", {}).items()
        }
        return {
            "one step": [
                f"{name} VRMSE {entry['model']:.3g}, {entry['ratio']:.3g} of persistence"
                for name, entry in ratios.items()
                if isinstance(entry.get("model"), float) and isinstance(entry.get("ratio"), float)
            ],
        }

    def source_file(self, path: Path) -> Mapping[str, object]:
        """Describes what `prepare mpp` would find in a file of The Well, PDEArena or PDEBench."""
        for name, source in (("The Well", "well"), ("PDEArena", "pdearena")):
            reader = load_source("mpp", source)
            if reader.accepts(path):
                return _described(name, reader, path)
        from polycli.mpp.sources.pdebench_layouts import NotPdebenchError, survey_file

        try:
            surveys = survey_file(path, path.name)
        except NotPdebenchError:
            return {}
        except SourceError as error:
            return {"beware": f"near PDEBench's layout, and not in it: {error.message.removeprefix(f'{path}: ')}"}
        found = [
            f"{survey.physics}, {counted(len(survey.members), 'trajectory', 'trajectories')} of "
            f"{' or '.join(map(str, sorted({len(member.time) for member in survey.members})))} frames, "
            f"{survey.grid[0]} x {survey.grid[1]}"
            for survey in surveys
            if survey.members
        ]
        reasons = [left.reason for survey in surveys for left in survey.rejected]
        return {"PDEBench": "; ".join(found), "left out": f"{len(reasons)}: {reasons[0]}" if reasons else None}

    def tensors(self, tensors: Mapping[str, Tensor]) -> str | None:
        """Describes the sizes of an AViT; None where the tensors are of no such model."""
        from polycli.mpp.model.weights import LANDMARKS, infer_section

        if any(name not in tensors for name in LANDMARKS):
            return None
        sizes = infer_section(tensors)
        return f"{len(sizes['fields'])} states, " + ", ".join(
            f"{name} {value}" for name, value in sizes.items() if name != "fields"
        )


def _described(name: str, reader: Source, path: Path) -> Mapping[str, object]:
    from polycli.mpp.recipe.training import PrepareRecipe

    try:
        datasets = reader.open([path], PrepareRecipe(family="mpp", verb="prepare"), None)
    except SourceError as error:
        return {"beware": f"{name}'s layout, and not as prepare needs it: {error.message.removeprefix(f'{path}: ')}"}
    return {
        name: "; ".join(
            f"{dataset.name}, {counted(len(dataset.row_ids), 'trajectory', 'trajectories')} of {len(dataset.time)} "
            f"frames, {dataset.about.grid[0]} x {dataset.about.grid[1]}, dt {dataset.about.dt:g}"
            for dataset in datasets
        ),
        "fields": datasets[0].about.fields,
        "boundaries": datasets[0].about.boundary_conditions,
    }
