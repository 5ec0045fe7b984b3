"""Embeddings of every form with the same rows."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from polycli.store.embeddings import hats_form
from tests.search.made import catalogue, vectors, write


@pytest.fixture(scope="session")
def embeddings(tmp_path_factory) -> Callable[[str], Path]:
    """The path of the same embeddings in one form, by its name."""
    folder, made = tmp_path_factory.mktemp("embeddings"), {}

    def of(name: str) -> Path:
        if name not in made:
            columns = {
                "image_embedding": vectors().astype(np.float16),
                "spectrum_embedding": vectors(seed=2).astype(np.float16),
            }
            before, hats_form.PARTITION_ROWS = hats_form.PARTITION_ROWS, 60
            try:
                made[name] = write(folder / name, catalogue(), columns)
            finally:
                hats_form.PARTITION_ROWS = before
        return made[name]

    return of
