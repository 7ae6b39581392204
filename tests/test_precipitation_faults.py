"""What goes wrong with swaths and machines: one clear line, exit code 2, nothing half-written; what can be mended is told."""

from __future__ import annotations

import errno
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray as xr
import zarr

from vigie.acquire.granules import pairs
from vigie.acquire.granules.instruments import instrument
from vigie.acquire.granules.layout import swath
from vigie.core.swath import FLAGS
from vigie.harmonize.swath import SwathReader
from vigie.synthetic.orbit import save_swath

SCANS, PIXELS = 24, 6
FILL = np.float32(-9999.9)
GMI = {"AlgorithmID": "1CGMI", "InstrumentName": "GMI", "SatelliteName": "GPM"}
SMALL = """
[train]
network = { hidden = [4] }
head = { levels = [0.1, 0.5, 0.9] }
windows = { batch = 8 }
fit = { steps = 1, warmup_steps = 0 }
folds = { by = "orbit" }
[predict]
levels = [0.1, 0.5, 0.9]
scans = 8
[verify]
bootstrap = 5
draws = 2
"""
"""A network that takes no time."""
ORBITS = 'files = "orbit-*.nc"'

Make = Callable[[Path], str]
"""Spoils something in a folder of good data, and gives the source's lines."""


def orbit(number: int, vapour: float = 30.0) -> xr.Dataset:
    """A small swath with rain rates, in the layout of `vigie.core.swath`."""
    random = np.random.default_rng(number)
    scan, pixel = np.mgrid[:SCANS, :PIXELS]
    fields = {
        "brightness_temperature": random.normal(230, 20, (SCANS, PIXELS, 13)).astype(np.float32),
        "latitude": (10.0 * number + 0.1 * scan).astype(np.float32),
        "longitude": (20.0 + 0.1 * pixel).astype(np.float32),
        "flags": np.zeros((SCANS, PIXELS), np.uint8),
        "truth": random.gamma(0.5, 2.0, (SCANS, PIXELS)).astype(np.float32),
        "total_column_water_vapour": np.full((SCANS, PIXELS), vapour, np.float32),
    }
    time = np.datetime64(f"2020-01-0{number + 1}T06:00") + np.arange(SCANS).astype("timedelta64[s]")
    facts = {"swath": f"orbit-{number}", "sensor": "GMI", "platform": "GPM", "product": "made", "label_source": "simulated"}
    return swath(fields, time, f"GPM-{number:06d}", facts, instrument("GMI").channels())


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two orbits with rain rates."""
    folder = tmp_path_factory.mktemp("good")
    for number in range(2):
        save_swath(folder / f"orbit-{number}.nc", orbit(number))
    return folder


@pytest.fixture
def data(good: Path, tmp_path: Path) -> Path:
    """A copy of good data that a test may spoil."""
    return Path(shutil.copytree(good, tmp_path / "data"))


@pytest.fixture
def vigie(run_verb: Callable[..., tuple[int | None, str]], data: Path) -> Callable[..., tuple[int | None, str]]:
    """Run a command on an experiment with these sources; exit code and what was said on standard error."""

    def command(verb: str, source: str, more: str = SMALL, log: bool = False) -> tuple[int | None, str]:
        content = f'app = "precipitation"\nname = "run"\n[[acquire.sources]]\n{source}\n{more}'
        return run_verb(verb, content, data, log)

    return command


def granule(folder: Path, change: Callable[[h5py.File], None] = lambda file: None, **header: str) -> str:
    """Write a small granule as the PPS does, and spoil it."""
    random = np.random.default_rng(0)
    said = {"GranuleNumber": "000123", "EmptyGranule": "NOT_EMPTY", "ProductVersion": "V07A", **GMI, **header}
    with h5py.File(folder / "granule.HDF5", "w") as file:
        file.attrs["FileHeader"] = np.bytes_("".join(f"{key}={value};\n" for key, value in said.items()))
        for group, channels in (("S1", 9), ("S2", 4)):
            scan, pixel = np.mgrid[:SCANS, :PIXELS]
            file[f"{group}/Latitude"] = (-30 + 0.1 * scan).astype(np.float32)
            file[f"{group}/Longitude"] = (100 + 0.1 * pixel).astype(np.float32)
            file[f"{group}/Tc"] = random.normal(230, 20, (SCANS, PIXELS, channels)).astype(np.float32)
            file[f"{group}/Quality"] = np.zeros((SCANS, PIXELS), np.int8)
            for name, value in (("Year", 2020), ("Month", 1), ("DayOfMonth", 9), ("Hour", 5), ("Minute", 1), ("Second", 2)):
                file[f"{group}/ScanTime/{name}"] = np.full(SCANS, value, np.int16)
            file[f"{group}/ScanTime/MilliSecond"] = np.zeros(SCANS, np.int16)
        change(file)
    return f'{ORBITS}\n[[acquire.sources]]\nfiles = "granule.HDF5"'


def put(name: str, values: Callable[[np.ndarray], np.ndarray]) -> Make:
    """Give a granule other values of a data set."""

    def spoil(file: h5py.File) -> None:
        changed = values(file[name][()])
        del file[name]
        file[name] = changed

    return lambda folder: granule(folder, spoil)


def without(name: str) -> Make:
    """Give a granule that lacks a group or a data set."""
    return lambda folder: granule(folder, lambda file: file.__delitem__(name))


def all_fill(folder: Path) -> str:
    def fill(file: h5py.File) -> None:
        for group in ("S1", "S2"):
            file[f"{group}/Tc"][:] = FILL

    return granule(folder, fill)


def nowhere(folder: Path) -> str:
    def fill(file: h5py.File) -> None:
        for name in ("Latitude", "Longitude"):
            file[f"S1/{name}"][:] = FILL

    return granule(folder, fill)


def cut(folder: Path, name: str, share: float, source: str) -> str:
    """Cut a file short."""
    path = folder / name
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    return source


def truncated_granule(folder: Path) -> str:
    return cut(folder, "granule.HDF5", 0.6, granule(folder))


def damaged_orbit(folder: Path) -> str:
    """Spoil the bytes of every chunk and index behind the superblock."""
    path = folder / "orbit-0.nc"
    content = bytearray(path.read_bytes())
    content[2048:] = bytes(255 - byte for byte in content[2048:])
    path.write_bytes(bytes(content))
    return ORBITS


def changed(change: Callable[[xr.Dataset], xr.Dataset]) -> Make:
    """Write the first orbit anew."""

    def write(folder: Path) -> str:
        save_swath(folder / "orbit-0.nc", change(orbit(0)))
        return ORBITS

    return write


def table(folder: Path, name: str = "dpr_rain_rate", rows: int = 12, **columns: np.ndarray) -> str:
    """Write a table of footprints; give the lines of its source, all but where its labels come from."""
    random = np.random.default_rng(1)
    made = {channel: random.uniform(150, 280, rows).astype(np.float32) for channel in pairs.CHANNELS}
    made |= {field: np.full(rows, 0.5, np.float32) for field in pairs.ERA5} | {"tcwv": np.full(rows, 3e4, np.float32)}
    made |= {"Latitude": np.linspace(-60, 60, rows, dtype=np.float32), "Longitude": np.full(rows, 10, np.float32)}
    made |= {"Month": np.full(rows, 7, np.int8), "Day": np.arange(1, rows + 1).astype(np.int8)}
    made |= {"elevation_mean": np.zeros(rows, np.float32), "DPR rain Rate": np.linspace(0.1, 20, rows, dtype=np.float32)}
    np.savez_compressed(folder / f"{name}.npz", **{**made, **columns})
    return f'files = "{name}.npz"'


def unlabelled(folder: Path) -> str:
    granule(folder)
    return 'files = "granule.HDF5"'


def cut_table(folder: Path) -> str:
    return cut(folder, "dpr_rain_rate.npz", 0.6, table(folder) + '\nlabel_source = "dpr"')


def table_without_temperatures(folder: Path) -> str:
    nothing = dict.fromkeys(pairs.CHANNELS, np.full(12, FILL)) | {"10v": np.zeros(12, np.float32)}
    return table(folder, **nothing) + '\nlabel_source = "dpr"'


BAD: dict[str, tuple[Make, tuple[str, ...]]] = {
    "missing file": (lambda _: 'files = "none.HDF5"', ("none.HDF5 does not exist",)),
    "truncated granule": (truncated_granule, ("granule.HDF5 cannot be read", "truncated file", "download it again")),
    "damaged orbit": (damaged_orbit, ("orbit-0.nc", "cannot be read")),
    "truncated table": (cut_table, ("dpr_rain_rate.npz is no table of footprints", "not a zip file")),
    "no granule": (lambda f: cut(f, "orbit-0.nc", 0, ORBITS), ("is no swath that vigie reads", "1C and 1C-R granules")),
    "another product": (
        lambda f: granule(f, AlgorithmID="1BGMI"),
        ("granule.HDF5 is no swath that vigie reads; found the product 1BGMI; expected 1C and 1C-R granules", "leave it out"),
    ),
    "another version": (
        lambda f: granule(f, lambda file: file.move("S1", "FS"), ProductVersion="V09A"),
        ("granule.HDF5 lacks the swath S1; found 1CGMI V09A with groups ['FS', 'S2']", "in a version that is read"),
    ),
    "another instrument": (
        lambda f: granule(f, InstrumentName="GMII"),
        ("radiometer 'GMII' is not declared", "did you mean 'GMI'"),
    ),
    "an empty granule": (lambda f: granule(f, EmptyGranule="EMPTY"), ("granule.HDF5 holds no data", "leave it out")),
    "missing swath": (without("S2"), ("granule.HDF5 lacks the swath S2; found 1CGMI V07A with groups ['S1']",)),
    "missing data set": (without("S1/Quality"), ("granule.HDF5 lacks the data set S1/Quality; found ['Latitude',",)),
    "missing channel": (
        put("S2/Tc", lambda values: values[..., :3]),
        ("granule.HDF5: S2/Tc has other channels; found 3; expected 166.00V, 166.00H, 183.31+-3V, 183.31+-7V",),
    ),
    "all fill": (all_fill, ("granule.HDF5 holds no brightness temperature; found 24 x 6 footprints, all of them missing",)),
    "no position": (nowhere, ("granule.HDF5 holds no latitude", "leave it out")),
    "a table without temperatures": (
        table_without_temperatures,
        ("dpr_rain_rate.npz: no row has all brightness temperatures; found 12 rows",),
    ),
    "positions beyond the Earth": (
        changed(lambda swath: swath.assign(latitude=swath["latitude"].where(swath["latitude"] > 0.5, FILL))),
        ("swath 'orbit-0': a latitude lies beyond the Earth; found -9999.9 on", "mask fills"),
    ),
    "rain that is a fill": (
        changed(lambda swath: swath.assign(truth=swath["truth"].where(swath["truth"] > 0.5, FILL))),
        ("orbit-0.nc holds rain rates below 0; found -9999.9 mm h-1", "mask fills"),
    ),
    "kelvin not told": (
        changed(lambda swath: swath.assign(brightness_temperature=swath["brightness_temperature"].assign_attrs(units="degC"))),
        ("orbit-0.nc: brightness_temperature is not in kelvin", "degC"),
    ),
    "nobody says whose rain it is": (
        lambda f: table(f, "rain"),
        ("rain.npz: nobody says where its labels come from", "a column named DPR may hold simulated rain"),
    ),
    "simulated rain named observed": (
        lambda f: table(f, "era5_rain_rate_open") + '\nlabel_source = "dpr"',
        ("its name tells another source of labels; found era5; expected label_source 'dpr'", 'label_source = "era5"'),
    ),
    "rain that says it is simulated": (
        lambda _: ORBITS + '\nlabel_source = "dpr"',
        ("orbit-0.nc: its labels come from elsewhere; found simulated; expected label_source 'dpr'",),
    ),
    "the same file twice": (
        lambda _: f'{ORBITS}\n[[acquire.sources]]\nfiles = "orbit-1.nc"',
        ("swaths have the same name; found orbit-1",),
    ),
    "no rain rates": (unlabelled, ("no swath has rain rates to learn from; found 1 swath",)),
}


@pytest.mark.parametrize(("make", "words"), BAD.values(), ids=BAD)
def test_bad_input_is_refused_before_anything_is_written(refused, vigie, data, make, words):
    refused(vigie("run", make(data)), *words)
    assert not (data.parent / "runs").exists()


def made(vigie, data: Path, source: str, name: str) -> tuple[str, xr.Dataset]:
    """Acquire and harmonize; what was said, and the swath that came out."""
    said = []
    for stage in ("acquire", "harmonize"):
        code, err = vigie(stage, source, log=True)
        assert code is None, err
        said.append(err)
    return "".join(said), SwathReader(data.parent / "runs" / "run" / "cube.zarr", f"swath/{name}")({})


def test_temperatures_that_are_fills_or_zero_are_missing_and_told(vigie, data):
    def spoil(file: h5py.File) -> None:
        file["S1/Tc"][0] = FILL
        file["S2/Tc"][0] = FILL
        file["S1/Tc"][1, :2, 3] = 0.0

    said, found = made(vigie, data, granule(data, spoil), "granule")
    assert "harmonize: granule, 144 pixels, nodata 6, incomplete 2" in said
    assert np.isnan(found["brightness_temperature"].values[0]).all()
    assert np.isnan(found["brightness_temperature"].values[1, :2, 3]).all()
    assert (found["flags"].values[1] == [FLAGS["incomplete"]] * 2 + [0] * 4).all()


def test_zeros_and_fills_of_somebodys_own_file_are_missing_too(vigie, data):
    def spoil(swath: xr.Dataset) -> xr.Dataset:
        swath["brightness_temperature"][0], swath["brightness_temperature"][1, 0, 0] = FILL, 0.0
        return swath

    said, found = made(vigie, data, changed(spoil)(data), "orbit-0")
    assert "harmonize: orbit-0, 144 pixels, nodata 6, incomplete 1" in said
    assert np.isnan(found["brightness_temperature"].values[1, 0, 0])


def test_rows_whose_ancillary_fields_are_zero_lack_them_and_are_told(vigie, data):
    era5 = {field: np.array([0.0] + [0.5] * 11, np.float32) for field in pairs.ERA5}
    said, found = made(vigie, data, table(data, **era5) + '\nlabel_source = "dpr"', "dpr_rain_rate")
    assert "acquire: dpr_rain_rate, 12 x 1 GMI: no_ancillary 1" in said
    assert np.isnan(found["total_column_water_vapour"].values[:, 0]).tolist() == [True] + [False] * 11
    assert found["flags"].values[0, 0] == FLAGS["no_ancillary"]


def test_rows_that_repeat_are_told(vigie, data):
    repeated = {name: np.repeat(np.linspace(200, 250, 6, dtype=np.float32), 2) for name in pairs.CHANNELS}
    source = table(data, **repeated, **{"DPR rain Rate": np.repeat(np.arange(1, 7, dtype=np.float32), 2)})
    assert "duplicates 6" in made(vigie, data, source + '\nlabel_source = "dpr"', "dpr_rain_rate")[0]


def test_longitudes_beyond_180_are_wrapped(vigie, data):
    east = put("S1/Longitude", lambda values: values + np.float32(160))(data)
    _, found = made(vigie, data, east, "granule")
    assert found["longitude"].values[0, 0] == pytest.approx(-100)
    source = changed(lambda swath: swath.assign_coords(longitude=swath["longitude"] + np.float32(200)))(data)
    _, found = made(vigie, data, source, "orbit-0")
    assert found["longitude"].values[0, 0] == pytest.approx(-140)
    _, found = made(
        vigie, data, table(data, Longitude=np.full(12, 190, np.float32)) + '\nlabel_source = "dpr"', "dpr_rain_rate"
    )
    assert found["longitude"].values[0, 0] == pytest.approx(-170)


@pytest.mark.parametrize("key", ["train.head", "predict"])
@pytest.mark.parametrize(
    ("levels", "found"), [("[0.1, 0.1]", "0.1 after 0.1"), ("[0.9, 0.5]", "0.5 after 0.9"), ("[0, 0.5]", "0.0")]
)
def test_levels_that_do_not_increase_are_refused_before_work(refused, vigie, data, key, levels, found):
    refused(vigie("run", ORBITS, f"[{key}]\nlevels = {levels}"), f"key '{key}.levels' is wrong", found)
    assert not (data.parent / "runs").exists()


def only_dry(folder: Path) -> str:
    """Orbits of two regimes, with rain rates in one."""
    silent = orbit(1, vapour=60.0)
    save_swath(folder / "orbit-1.nc", silent.assign(truth=silent["truth"].where(False)))
    return ORBITS


def no_vapour(folder: Path) -> str:
    save_swath(folder / "orbit-1.nc", orbit(1).drop_vars("total_column_water_vapour"))
    return ORBITS


FOLDS: dict[str, tuple[Make, str, tuple[str, ...]]] = {
    "one regime": (lambda _: ORBITS, 'by = "regime"', ("cannot make 2 folds by regime", "288 footprints", "30 to 30 kg m-2")),
    "rain in one regime": (only_dry, 'by = "regime"', ("cannot make 2 folds by regime", "144 footprints", "other regimes")),
    "no regime": (no_vapour, 'by = "regime"', ("regimes are ranges of water vapour, which these swaths do not have",)),
    "one orbit": (lambda _: 'files = "orbit-0.nc"', 'by = "orbit"', ("cannot make 2 folds by orbit; found 1 of it",)),
    "one sensor": (lambda _: ORBITS, 'by = "sensor"', ("cannot make 2 folds by sensor; found 1 of it: GMI",)),
    "days that are all tested": (
        lambda _: ORBITS,
        "test_days = [1, 2]",
        ("hold out everything, or nothing; found days [1, 2]",),
    ),
}


@pytest.mark.parametrize(("make", "folds", "words"), FOLDS.values(), ids=FOLDS)
def test_folds_that_cannot_be_made_are_refused_before_networks_learn(refused, vigie, data, make, folds, words):
    by = "" if "by" in folds else 'by = "day", '
    told = vigie("run", make(data), SMALL.replace('by = "orbit"', by + folds))
    refused(told, *words)
    assert not (data.parent / "runs" / "run" / "model").exists()


@pytest.mark.parametrize("stage", ["harmonize", "train", "predict", "verify", "publish"])
def test_a_disk_that_fills_up_leaves_nothing_half_written_and_the_run_goes_on(refused, vigie, data, monkeypatch, stage):
    stages = ("acquire", "harmonize", "train", "predict", "verify", "publish")
    for before in stages[: stages.index(stage)]:
        assert vigie(before, ORBITS) == (None, "")
    replace, left = Path.replace, [2 if stage in ("harmonize", "predict") else 0]

    def full(self: Path, target: Path) -> Path:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", full)
        refused(vigie(stage, ORBITS), "cannot write", "found No space left on device", "finished tiles are kept")
    run = data.parent / "runs"
    assert not [path for path in run.rglob(".*") if re.match(r"\.[0-9a-f]{32}\.", path.name)]
    assert vigie("run", ORBITS) == (None, "")


def test_a_disk_that_fills_up_inside_an_array_is_told_and_the_tiles_before_are_kept(refused, vigie, data, monkeypatch):
    for stage in ("acquire", "harmonize", "train"):
        assert vigie(stage, ORBITS) == (None, "")
    written, left = zarr.storage.LocalStore.set, [1]

    async def full(self: zarr.storage.LocalStore, key: str, value: object) -> None:
        left[0] -= "rainfall_rate_quantile/c/" in key
        if left[0] < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        await written(self, key, value)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.storage.LocalStore, "set", full)
        refused(vigie("predict", ORBITS), "prediction.zarr", "found No space left on device", "finished tiles are kept")
    markers = data.parent / "runs" / "run" / ".prediction.zarr.done"
    assert len(list(markers.rglob("scan*"))) == 1
    assert vigie("run", ORBITS) == (None, "")
