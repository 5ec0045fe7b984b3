"""A writer of records that keeps what it is given, for sources alone."""

import pickle

import pytest

from polycli.xval.recipe.training import PrepareRecipe


class Kept:
    """A RecordWriter that remembers."""

    def __init__(self):
        self.records, self.rejected, self.counts, self.length = {}, {}, {}, 0
        self.groups = {}

    def add(self, value, *, id, group=None):  # noqa: A002  # as RecordWriter
        assert id not in self.records
        self.records[id], self.groups[id] = value, group

    def reject(self, *, id, reason):  # noqa: A002
        self.rejected[id] = reason

    def count(self, what, n=1):
        self.counts[what] = self.counts.get(what, 0) + n

    def characters(self, n):
        self.length += n


@pytest.fixture
def kept():
    return Kept()


@pytest.fixture
def read():
    """Open a source and load all of its blocks, each pickled as on its way to a worker; returns writer and opened."""

    def load(source, *inputs, limit=None, backwards=False, **sections):
        recipe = PrepareRecipe(family="xval", verb="prepare", **sections)
        opened = source.open(inputs, recipe, limit)
        assert len({block.key for block in opened.blocks}) == len(opened.blocks)
        writer = Kept()
        for block in opened.blocks[::-1] if backwards else opened.blocks:
            pickle.loads(pickle.dumps(block)).load(writer)  # noqa: S301  # made here
        return writer, opened

    return load
