"""The simulate source: each trajectory its own, whatever surrounds it; frames far enough apart; clear refusals."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch

from polycli.errors import SourceError
from polycli.mpp.data.source import Dataset
from polycli.mpp.recipe.physics import PUBLISHED_FIELDS
from polycli.mpp.recipe.training import PrepareRecipe, SelectionSection, SimulationSection
from polycli.mpp.sources.simulate import SimulateSource
from polycli.mpp.sources.simulate.random_fields import generator, waves
from polycli.mpp.sources.simulate.source import block_size, build

#: System, variant, boundary: all that there are.
KINDS = [
    ("shallow_water", "dam_break", "wall"),
    ("shallow_water", "dam_break", "periodic"),
    ("shallow_water", "bumps", "wall"),
    ("shallow_water", "bumps", "periodic"),
    ("diffusion_reaction", "oscillating", "wall"),
    ("diffusion_reaction", "noise", "wall"),
    ("diffusion_reaction", "smooth", "wall"),
    ("incompressible_ns", "decaying", "periodic"),
    ("incompressible_ns", "forced", "periodic"),
    ("incompressible_ns", "kolmogorov", "periodic"),
    ("compressible_ns", "random", "periodic"),
]


def recipe_of(select: dict[str, int] | None = None, **section: Any) -> PrepareRecipe:
    return PrepareRecipe(
        family="mpp",
        verb="prepare",
        select=SelectionSection(**(select or {})),
        simulate={"test": SimulationSection(**{"grid": 32, "frames": 3, **section})},
    )


def dataset_of(limit: int | None = None, select: dict[str, int] | None = None, **section: Any) -> Dataset:
    return SimulateSource().open([], recipe_of(select, **section), limit)[0]


def read(dataset: Dataset, wanted: set[str] | None = None) -> dict[str, np.ndarray]:
    """(time, field, x, y) by id."""
    found = {}
    for job in dataset.jobs:
        for trajectory in job.trajectories([name for name in job.ids if wanted is None or name in wanted]):
            assert len(trajectory.parameters) == len(dataset.about.parameter_names)
            found[trajectory.id] = np.concatenate(list(trajectory.blocks))
    return found


@pytest.mark.parametrize(("system", "variant", "boundary"), KINDS)
def test_a_trajectory_is_the_same_bits_alone_and_in_company(system, variant, boundary):
    section = SimulationSection(system=system, variant=variant, boundary=boundary, grid=16, frames=3)
    found = []
    for indices in ((2,), (0, 1, 2, 3)):
        made = build("test", section)
        batch = made.start([generator(section, index) for index in indices])
        batch.advance(made.first_time + made.about.dt)
        found.append((batch.fields()[indices.index(2)], batch.parameters[indices.index(2)]))
    assert torch.equal(found[0][0], found[1][0])
    assert np.array_equal(found[0][1], found[1][1])


@pytest.mark.parametrize("system", ["shallow_water", "incompressible_ns"])
def test_limits_counts_and_what_is_wanted_do_not_change_a_trajectory(system):
    whole = read(dataset_of(system=system, trajectories=18, frames=2))
    assert list(whole) == [f"{index:05d}" for index in range(18)]
    assert not np.array_equal(whole["00000"], whole["00001"])
    for other in (
        read(dataset_of(system=system, trajectories=40, limit=5, frames=2)),
        read(dataset_of(system=system, trajectories=18, frames=2), wanted={"00003", "00017"}),
    ):
        assert 0 < len(other) < 18
        for name, fields in other.items():
            assert np.array_equal(fields, whole[name])


def test_more_frames_go_on_from_fewer():
    short, long = (read(dataset_of(system="compressible_ns", trajectories=1, frames=n))["00000"] for n in (2, 4))
    assert np.array_equal(long[:2], short)


def test_seeds_systems_and_constants_give_other_initial_conditions():
    section = SimulationSection(system="compressible_ns", seed=1)
    others = [
        section.model_copy(update=update)
        for update in ({"seed": 2}, {"parameters": {"mach": 0.1}}, {"system": "incompressible_ns"}, {"seed": -1})
    ]
    draws = [generator(one, 0).random() for one in (section, *others)]
    assert len(set(draws)) == len(draws)
    assert generator(section.model_copy(update={"trajectories": 7, "frames": 5}), 0).random() == draws[0]


def test_a_finer_grid_samples_the_same_waves():
    coarse, fine = (waves(np.random.default_rng(5), grid, 1.0, 3.0) for grid in (15, 45))
    # The middle of every third fine cell is the middle of a coarse one.
    assert torch.allclose(fine[1::3, 1::3], coarse, atol=1e-12)
    assert float(coarse.square().mean()) == pytest.approx(1.0)
    assert float(coarse.mean()) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("system", "variant", "boundary"), KINDS)
def test_frames_are_far_enough_apart_that_persistence_is_a_poor_forecast(system, variant, boundary):
    # With PDEBench's constants the fields soon come to rest, whatever the interval: few frames are worth having.
    frames = 8 if variant in {"noise", "smooth"} else 24
    dataset = dataset_of(
        system=system, variant=variant, boundary=boundary, trajectories=8, frames=frames, limit=8, seed=11
    )
    fields = np.stack(list(read(dataset).values()))
    assert fields.dtype == np.float32
    assert fields.shape == (8, frames, len(dataset.about.fields), 32, 32)
    assert np.isfinite(fields).all()
    fields = fields.astype(np.float64)
    error = np.square(np.diff(fields, axis=1)).mean(axis=(-2, -1))
    vrmse = np.sqrt(error / (fields[:, 1:].var(axis=(-2, -1)) + 1e-7))
    assert 0.2 <= vrmse.mean() <= 0.65
    # No field is so constant that its variance drowns.
    assert fields.var(axis=(-2, -1)).min() > 1e-5


@pytest.mark.parametrize(("system", "variant", "boundary"), KINDS)
def test_what_a_dataset_says_of_itself_is_so(system, variant, boundary):
    dataset = dataset_of(system=system, variant=variant, boundary=boundary, trajectories=1)
    about = dataset.about
    assert about.physics == system
    assert set(about.fields) <= set(PUBLISHED_FIELDS)
    assert all(name.startswith(f"{system}.") for name in about.fields)
    assert len(about.units) == len(about.fields)
    assert about.boundary_conditions == {"x": boundary, "y": boundary}
    assert about.grid == (32, 32)
    np.testing.assert_allclose(np.diff(dataset.time), about.dt)


def test_strides_and_the_first_frame_are_those_of_the_recipe():
    whole = dataset_of(system="shallow_water", trajectories=1, frames=8)
    some = dataset_of(
        system="shallow_water",
        trajectories=1,
        frames=8,
        select={"time_stride": 3, "space_stride": 5, "first_frame": 1},
    )
    assert np.array_equal(read(some)["00000"], read(whole)["00000"][1::3, :, ::5, ::5])
    assert some.about.grid == read(some)["00000"].shape[-2:]
    assert some.about.dt == pytest.approx(3 * whole.about.dt)
    np.testing.assert_allclose(some.time, whole.time[1::3])


def test_large_grids_are_handed_over_piece_by_piece(monkeypatch):
    monkeypatch.setattr("polycli.mpp.sources.simulate.source.block_size", lambda grid: 1)
    monkeypatch.setattr("polycli.mpp.sources.simulate.source.FRAMES_AT_ONCE", 2)
    dataset = dataset_of(system="diffusion_reaction", trajectories=2, frames=5, grid=16)
    assert [job.ids for job in dataset.jobs] == [("00000",), ("00001",)]
    trajectory = next(iter(dataset.jobs[1].trajectories(["00001"])))
    assert [block.shape[0] for block in trajectory.blocks] == [2, 2, 1]


def test_jobs_are_small_when_pickled_and_leave_the_number_of_threads_as_it_is():
    job = dataset_of(system="shallow_water", trajectories=4, frames=2, grid=16).jobs[0]
    assert len(pickle.dumps(job)) < 4_000
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        threads = [torch.get_num_threads() for _ in pickle.loads(pickle.dumps(job)).trajectories(job.ids)]  # noqa: S301
    finally:
        torch.set_num_threads(before)
    assert threads == [2, 2, 2, 2]


@pytest.mark.parametrize(("system", "growth"), [("shallow_water", 8), ("diffusion_reaction", 4)])
def test_the_forecast_of_the_work_grows_with_trajectories_and_grid(system, growth):
    def seconds(**section: int) -> float:
        forecast = dataset_of(system=system, **{"trajectories": 32, "grid": 32, **section}).seconds
        assert forecast is not None
        return forecast

    assert seconds(trajectories=64) == pytest.approx(2 * seconds())
    assert seconds(grid=64) == pytest.approx(growth * seconds())


def test_blocks_shrink_as_the_grid_grows():
    sizes = [block_size(grid) for grid in (16, 32, 64, 128, 256, 1024)]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 1


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"system": "shallow_water", "variant": "tsunami"}, ["simulate.test.variant", "tsunami", "dam_break, bumps"]),
        ({"system": "incompressible_ns", "boundary": "wall"}, ["simulate.test.boundary", "wall", "periodic"]),
        ({"system": "compressible_ns", "parameters": {"mahc": 1.0}}, ["mahc", "did you mean 'mach'", "viscosity"]),
        ({"system": "compressible_ns", "parameters": {"mach": 0.0}}, ["mach is 0.0", "more than 0"]),
        ({"system": "diffusion_reaction", "parameters": {"threshold": -1.0}}, ["threshold is -1.0"]),
        ({"system": "diffusion_reaction", "parameters": {"threshold": float("nan")}}, ["threshold is nan"]),
        ({"system": "shallow_water", "grid": 4}, ["grid is 4", "at least 16"]),
    ],
)
def test_what_a_system_does_not_offer_is_refused_by_name(section, words):
    with pytest.raises(SourceError) as refusal:
        dataset_of(**section)
    assert all(word in str(refusal.value) for word in words)


def test_nothing_to_simulate_points_to_a_recipe_that_has_something():
    with pytest.raises(SourceError, match="mpp_demo_data"):
        SimulateSource().open([], PrepareRecipe(family="mpp", verb="prepare"), None)


def test_files_and_an_empty_selection_are_refused(tmp_path):
    with pytest.raises(SourceError, match="reads no files"):
        SimulateSource().open([tmp_path], recipe_of(system="shallow_water"), None)
    with pytest.raises(SourceError, match="only 3 frames"):
        dataset_of(system="shallow_water", select={"first_frame": 3})
