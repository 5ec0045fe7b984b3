"""AstroCLIP (Lanusse et al. 2023, Parker et al. 2024): galaxy images and spectra in one space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from polycli.families import Family, PublishedWeights
from polycli.references import lazily

if TYPE_CHECKING:
    from polycli.astroclip.data.store import open_objects
    from polycli.astroclip.model.weights import load_model

__all__ = ["FAMILY", "load_model", "open_objects"]

_PROJECT = "https://github.com/PolymathicAI/AstroCLIP"
_WEIGHTS = "https://huggingface.co/polymathic-ai"

FAMILY = Family(
    name="astroclip",
    about="AstroCLIP: galaxy images and spectra in one space",
    package=__name__,
    recipes={
        "prepare": "polycli.astroclip.recipe.preparing:PrepareRecipe",
        "pretrain": "polycli.astroclip.recipe.training:PretrainRecipe",
        "finetune": "polycli.astroclip.recipe.training:FinetuneRecipe",
    },
    settings={
        "calibrate": "polycli.astroclip.recipe.settings:CalibrateSettings",
        "eval": "polycli.astroclip.recipe.settings:EvalSettings",
        "predict": "polycli.astroclip.recipe.settings:PredictSettings",
        "embed": "polycli.astroclip.recipe.settings:EmbedSettings",
    },
    sources={
        "legacysurvey": "polycli.astroclip.sources.legacysurvey:LegacySurveySource",
        "astroclip": "polycli.astroclip.sources.astroclip:AstroclipSource",
        "sdss": "polycli.astroclip.sources.sdss:SdssSource",
        "hats": "polycli.astroclip.sources.hats.source:HatsSource",
        "mmu": "polycli.astroclip.sources.multimodal.source:MmuSource",
        "fits": "polycli.astroclip.sources.cutouts:CutoutSource",
        "spectra": "polycli.astroclip.sources.spectra.source:SpectraSource",
        "desi": "polycli.astroclip.sources.desi:DesiSource",
        "arrays": "polycli.astroclip.sources.arrays:ArraysSource",
        "mock": "polycli.astroclip.sources.mock:MockSource",
    },
    first_store=(
        "make a store with `polycli prepare astroclip --source NAME --input FILES --output survey.zarr` or, without "
        "data, `polycli prepare astroclip --source mock --output mock.zarr`, then add `--data mock.zarr`"
    ),
    demo=(
        "prepare astroclip --source mock --recipe astroclip_demo_data --output {demo}/mock.zarr",
        "pretrain astroclip --recipe astroclip_demo_spectrum --data {demo}/mock.zarr --output {demo}/spectrum",
        "pretrain astroclip --recipe astroclip_demo_image --data {demo}/mock.zarr --output {demo}/image",
        (
            "pretrain astroclip --recipe astroclip_demo_align --data {demo}/mock.zarr --output {demo}/run"
            " --set init.image={demo}/image --set init.spectrum={demo}/spectrum"
        ),
        "eval astroclip --checkpoint {demo}/run --data {demo}/mock.zarr --output {demo}/report",
    ),
    weights=(
        PublishedWeights(
            name="AstroCLIP",
            project=_PROJECT,
            does="images and spectra of galaxies in one space of 1024 numbers",
            repository="polymathic-ai/astroclip",
            address=f"{_WEIGHTS}/astroclip",
            licence="MIT",
            remark="the aligned pair, 1024 numbers for each image and spectrum",
        ),
        PublishedWeights(
            name="AstroDINO",
            project=_PROJECT,
            does="vectors of galaxy images (g, r, z)",
            repository="polymathic-ai/astrodino",
            address=f"{_WEIGHTS}/astrodino",
            licence="MIT",
            remark="the image encoder alone, ViT-L/12",
        ),
        PublishedWeights(
            name="SpecFormer",
            project=_PROJECT,
            does="vectors of DESI's spectra",
            repository="polymathic-ai/specformer",
            address=f"{_WEIGHTS}/specformer",
            licence="MIT",
            parameters=43_177_750,
            remark="the spectrum encoder alone",
        ),
    ),
    inspector="polycli.astroclip.inspection:AstroclipInspector",
    pictures="polycli.astroclip.data.pictures:ObjectPictures",
)

__getattr__ = lazily(
    __name__,
    {
        "load_model": "polycli.astroclip.model.weights:load_model",
        "open_objects": "polycli.astroclip.data.store:open_objects",
    },
)
