"""A page over made-up embeddings, whose rows have pictures that need no store."""

import numpy as np
import pytest
from starlette.testclient import TestClient

from polycli.errors import SourceError
from polycli.page.app import create_app
from polycli.page.guard import Hosts
from polycli.page.library import Library
from polycli.page.uploads import Uploads
from polycli.search.encode import FileObject
from polycli.search.projection import make_map, map_path, read_map
from polycli.search.searcher import Searcher
from polycli.workflow.pictures import Curve, PictureBook
from tests.search.made import WIDTH, catalogue, vectors, write

ADDRESS = "http://127.0.0.1:8765"
LARGEST = 50_000


class MadeUpPictures:
    """An image in one colour and a rising line for every row but the one with the id J00000."""

    has_images = True
    has_curves = True

    def find(self, columns):
        number = int(str(columns["object_id"])[1:])
        return number or None

    def image(self, place):
        return np.full((8, 6, 3), place % 256, np.uint8)

    def curve(self, place):
        return Curve(np.arange(1000.0), place * np.arange(1000.0), "wavelength", "flux")


class MadeUpReader:
    """Takes the number that a file ends with for a row, whose vectors it has."""

    def __init__(self, searcher):
        self.searcher, self.seen = searcher, []

    def object_of(self, path, wanted=None):
        self.seen.append(path)
        text = path.read_bytes().rpartition(b" ")[2].decode()
        if not text.isdigit():
            raise SourceError(f"{path}: holds 2 objects, and one is looked for")
        vector = self.searcher.vectors([int(text)], "spectrum_embedding")[0]
        curve = Curve(np.arange(3.0), np.array([1.0, np.nan, int(text)]), "wavelength", "flux")
        return FileObject("4711", {"spectrum": vector}, np.full((8, 6, 3), int(text), np.uint8), curve)


@pytest.fixture(scope="session")
def survey(tmp_path_factory):
    """Embeddings with a map beside them."""
    folder = tmp_path_factory.mktemp("page")
    columns = {"image_embedding": vectors(), "spectrum_embedding": vectors(seed=2)}
    path = write(folder / "survey.parquet", catalogue(), columns)
    make_map(Searcher.open(path), map_path(path), method="pca", neighbours=5)
    return path


@pytest.fixture(scope="session")
def library(survey):
    searcher = Searcher.open(survey)
    uploads = Uploads(MadeUpReader(searcher), largest=LARGEST)
    return Library(searcher, PictureBook([MadeUpPictures()]), read_map(map_path(survey), searcher), uploads)


@pytest.fixture(scope="session")
def client(library):
    """What a program on this machine asks the page's server with."""
    return TestClient(create_app(library, Hosts()), base_url=ADDRESS, raise_server_exceptions=False)


@pytest.fixture(scope="session")
def width():
    return WIDTH
