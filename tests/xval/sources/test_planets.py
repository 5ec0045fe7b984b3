"""The planets source: its population, its layout, and REBOUND where that is installed."""

import numpy as np
import pytest

from polycli.errors import SourceError
from polycli.xval.recipe.sources import PlanetsSection
from polycli.xval.sources import planetary
from polycli.xval.sources.orbits import Planet, bodies
from polycli.xval.sources.planets import PlanetsSource


def test_a_system_depends_on_seed_and_number_alone(read):
    small = {"systems": 8, "substeps": 2, "steps": [5, 9], "duration": [1, 2]}
    few, _ = read(PlanetsSource(), planets=small, limit=5)
    many, _ = read(PlanetsSource(), planets=small, backwards=True)
    assert len(few.records) == 5
    assert all(many.records[name] == value for name, value in few.records.items())
    other, _ = read(PlanetsSource(), planets=small | {"seed": 1})
    assert not any(other.records[name] == value for name, value in many.records.items())


def test_systems_do_not_depend_on_what_is_simulated_beside_them():
    section = PlanetsSection(substeps=1, steps=(3, 4))
    whole = planetary.records(section, range(6, 10))
    parts = planetary.records(section, range(6, 8)) + planetary.records(section, range(8, 10))
    assert whole == parts


def test_records_are_laid_out_as_in_the_paper():
    section = PlanetsSection(substeps=2, steps=(5, 9), duration=(1, 2))
    for index, record in enumerate(planetary.records(section, range(20))):
        drawn = planetary.draw(section, index)
        assert list(record) == ["description", "data"]
        names = [f"planet{place}" for place in range(len(drawn.planets))]
        assert list(record["description"]) == [*names, "stepsize"]
        for name, planet in zip(names, drawn.planets, strict=True):
            assert record["description"][name] == {
                "m": planet.mass * 1e5,
                "a": planet.semi_major_axis,
                "e": planet.eccentricity * 20,
            }
        assert np.shape(record["data"]) == (drawn.steps, len(drawn.planets), 2)
        start = [body.position for body in bodies(1.0, drawn.planets)[1:]]
        np.testing.assert_array_equal(record["data"][0], start)


def test_the_population_is_the_papers():
    section = PlanetsSection()
    draws = [planetary.draw(section, index) for index in range(1000)]
    assert {len(drawn.planets) for drawn in draws} == {2, 3, 4, 5}
    for drawn in draws:
        axes = sorted(planet.semi_major_axis for planet in drawn.planets)
        assert axes[0] == 1
        assert 1.5 <= axes[-1] <= 3
        np.testing.assert_allclose(np.diff(axes), (axes[-1] - 1) / (len(axes) - 1))
        assert 30 <= drawn.steps <= 59
        duration = drawn.interval * (drawn.steps - 1)
        assert round(duration) in range(15, 25)
        assert duration == pytest.approx(round(duration))
    planets = [planet for drawn in draws for planet in drawn.planets]
    assert 1e-5 <= min(planet.mass for planet in planets) <= 1.01e-5
    assert 4.99e-5 <= max(planet.mass for planet in planets) <= 5e-5
    assert max(planet.eccentricity for planet in planets) == pytest.approx(0.1, abs=1e-3)
    aligned = np.mean([all(planet.true_anomaly == 0 for planet in drawn.planets) for drawn in draws])
    assert aligned == pytest.approx(0.3, abs=4 * np.sqrt(0.3 * 0.7 / 1000))
    # Shuffled: the first planet is the innermost one in one of n systems.
    first = np.mean([drawn.planets[0].semi_major_axis == 1 for drawn in draws if len(drawn.planets) == 5])
    assert first == pytest.approx(0.2, abs=0.08)


def test_numbers_can_be_rounded_to_significant_digits():
    record = planetary.records(PlanetsSection(digits=3, substeps=1), [0])[0]
    full = planetary.records(PlanetsSection(substeps=1), [0])[0]
    expected = [float(f"{value:.2e}") for value in np.ravel(full["data"])]
    assert np.ravel(record["data"]).tolist() == expected


def test_an_encounter_that_cannot_be_followed_is_rejected(read, monkeypatch):
    monkeypatch.setattr(planetary, "ENERGY_TOLERANCE", 0.0)
    monkeypatch.setattr(planetary, "REFINEMENTS", 1)
    writer, _ = read(PlanetsSource(), planets={"systems": 3, "substeps": 1, "steps": [5, 5]})
    assert writer.records == {}
    assert set(writer.rejected) == {"planets-00000000", "planets-00000001", "planets-00000002"}


def test_steps_are_shortened_where_energy_is_lost():
    drawn = planetary.draw(PlanetsSection(steps=(20, 20), duration=(7, 7)), 3)
    coarse, fine = planetary.integrate([drawn], substeps=1), planetary.integrate([drawn], substeps=32)
    np.testing.assert_allclose(coarse[0], fine[0], atol=1e-4)


def test_inputs_are_refused(read, tmp_path):
    with pytest.raises(SourceError, match="reads no files"):
        read(PlanetsSource(), tmp_path)


def test_a_close_encounter_is_followed_by_itself_with_shorter_steps():
    drawn = planetary.draw(PlanetsSection(), 646)  # The first of 299 systems of five planets that has one.
    assert planetary._together([drawn], 8) == [None]
    followed = planetary.integrate([drawn], substeps=8)[0]
    simulation = rebound_simulation(drawn.planets)
    for step in range(drawn.steps):
        simulation.integrate(step * drawn.interval)
        theirs = [(particle.x, particle.y) for particle in simulation.particles[1:]]
        np.testing.assert_allclose(followed[step], theirs, atol=1e-3, rtol=0)


def rebound_simulation(planets):
    rebound = pytest.importorskip("rebound", reason="needs the extra polycli[rebound]")
    simulation = rebound.Simulation()
    simulation.add(m=1.0)
    for planet in planets:
        simulation.add(m=planet.mass, a=planet.semi_major_axis, e=planet.eccentricity, f=planet.true_anomaly)
    return simulation


def test_initial_states_are_rebounds():
    for index in range(50):
        planets = planetary.draw(PlanetsSection(), index).planets
        particles = rebound_simulation(planets).particles
        for ours, theirs in zip(bodies(1.0, planets), particles, strict=True):
            np.testing.assert_allclose(ours.position, (theirs.x, theirs.y), atol=1e-12, rtol=0)
            np.testing.assert_allclose(ours.velocity, (theirs.vx, theirs.vy), atol=1e-12, rtol=0)


def test_motion_is_that_of_rebounds_ias15():
    draws = [planetary.draw(PlanetsSection(), index) for index in range(20)]
    for drawn, motion in zip(draws, planetary.integrate(draws, substeps=8), strict=True):
        simulation = rebound_simulation(drawn.planets)
        for step in range(drawn.steps):
            simulation.integrate(step * drawn.interval)
            theirs = [(particle.x, particle.y) for particle in simulation.particles[1:]]
            np.testing.assert_allclose(motion[step], theirs, atol=1e-5, rtol=0)


def test_the_star_counts_among_the_bodies():
    star, planet = bodies(1.0, [Planet(1e-3, 1.0, 0.0, 0.0)])
    assert (star.position, star.velocity) == ((0, 0), (0, 0))
    assert planet.velocity == pytest.approx((0, np.sqrt(1.001)))
