"""Every example in a docstring runs, and the functions that people call from notebooks have one."""

import doctest
import importlib
import inspect
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

import polycli
from polycli.astroclip import prepare as prepare_astroclip
from polycli.astroclip.model.astroclip import AstroClip
from polycli.astroclip.recipe.model import HeadSection, ImageSection
from polycli.astroclip.recipe.model import ModelSection as PairSection
from polycli.checkpoints.exported import ModelDescription, write_model
from polycli.json_records import to_object
from polycli.mpp.model.avit import AViT
from polycli.mpp.recipe.training import ModelSection as AvitSection
from polycli.requests import PrepareRequest
from polycli.store.embeddings.joining import join
from polycli.store.embeddings.manifest import EmbeddingsHeader
from polycli.store.embeddings.parts import PartWriter, with_vectors
from polycli.xval import open_records
from polycli.xval import prepare as prepare_xval
from polycli.xval.data.tokenization import describe_tokenization, tokenization_for
from polycli.xval.model.numformer import Numformer
from polycli.xval.recipe.model import ModelSection as NumformerSection

PACKAGE = Path(polycli.__file__).parent
WITH_EXAMPLES = [path for path in sorted(PACKAGE.rglob("*.py")) if ">>> " in path.read_text(encoding="utf-8")]
PUBLIC = [
    "polycli.mpp:load_model",
    "polycli.xval:load_model",
    "polycli.xval:open_records",
    "polycli.astroclip:load_model",
    "polycli.astroclip:open_objects",
    "polycli.mpp.model.metrics:nrmse",
    "polycli.mpp.model.metrics:vrmse",
    "polycli.report.bootstrap:Bootstrap",
    "polycli.store.embeddings.kind:read_manifest",
]
SYSTEMS = [
    {"star": {"mass": 1.05}, "planets": [{"a": 0.39, "e": 0.2}]},
    {"star": {"mass": 0.8}, "planets": [{"a": 1.5, "e": 0.0}]},
]


def write(folder, family, network, **said):
    description = ModelDescription(
        family=family,
        verb="pretrain",
        version="0",
        step=7,
        model=network.section.model_dump(mode="json"),
        **said,
    )
    folder.mkdir()
    write_model(folder, network.state_dict(), description)


def write_galaxies(folder):
    """A store of four mock pairs, a model of images, and embeddings of as many objects."""
    sizes = ("mock.objects=4", "mock.size=48")
    prepare_astroclip.run(PrepareRequest(source="mock", inputs=(), output=folder / "mock.zarr", overrides=sizes))
    image = ImageSection(size=48, embed_dim=12, depth=1, num_heads=2)
    section = PairSection(image=image, spectrum=None, heads=HeadSection(embed_dim=16))
    write(folder / "galaxies", "astroclip", AstroClip(section))
    rows = with_vectors(pa.table({"object_id": [1, 2, 3, 4]}), {"vector": np.tri(4, 16, dtype=np.float32)})
    (folder / "parts").mkdir()
    with PartWriter(folder / "parts", 0) as writer:
        writer.write({"": rows})
    join(folder / "parts", folder / "galaxies.parquet", EmbeddingsHeader("astroclip", {}, {}, data=["mock.zarr"]))


def write_records(folder):
    """A store of two planetary systems, and a model for them."""
    lines, store = folder / "systems.jsonl", folder / "systems.zarr"
    lines.write_text("".join(json.dumps(system) + "\n" for system in SYSTEMS), encoding="utf-8")
    prepare_xval.run(PrepareRequest(source="json", inputs=(lines,), output=store, overrides=()))
    section = NumformerSection(embed_dim=16, num_heads=2, blocks=1, feed_forward=32, context=64)
    tokenization = tokenization_for(section, None, [open_records(store)])
    network = Numformer(section, tokenization.tokens)
    write(folder / "numformer", "xval", network, **to_object(describe_tokenization(tokenization)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The files that examples name."""
    folder = tmp_path_factory.mktemp("examples")
    fields = tuple(f"shallow_water.{name}" for name in ("height", "velocity_x", "velocity_y"))
    write(folder / "avit", "mpp", AViT(AvitSection(embed_dim=16, num_heads=2, blocks=1, fields=fields)))
    write_records(folder)
    write_galaxies(folder)
    return folder


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_every_example_gives_what_it_shows(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    name = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")
    result = doctest.testmod(importlib.import_module(name), report=False)
    assert result.attempted > 0, f"{path}: no docstring holds its examples"
    assert result.failed == 0


@pytest.mark.parametrize("name", PUBLIC)
def test_what_people_call_from_notebooks_has_an_example(name):
    module, _, attribute = name.partition(":")
    assert ">>> " in inspect.getdoc(getattr(importlib.import_module(module), attribute))
