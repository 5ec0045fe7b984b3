"""Multiple Physics Pretraining (McCabe et al. 2024): one axial vision transformer for many PDEs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polycli.families import Family, PublishedWeights
from polycli.references import lazily

if TYPE_CHECKING:
    from polycli.mpp.model.weights import load_model

__all__ = ["FAMILY", "load_model"]

#: Millions of parameters of the published sizes: Table 1 of the paper, at the twelve states of the files.
_SIZES = {"Ti": 7.29, "S": 28.98, "B": 115.61, "L": 407.06}

FAMILY = Family(
    name="mpp",
    about="Multiple Physics Pretraining: one axial vision transformer for many PDEs",
    package=__name__,
    recipes={
        "pretrain": "polycli.mpp.recipe.training:PretrainRecipe",
        "finetune": "polycli.mpp.recipe.training:FinetuneRecipe",
        "prepare": "polycli.mpp.recipe.training:PrepareRecipe",
    },
    settings={
        "calibrate": "polycli.mpp.recipe.settings:CalibrateSettings",
        "eval": "polycli.mpp.recipe.settings:EvalSettings",
        "predict": "polycli.mpp.recipe.settings:PredictSettings",
        "embed": "polycli.mpp.recipe.settings:EmbedSettings",
    },
    sources={
        "pdebench": "polycli.mpp.sources.pdebench:PdebenchSource",
        "well": "polycli.mpp.sources.well:WellSource",
        "pdearena": "polycli.mpp.sources.pdearena:PdearenaSource",
        "arrays": "polycli.mpp.sources.arrays:ArraysSource",
        "simulate": "polycli.mpp.sources.simulate:SimulateSource",
    },
    exports={"well": "polycli.mpp.data.well_export:export_well"},
    first_store=(
        "make stores with `polycli prepare mpp --source pdebench --input PDEBENCH/2D --output stores/` or, without "
        "data, `polycli prepare mpp --source simulate --recipe mpp_demo_data --output stores/`, "
        "then add `--data stores/`"
    ),
    demo=(
        "prepare mpp --source simulate --recipe mpp_demo_data --output {demo}/stores",
        "pretrain mpp --recipe mpp_demo --data {demo}/stores --output {demo}/run",
        "eval mpp --checkpoint {demo}/run --data {demo}/stores --output {demo}/report",
    ),
    weights=tuple(
        PublishedWeights(
            name=f"MPP AViT-{size}",
            project="https://github.com/PolymathicAI/multiple_physics_pretraining",
            address="https://drive.google.com/drive/folders/1Qaqa-RnzUDOO8-Gi4zlf4BE53SfWqDwx",
            licence="MIT",
            does="forecasts the next frame of 2-D flows and reactions on any grid, from 16 frames",
            parameters=round(millions * 1e6),
            remark="12 states; download the .tar and give it as CHECKPOINT" if size == "Ti" else "",
        )
        for size, millions in _SIZES.items()
    ),
    inspector="polycli.mpp.inspection:MppInspector",
)

__getattr__ = lazily(__name__, {"load_model": "polycli.mpp.model.weights:load_model"})
