"""Votes of simulated volunteers on mock galaxies: what they would be asked, and how many give each answer.

A galaxy is shown to 40 to 80 volunteers. Each answers with a probability that follows what is known of the galaxy,
steeply where it is clear and evenly where it is not, and goes down the tree with the answer, as in Galaxy Zoo.
"""

from __future__ import annotations

import math

import numpy as np

from polycli.astroclip.data.description import PIXEL_SCALE
from polycli.astroclip.recipe.trees import TREES
from polycli.astroclip.sources.mock.images import Look
from polycli.astroclip.sources.mock.population import Galaxies

#: The columns of votes, in the order in which they are counted.
COLUMNS = tuple(column for answers, _ in TREES["mock"].values() for column in answers)
#: Fewest and most volunteers of a galaxy.
_VOLUNTEERS = (40, 80)
#: Of one who does not look, or does not know: how often an answer is given that nothing speaks for.
_CARELESS = 0.04
#: A neighbour so near (arcsec) and so bright in r (mag AB) makes a close pair: about one galaxy in sixty.
_NEAR, _BRIGHT = 7.4, 19.75


def draw_votes(seed: int, number: int, galaxies: Galaxies, index: int, look: Look) -> tuple[int, ...]:
    """Votes for each of `COLUMNS` on galaxy `number` of a survey, the one at `index` of its block.

    They are drawn by a generator of their own, so that images and spectra are the same with or without them.
    """
    generator = np.random.default_rng([seed, 3, number])
    volunteers = int(generator.integers(_VOLUNTEERS[0], _VOLUNTEERS[1] + 1))

    def answered(asked: int, probability: float) -> tuple[int, int]:
        yes = int(generator.binomial(asked, _CARELESS + (1 - 2 * _CARELESS) * probability))
        return yes, asked - yes

    smooth = answered(volunteers, _rises(float(galaxies.bulge_fraction[index]), 0.5, 0.06))
    edge_on = answered(smooth[1], _rises(-float(galaxies.axis_ratio[index]), -0.3, 0.03))
    # Arms and bars of small galaxies blur: half of the volunteers see them where half the light is within 1.6 arcsec.
    seen = _rises(look.radius, 6.0, 2.0)
    spiral = answered(edge_on[1], seen if look.spiral else 0.0)
    bar = answered(edge_on[1], seen if look.bar else 0.0)
    pair = answered(volunteers, 1.0 if is_close_pair(look) else 0.0)
    return (*smooth, *edge_on, *spiral, *bar, *pair)


def is_close_pair(look: Look) -> bool:
    """Whether another galaxy is near and bright enough that people take the two for a pair."""
    return any(
        other.radius > 0
        and math.hypot(other.x, other.y) * PIXEL_SCALE < _NEAR
        and 22.5 - 2.5 * math.log10(other.flux[1]) < _BRIGHT
        for other in look.neighbours
    )


def _rises(value: float, middle: float, width: float) -> float:
    """Returns the logistic function of a value, which is one half at the middle."""
    return 1 / (1 + math.exp(-max(-60.0, min(60.0, (value - middle) / width))))
