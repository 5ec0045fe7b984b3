"""Tables and figures of posteriors say what scores.json has."""

from types import SimpleNamespace

import numpy as np
from matplotlib import image
from scipy.stats import norm

from polycli.astroclip.scoring.posteriors.distributions import DENSE, Distributions
from polycli.astroclip.scoring.posteriors.figures import draw_pit
from polycli.astroclip.scoring.posteriors.measure import SortedBy, coverage_of, score_posterior
from polycli.astroclip.scoring.posteriors.tables import coverage_table, posterior_table
from polycli.report.bootstrap import Bootstrap


def dataset():
    generator = np.random.default_rng(0)
    truth, magnitude = generator.normal(size=300), generator.uniform(15, 20, 300)
    by = SortedBy(magnitude, truth, predicted=False)
    found = Distributions(DENSE, np.tile(norm.ppf(DENSE), (300, 1)))
    posterior = score_posterior(truth, found, by, Bootstrap(samples=20))
    calibrated = coverage_of(truth, {0.9: (np.full(300, -2.0), np.full(300, 2.0))}, by)
    scores = {
        "z": SimpleNamespace(posterior=posterior, calibrated=calibrated),
        "mean": SimpleNamespace(posterior=None, calibrated=None),
    }
    return SimpleNamespace(head=SimpleNamespace(properties=scores)), posterior


def test_coverage_is_shown_in_percent_by_part():
    found, posterior = dataset()
    table = coverage_table("mock", found)
    assert len(table.rows) == 2 * (1 + 3 + 3)
    assert all(len(row) == len(table.columns) for row in table.rows)
    own, calibrated = table.rows[0], table.rows[7]
    assert own[:4] == ["z", "own", "all", "300"]
    assert float(own[4]) == round(100 * posterior.coverage.all[0].measured, 1)
    # Calibrated for one level: the column of another stays empty.
    assert (calibrated[1], calibrated[4], calibrated[9]) == ("calibrated", "-", "4.00")
    assert [row[0] for row in posterior_table("mock", found).rows] == ["z"]
    assert posterior_table("mock", SimpleNamespace(head=None)).rows == []


def test_the_histogram_of_pit_is_drawn(tmp_path):
    _, posterior = dataset()
    draw_pit(tmp_path / "pit.png", title="z", pit=posterior.pit)
    assert image.imread(tmp_path / "pit.png").shape[1] == 1008
