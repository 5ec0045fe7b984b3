"""Sound files for every source of every family, and the lines that prepare them."""

import gzip
import importlib.util
import json
import sys
from pathlib import Path

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from astropy.io import fits
from scipy.io import netcdf_file

ROWS = [
    [f"star {n}", f"{0.5 + n % 7}", f"{(0.5 + n % 7) ** 0.8:.4f}", "giant" if n % 3 else "dwarf"] for n in range(30)
]


FEW = " ".join(
    f"--set temperature.{key}"
    for key in ("stations=[2,4]", "steps=[2,3]", "records=10", "block_days=2", "variable=t2m")
)


def csv(path):
    path.write_text("\n".join(",".join(row) for row in [["name", "mass (kg)", "radius", "kind"], *ROWS]) + "\n")


def parquet(path):
    columns = {"name": [row[0] for row in ROWS], "mass": [float(row[1]) for row in ROWS], "n": list(range(len(ROWS)))}
    pq.write_table(pa.table(columns), path)


def json_lines(path):
    path.write_text(
        "".join(json.dumps({"name": row[0], "mass": float(row[1]), "a": {"b": [1, 2.5]}}) + "\n" for row in ROWS)
    )


def json_file(path):
    path.write_text(json.dumps([{"name": row[0], "mass": float(row[1])} for row in ROWS]))


def python_lines(path):
    path.write_text("".join(f"{{'a': np.float64({n}.5), 'b': [1, -2], \"c\": 'x'}}\n" for n in range(30)))


def text(path):
    path.write_text(
        "".join(f"On 2020-01-0{n % 9 + 1} star {n} had {n}.5e-3 kg... and v1.5.2, -3 to 1,000.\n" for n in range(30))
    )


def netcdf(path):
    with h5py.File(path, "w") as file:
        file["time"] = np.arange(40.0) * 6
        file["time"].attrs["units"] = "hours since 2000-01-01"
        file["latitude"], file["longitude"] = np.linspace(40, 50, 4), np.linspace(0, 20, 5)
        data = file.create_dataset("t2m", data=np.random.default_rng(0).normal(280, 5, (40, 4, 5)).astype("f4"))
        for place, name in enumerate(("time", "latitude", "longitude")):
            file[name].make_scale(name)
            data.dims[place].attach_scale(file[name])


def classic_netcdf(path):
    with netcdf_file(path, "w") as file:
        for name, values in (
            ("time", 6 * np.arange(40.0)),
            ("latitude", np.linspace(40, 50, 4)),
            ("longitude", np.linspace(0, 20, 5)),
        ):
            file.createDimension(name, len(values))
            file.createVariable(name, "d", (name,))[:] = values
        file.variables["time"].units = "hours since 2000-01-01"
        file.createVariable("t2m", "f", ("time", "latitude", "longitude"))[:] = np.ones((40, 4, 5), "f4")


def arrays(path):
    wavelength = 3600 + 0.8 * np.arange(200)
    values = {"image": np.ones((6, 3, 32, 32), "f4"), "spectrum": np.ones((6, 200), "f4"), "wavelength": wavelength}
    values |= {"object_id": np.arange(6), "ivar": np.ones((6, 200), "f4")}
    if path.suffix == ".npz":
        np.savez(path, **values)
    else:
        with h5py.File(path, "w") as file:
            for name, array in values.items():
                file[name] = array


def arrays_folder(path):
    path.mkdir()
    for name, array in {"image": np.ones((6, 3, 32, 32), "f4"), "object_id": np.arange(6)}.items():
        np.save(path / f"{name}.npy", array)


def load(name):
    """A conftest beside, as a module: its writers of files."""
    spec = importlib.util.spec_from_file_location(
        f"attacked_{name.replace('/', '_')}", Path(__file__).parents[1] / name
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


OWN = (
    "mpp arrays --set arrays.axes=[trajectory,time,x,y] --set arrays.fields={my.height:h} --set arrays.dt=0.1 "
    "--set arrays.boundary={x:periodic,y:wall}"
).replace(":", ": ")
HEIGHTS = np.random.default_rng(0).normal(size=(4, 6, 8, 8)).astype("f4")


def own_zarr(path):
    import zarr

    zarr.create_group(path).create_array("h", data=HEIGHTS, chunks=(1, 3, 8, 8))


def own_netcdf(path):
    with h5py.File(path, "w") as file:
        file.create_dataset("h", data=HEIGHTS, compression="gzip").attrs["scale_factor"] = 2.0


def write_sources(folder, pdebench):
    """Fill a folder; returns by name a sound file, and the words of the line that prepares it."""
    survey, pdearena = load("astroclip/conftest.py"), load("mpp/sources/test_pdearena.py").write_pdearena

    def coadd(path):
        survey.coadd(folder / "plain.fits", ids=survey.desi_ids(6))
        with fits.open(folder / "plain.fits") as file:
            file.writeto(path, checksum=True)

    def packed_coadd(path):
        coadd(folder / "unpacked.fits")
        path.write_bytes(gzip.compress((folder / "unpacked.fits").read_bytes()))

    writers = {
        "table.csv": (csv, "xval table"),
        "table.tsv": (
            lambda path: path.write_text(Path(folder / "table.csv").read_text().replace(",", "\t")),
            "xval table",
        ),
        "table.parquet": (parquet, "xval table"),
        "lines.jsonl": (json_lines, "xval json"),
        "whole.json": (json_file, "xval json"),
        "literals.txt": (python_lines, "xval python-lines"),
        "free.txt": (text, "xval text"),
        "weather.nc": (netcdf, f"xval temperature {FEW}"),
        "classic.nc": (classic_netcdf, f"xval temperature {FEW}"),
        "arrays.npz": (arrays, "astroclip arrays"),
        "arrays.h5": (arrays, "astroclip arrays"),
        "folder": (arrays_folder, "astroclip arrays"),
        "coadd-a.fits": (coadd, "astroclip desi"),
        "coadd-b.fits.gz": (packed_coadd, "astroclip desi"),
        "cutouts.h5": (lambda path: survey.legacysurvey(path, count=6), "astroclip legacysurvey"),
        "joint.h5": (survey.joint, "astroclip astroclip"),
        "own.npz": (lambda path: np.savez_compressed(path, h=HEIGHTS, x=np.arange(8.0)), OWN),
        "own.npy": (lambda path: np.save(path, HEIGHTS), OWN.replace("height: h", "height: own")),
        "own.zarr": (own_zarr, OWN),
        "own.nc": (own_netcdf, OWN),
        "well.hdf5": (load("mpp/well_files.py").write_well, "mpp well"),
        "arena_train.h5": (lambda path: pdearena(path, "train"), "mpp pdearena"),
        "swe.h5": (pdebench.shallow_water, "mpp pdebench"),
        "dr.h5": (pdebench.diffusion_reaction, "mpp pdebench"),
        "ins.h5": (pdebench.incompressible, "mpp pdebench"),
        "cns.h5": (pdebench.compressible, "mpp pdebench"),
    }
    for name, (write, _) in writers.items():
        write(folder / name)
    return {name: (folder / name, words_of(line)) for name, (_, line) in writers.items()}


def words_of(line):
    """The words of a line, in which a colon and a blank belong together."""
    return [word.replace(":_", ": ") for word in line.replace(": ", ":_").split()]
