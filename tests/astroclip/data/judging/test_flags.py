"""Doubts about objects: the manifest lists the first of each, and counts are of all."""

from polycli.astroclip.data.judging.flags import MOST_LISTED, counts_of, first_of_each
from polycli.store.manifest import LeftOut


def test_the_first_thousand_of_each_doubt_are_listed_and_all_are_counted():
    """A store is opened in no time however many of its spectra are faint."""
    faint = [LeftOut(source="a", id=str(n), reason="low_signal_to_noise: below 0.5") for n in range(MOST_LISTED + 5)]
    blank = [LeftOut(source="a", id="7", reason="image_partly_blank: more than 10 %")]
    listed = first_of_each([*faint, *blank])

    assert listed == [*faint[:MOST_LISTED], *blank]
    assert counts_of([*faint, *blank]) == {"image_partly_blank": 1, "low_signal_to_noise": MOST_LISTED + 5}
