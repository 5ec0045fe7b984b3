"""Posteriors of a head: quantiles never cross, a flow's density, distribution and quantiles belong together."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from polycli.astroclip.model import posteriors
from polycli.astroclip.model.heads import PropertyHead
from polycli.astroclip.model.posteriors import Flow, posterior_of
from polycli.astroclip.recipe.model import POSTERIOR_LEVELS, PropertySection
from polycli.errors import MissingDependencyError


def section(posterior, **keys):
    return PropertySection(modalities=("image",), regression=("a", "b"), posterior=posterior, **keys)


def outputs_of(flow, seed=0, scale=2.0, objects=5, columns=2):
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(objects, columns, flow.outputs, generator=generator)


def test_quantile_heads_never_cross_whatever_the_outputs():
    found = posterior_of(section("quantiles"))
    outputs = 20 * torch.randn(200, 2, found.outputs, generator=torch.Generator().manual_seed(1))
    assert (found.values(outputs).diff(dim=2) >= 0).all()
    assert found.levels == POSTERIOR_LEVELS


def test_a_flow_without_bends_is_the_normal_distribution():
    flow = Flow(bins=4, levels=(0.025, 0.16, 0.5, 0.975))
    outputs = torch.zeros(1, 1, flow.outputs)
    outputs[..., 0] = 0.3
    target = torch.tensor([[1.1]])
    expected = -norm.logpdf(1.1, loc=0.3)
    torch.testing.assert_close(flow.losses(outputs, target), torch.tensor([[expected]]).float(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(flow.values(outputs)[0, 0], norm.ppf(flow.levels, loc=0.3), rtol=1e-5, atol=1e-6)


def test_a_flows_density_integrates_to_the_levels_of_its_quantiles():
    flow = Flow(bins=6, levels=(0.05, 0.3, 0.5, 0.8, 0.95))
    outputs = outputs_of(flow)
    quantiles = flow.values(outputs)
    for row in range(5):
        for column in range(2):
            ends = torch.tensor([1e-6, 1 - 1e-6])
            low, high = flow.quantiles(outputs[row : row + 1], ends)[0, column].tolist()
            places = torch.linspace(low, high, 20_001)
            many = outputs[row : row + 1, column : column + 1].expand(len(places), 1, -1)
            density = torch.exp(-flow.losses(many, places[:, None]))[:, 0].double().numpy()
            mass = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)]) * (high - low) / 20_000
            assert mass[-1] == pytest.approx(1, abs=2e-3)
            found = np.interp(quantiles[row, column].double().numpy(), places.double().numpy(), mass)
            np.testing.assert_allclose(found, flow.levels, atol=2e-3)


def test_levels_of_each_object_are_answered_for_it():
    flow = Flow(bins=5, levels=(0.5,))
    outputs = outputs_of(flow)
    levels = torch.rand(5, 2, 3, generator=torch.Generator().manual_seed(3)).clamp(0.01, 0.99)
    found = flow.quantiles(outputs, levels)
    for row in range(5):
        for column in range(2):
            rising, order = levels[row, column].sort()
            alone = flow.quantiles(outputs[row : row + 1], rising)[0, column]
            torch.testing.assert_close(found[row, column][order], alone)


def test_a_flow_learns_a_distribution_with_two_peaks():
    torch.manual_seed(0)
    head = PropertyHead(PropertySection(modalities=("image",), regression=("a",), posterior="flow", hidden=(16,)), 1)
    generator = np.random.default_rng(0)
    seen = generator.integers(0, 2, 1000)
    # Where `seen` is 1 the truth has two values, as a redshift of which two lines could be the cause.
    truth = np.where(seen == 1, generator.choice([-1.0, 1.0], 1000), 0.0) + 0.05 * generator.standard_normal(1000)
    vectors, target = (
        torch.tensor(seen, dtype=torch.float32)[:, None],
        torch.tensor(truth, dtype=torch.float32)[:, None],
    )
    optimizer = torch.optim.Adam(head.parameters(), lr=1e-2)
    for _ in range(200):
        optimizer.zero_grad()
        loss = head.posterior.losses(head(vectors)[0], target).mean()
        loss.backward()
        optimizer.step()
    entropy = math.log(0.05) + 0.5 * math.log(2 * math.pi * math.e)
    assert float(loss.detach()) == pytest.approx(entropy + 0.5 * math.log(2), abs=0.15)
    head.eval()
    with torch.no_grad():
        outputs = head(torch.tensor([[0.0], [1.0]]))[0]
        quantiles = head.in_units(outputs, torch.tensor([0.05, 0.45, 0.55, 0.95]))[:, 0]
    assert quantiles[0].abs().max() < 0.15
    assert quantiles[1][:2] == pytest.approx(-1, abs=0.15)
    assert quantiles[1][2:] == pytest.approx(1, abs=0.15)


def test_answers_are_in_the_units_of_their_columns():
    head = PropertyHead(section("flow"), 3)
    head.centre.copy_(torch.tensor([10.0, -1.0]))
    head.scale.copy_(torch.tensor([2.0, 0.1]))
    outputs = outputs_of(head.posterior)
    plain = head.posterior.values(outputs)
    torch.testing.assert_close(head.in_units(outputs)[:, 0], 10 + 2 * plain[:, 0])
    torch.testing.assert_close(head.in_units(outputs)[:, 1], -1 + 0.1 * plain[:, 1])
    torch.testing.assert_close(head.standardised(torch.tensor([[12.0, -0.9]])), torch.tensor([[1.0, 1.0]]))


def test_a_flow_without_zuko_is_refused_in_one_sentence(monkeypatch):
    monkeypatch.setattr(posteriors, "find_spec", lambda _: None)
    with pytest.raises(MissingDependencyError, match=r"flow needs zuko, which the extra `flows` brings"):
        PropertyHead(section("flow"), 3)
    PropertyHead(section("quantiles"), 3)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"posterior": "flow", "regression": (), "classification": {"c": ()}}, "posterior flow is of numbers"),
        ({"posterior": "quantiles", "quantiles": (0.5,)}, "two quantiles at least"),
        ({"posterior": "quantiles", "quantiles": (0.5, 0.5)}, "one level twice"),
        ({"posterior": "quantiles", "quantiles": (0.5, 0.1)}, "between 0 and 1 and rise"),
    ],
)
def test_posteriors_that_make_no_sense_are_refused(keys, message):
    with pytest.raises(ValueError, match=message):
        PropertySection(**{"modalities": ("image",), "regression": ("a",), **keys})
