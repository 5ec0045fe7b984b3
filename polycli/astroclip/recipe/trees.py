"""Decision trees of Galaxy Zoo by name: their questions, the columns that count votes, and when each is asked.

Columns are those of the released tables: Galaxy Zoo DECaLS, campaign 5 (Walmsley et al. 2022), and Galaxy Zoo 2
(Willett et al. 2013, Hart et al. 2016). Task 8 of Galaxy Zoo 2 is left out: a volunteer may give several answers to it.
"""

from __future__ import annotations

#: By question the answer of another one, as (question, answers), after which it is asked; None: always.
Asked = tuple[str, tuple[str, ...]] | None

#: Questions of Galaxy Zoo DECaLS and their answers, as its columns spell them.
GALAXY_ZOO_DECALS: dict[str, tuple[str, ...]] = {
    "smooth-or-featured": ("smooth", "featured-or-disk", "artifact"),
    "disk-edge-on": ("yes", "no"),
    "has-spiral-arms": ("yes", "no"),
    "bar": ("strong", "weak", "no"),
    "bulge-size": ("dominant", "large", "moderate", "small", "none"),
    "how-rounded": ("round", "in-between", "cigar-shaped"),
    "edge-on-bulge": ("boxy", "none", "rounded"),
    "spiral-winding": ("tight", "medium", "loose"),
    "spiral-arm-count": ("1", "2", "3", "4", "more-than-4", "cant-tell"),
    "merging": ("none", "minor-disturbance", "major-disturbance", "merger"),
}
_FACE_ON = ("disk-edge-on", ("no",))
_SPIRAL = ("has-spiral-arms", ("yes",))
_DECALS_ASKED: dict[str, Asked] = {
    "disk-edge-on": ("smooth-or-featured", ("featured-or-disk",)),
    "has-spiral-arms": _FACE_ON,
    "bar": _FACE_ON,
    "bulge-size": _FACE_ON,
    "how-rounded": ("smooth-or-featured", ("smooth",)),
    "edge-on-bulge": ("disk-edge-on", ("yes",)),
    "spiral-winding": _SPIRAL,
    "spiral-arm-count": _SPIRAL,
    # Of all that are galaxies.
    "merging": ("smooth-or-featured", ("smooth", "featured-or-disk")),
}
_GALAXY_ZOO_2: dict[str, tuple[str, ...]] = {
    "t01_smooth_or_features": ("a01_smooth", "a02_features_or_disk", "a03_star_or_artifact"),
    "t02_edgeon": ("a04_yes", "a05_no"),
    "t03_bar": ("a06_bar", "a07_no_bar"),
    "t04_spiral": ("a08_spiral", "a09_no_spiral"),
    "t05_bulge_prominence": ("a10_no_bulge", "a11_just_noticeable", "a12_obvious", "a13_dominant"),
    "t06_odd": ("a14_yes", "a15_no"),
    "t07_rounded": ("a16_completely_round", "a17_in_between", "a18_cigar_shaped"),
    "t09_bulge_shape": ("a25_rounded", "a26_boxy", "a27_no_bulge"),
    "t10_arms_winding": ("a28_tight", "a29_medium", "a30_loose"),
    "t11_arms_number": ("a31_1", "a32_2", "a33_3", "a34_4", "a36_more_than_4", "a37_cant_tell"),
}
_ZOO_2_FACE_ON = ("t02_edgeon", ("a05_no",))
_ZOO_2_SPIRAL = ("t04_spiral", ("a08_spiral",))
_ZOO_2_ASKED: dict[str, Asked] = {
    "t02_edgeon": ("t01_smooth_or_features", ("a02_features_or_disk",)),
    "t03_bar": _ZOO_2_FACE_ON,
    "t04_spiral": _ZOO_2_FACE_ON,
    "t05_bulge_prominence": _ZOO_2_FACE_ON,
    "t06_odd": ("t01_smooth_or_features", ("a01_smooth", "a02_features_or_disk")),
    "t07_rounded": ("t01_smooth_or_features", ("a01_smooth",)),
    "t09_bulge_shape": ("t02_edgeon", ("a04_yes",)),
    "t10_arms_winding": _ZOO_2_SPIRAL,
    "t11_arms_number": _ZOO_2_SPIRAL,
}
#: What the simulated survey asks its volunteers.
_MOCK: dict[str, tuple[str, ...]] = {
    "shape": ("smooth", "disk"),
    "edge_on": ("yes", "no"),
    "spiral": ("yes", "no"),
    "bar": ("yes", "no"),
    "close_pair": ("yes", "no"),
}
_MOCK_ASKED: dict[str, Asked] = {
    "edge_on": ("shape", ("disk",)),
    "spiral": ("edge_on", ("no",)),
    "bar": ("edge_on", ("no",)),
}


def _tree(
    answers: dict[str, tuple[str, ...]], asked: dict[str, Asked], ending: str = ""
) -> dict[str, tuple[tuple[str, ...], Asked]]:
    """Maps each question to the columns of its answers, and to those after which it is asked."""
    found: dict[str, tuple[tuple[str, ...], Asked]] = {}
    for question, names in answers.items():
        after = asked.get(question)
        if after is not None:
            after = (after[0], tuple(f"{after[0]}_{name}{ending}" for name in after[1]))
        found[question] = tuple(f"{question}_{name}{ending}" for name in names), after
    return found


#: By name of a tree and by question: the columns that count votes, and the question and its columns before.
TREES = {
    "gz_decals": _tree(GALAXY_ZOO_DECALS, _DECALS_ASKED),
    "gz2": _tree(_GALAXY_ZOO_2, _ZOO_2_ASKED, "_count"),
    "mock": _tree(_MOCK, _MOCK_ASKED),
}
