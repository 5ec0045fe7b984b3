"""xVal (Golkar et al. 2023): text with numbers that stay numbers, one continuous token each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polycli.families import Family, PublishedWeights
from polycli.references import lazily

if TYPE_CHECKING:
    from polycli.xval.data.store import open_records
    from polycli.xval.model.weights import load_model

__all__ = ["FAMILY", "load_model", "open_records"]

FAMILY = Family(
    name="xval",
    about="xVal: text with continuous numbers",
    package=__name__,
    recipes={
        "prepare": "polycli.xval.recipe.training:PrepareRecipe",
        "pretrain": "polycli.xval.recipe.training:PretrainRecipe",
        "finetune": "polycli.xval.recipe.training:FinetuneRecipe",
    },
    settings={
        "calibrate": "polycli.xval.recipe.settings:CalibrateSettings",
        "eval": "polycli.xval.recipe.settings:EvalSettings",
        "predict": "polycli.xval.recipe.settings:PredictSettings",
        "embed": "polycli.xval.recipe.settings:EmbedSettings",
    },
    sources={
        "json": "polycli.xval.sources.json:JsonSource",
        "python-lines": "polycli.xval.sources.python_lines:PythonLinesSource",
        "table": "polycli.xval.sources.table:TableSource",
        "text": "polycli.xval.sources.text:TextSource",
        "planets": "polycli.xval.sources.planets:PlanetsSource",
        "arithmetic": "polycli.xval.sources.arithmetic:ArithmeticSource",
        "temperature": "polycli.xval.sources.temperature:TemperatureSource",
    },
    first_store=(
        "make a store with `polycli prepare xval --source json --input FILE.jsonl --output records.zarr` or, without "
        "data, `polycli prepare xval --source planets --output planets.zarr`, then add `--data records.zarr`"
    ),
    demo=(
        "prepare xval --source planets --recipe xval_demo_data --output {demo}/planets.zarr",
        "pretrain xval --recipe xval_demo --data {demo}/planets.zarr --output {demo}/run",
        # The axes of a system's planets are evenly spaced: each tells the others, so they are hidden together.
        (
            "eval xval --checkpoint {demo}/run --data {demo}/planets.zarr --output {demo}/report"
            " --set 'groups=[[description.planet*.a]]'"
            " --set sweep.vary=description.planet0.e --set 'sweep.predict=[description.planet*.a]'"
        ),
    ),
    weights=(
        PublishedWeights(
            name="xVal",
            does="fills in numbers of text",
            project="https://github.com/PolymathicAI/xVal",
            address=None,
            licence="none",
            remark="the project published neither weights nor a licence",
        ),
    ),
    inspector="polycli.xval.inspection:XvalInspector",
)

__getattr__ = lazily(
    __name__,
    {
        "load_model": "polycli.xval.model.weights:load_model",
        "open_records": "polycli.xval.data.store:open_records",
    },
)
