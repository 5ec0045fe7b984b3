"""What all tests share: one thread per process, no launcher's variables, and fixtures of several families."""

import importlib
import importlib.util
import os
import resource
import sys
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from polycli import plugins

# Before torch is imported anywhere: tests run beside each other, and their values must not depend on the core count.
for _variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
# Tests started inside a job of torchrun or Slurm must not take themselves for one of its ranks.
for _variable in [name for name in os.environ if name.startswith("SLURM_")] + ["RANK", "LOCAL_RANK", "WORLD_SIZE"]:
    os.environ.pop(_variable, None)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """A test that trains in this process joins a group and so is rank 0 by its environment; the next must not be."""
    before = {name: value for name, value in os.environ.items() if name not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    os.environ.clear()
    os.environ.update(before)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real inputs and reference values, which lies beside the repository where there is one."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"there is no {folder}: real inputs and reference values are not part of the repository")
    return folder


@contextmanager
def _installed(
    folder: Path, name: str, modules: Mapping[str, str], entry_points: Mapping[str, Mapping[str, str]]
) -> Iterator[None]:
    """While it lasts, the package `name` is installed in `folder`.

    `modules` has the text of its files by their paths in the folder, `entry_points` by group what is named how.
    """
    for path, text in modules.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(textwrap.dedent(text))
    about = folder / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    groups = [
        "\n".join([f"[{group}]", *(f"{key} = {value}" for key, value in found.items())])
        for group, found in entry_points.items()
    ]
    (about / "entry_points.txt").write_text("\n\n".join(groups) + "\n")
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    _forget()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for module in set(sys.modules) - before:
            if module.partition(".")[0] == name:
                del sys.modules[module]
        _forget()


def _forget() -> None:
    plugins._plugins.cache_clear()
    importlib.invalidate_caches()


@pytest.fixture
def package(tmp_path: Path) -> Iterator[Callable[..., None]]:
    """Install packages for the length of a test: `package(name, modules, entry_points)`, as `_installed` says."""
    with ExitStack() as stack:
        yield lambda name, *content: stack.enter_context(_installed(tmp_path / f"site-{name}", name, *content))


@pytest.fixture
def full_disk():
    """`with full_disk(size): ...`: files grow to `size` bytes, and then the system refuses, as a full disk does."""

    @contextmanager
    def limited(size: int) -> Iterator[None]:
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    return limited


def _fields(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def _centres(count: int, low: float, high: float) -> np.ndarray:
    edges = np.linspace(low, high, count + 1)
    return ((edges[1:] + edges[:-1]) / 2).astype(np.float32)


def _grouped(
    path: Path,
    *,
    channels: int,
    data: Sequence[np.ndarray],
    config: Callable[[int], str],
    domain: tuple[float, float],
    end: float,
    **storage: object,
) -> list[np.ndarray]:
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for seed, values in enumerate(data):
            assert values.shape[3] == channels
            group = file.create_group(f"{seed:04d}")
            group.attrs["config"] = config(seed)
            group.create_dataset("data", data=values, **storage)
            group["grid/x"] = _centres(values.shape[1], *domain)
            group["grid/y"] = _centres(values.shape[2], *domain)
            group["grid/t"] = np.linspace(0, end, values.shape[0]).astype(np.float32)
    return list(data)


def shallow_water(
    path: Path, *, trajectories: int = 3, frames: int = 11, grid: tuple[int, int] = (8, 6), seed: int = 0
) -> list[np.ndarray]:
    """Radial dam breaks as PDEBench writes them; returns each trajectory's (time, x, y, 1)."""
    data = [_fields(seed + place, frames, *grid, 1) for place in range(trajectories)]
    return _grouped(
        path,
        channels=1,
        data=data,
        config=lambda place: f"name: swe\nsim:\n  dam_radius: {0.3 + 0.1 * place}\n  gravity: 1.0\n  seed: {place}\n",
        domain=(-2.5, 2.5),
        end=1.0,
    )


def diffusion_reaction(
    path: Path, *, trajectories: int = 3, frames: int = 11, grid: tuple[int, int] = (8, 6), seed: int = 100
) -> list[np.ndarray]:
    """FitzHugh-Nagumo as PDEBench writes it, chunked and lzf-compressed; returns each (time, x, y, 2)."""
    data = [_fields(seed + place, frames, *grid, 2) for place in range(trajectories)]
    return _grouped(
        path,
        channels=2,
        data=data,
        config=lambda place: f"sim:\n  Du: 1e-3\n  Dv: 0.005\n  k: 5.0e-3\n  seed: {place}\n",
        domain=(-1, 1),
        end=5.0,
        compression="lzf",
        chunks=(4, grid[0] // 2, grid[1] // 2, 1),
    )


def incompressible(
    path: Path, *, trajectories: int = 4, frames: int = 10, grid: tuple[int, int] = (8, 6), seed: int = 200
) -> tuple[np.ndarray, np.ndarray]:
    """Forced smoke as PDEBench writes it; returns `velocity` and `particles`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    velocity = _fields(seed, trajectories, frames, *grid, 2)
    particles = _fields(seed + 1, trajectories, frames, *grid, 1)
    storage = {"compression": "lzf", "shuffle": True}
    with h5py.File(path, "w") as file:
        file.attrs["config"] = "NU: 0.01\nDT: 5.0e-05\n"
        file.attrs["latestIndex"] = frames
        file.create_dataset("velocity", data=velocity, chunks=(1, 1, *grid, 2), **storage)
        file.create_dataset("particles", data=particles, chunks=(1, 1, *grid, 1), **storage)
        file["force"] = _fields(seed + 2, trajectories, *grid, 2)
        file["t"] = np.tile((0.005 * np.arange(1, frames + 1)).astype(np.float32), (trajectories, 1))
    return velocity, particles


def compressible(
    path: Path,
    *,
    trajectories: int = 3,
    frames: int = 5,
    grid: tuple[int, int] = (8, 6),
    seed: int = 300,
    mach: float = 0.1,
    viscosity: float = 0.01,
) -> dict[str, np.ndarray]:
    """Compressible flow as PDEBench writes it, `t-coordinate` one longer than the frames; returns the four fields."""
    path.parent.mkdir(parents=True, exist_ok=True)
    keys = ("Vx", "Vy", "density", "pressure")
    fields = {key: _fields(seed + place, trajectories, frames, *grid) for place, key in enumerate(keys)}
    with h5py.File(path, "w") as file:
        file.attrs.update({"M": mach, "eta": viscosity, "zeta": viscosity})
        for key, values in fields.items():
            file[key] = values
        file["x-coordinate"] = _centres(grid[0], 0, 1)
        file["y-coordinate"] = _centres(grid[1], 0, 1)
        file["t-coordinate"] = (0.05 * np.arange(frames + 1)).astype(np.float32)
    return fields


@pytest.fixture(scope="session")
def pdebench() -> SimpleNamespace:
    """Writers of tiny files in PDEBench's exact layouts."""
    return SimpleNamespace(
        shallow_water=shallow_water,
        diffusion_reaction=diffusion_reaction,
        incompressible=incompressible,
        compressible=compressible,
    )


@pytest.fixture
def torchscript_archive(tmp_path: Path) -> Callable[[Path], tuple[Path, Path]]:
    """Writes a TorchScript archive to a path, and says which file it makes where it is loaded as a program."""
    spec = importlib.util.spec_from_file_location("torchscript", Path(__file__).with_name("torchscript.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["torchscript"] = module  # TorchScript reads the source of the class that it compiles.
    spec.loader.exec_module(module)

    def write(path: Path) -> tuple[Path, Path]:
        mark = tmp_path / "made-by-the-program"
        module.write_program(path, mark)
        return path, mark

    return write
