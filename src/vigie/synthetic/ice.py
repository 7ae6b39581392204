"""Daily maps of a synthetic ice cover with known behaviour, in the files that NSIDC writes: for the demo and the tests.

Ice grows towards a pole and shrinks from it with the seasons; weather moves its edge about, remembered for days (a red noise in
space and time). Nothing is drawn from real data.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

CELL_M = 25_000.0
MEMORY_DAYS = 8.0
"""Days after which weather has forgotten two thirds."""
WEATHER_CELLS = 5.0
"""Length over which weather is alike, cells."""
EDGE_CELLS = 3.0
"""Width of the belt in which concentration falls."""
SPIN_UP_DAYS = 30


def write_years(folder: Path, years: range, side: int = 64, seed: int = 0) -> list[Path]:
    """Write one file a year, and give their paths.

    Examples
    --------
    >>> import tempfile
    >>> paths = write_years(Path(tempfile.mkdtemp()), range(2001, 2003), side=16)
    >>> [path.name for path in paths], xr.open_dataset(paths[0], mask_and_scale=False)["sic_raw"].shape
    (['ice_2001.nc', 'ice_2002.nc'], (365, 16, 16))
    """
    folder.mkdir(parents=True, exist_ok=True)
    days = np.arange(f"{years.start}-01-01", f"{years.stop}-01-01", dtype="datetime64[D]")
    raw = maps(days, side, seed)
    made = []
    for year in years:
        mine = days.astype("datetime64[Y]").astype(int) + 1970 == year
        path = folder / f"ice_{year}.nc"
        encoding = {"sic_raw": {"_FillValue": None, "zlib": True}}
        dataset_of(raw[mine], days[mine]).to_netcdf(path, engine="h5netcdf", encoding=encoding)
        made.append(path)
    return made


def maps(days: NDArray[np.datetime64], side: int, seed: int) -> NDArray[np.uint8]:
    """Draw raw bytes (day, y, x): concentration times 250, 254 on land, 251 in the pole hole, 255 where a stripe is missing."""
    random = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    from_pole = np.hypot(y, x)
    land = (x > 0.3 * side) | (from_pole > 0.48 * side)
    weather = np.zeros((side, side))
    keep = np.exp(-1 / MEMORY_DAYS)
    found = np.empty((len(days), side, side), dtype=np.uint8)
    for number in range(-SPIN_UP_DAYS, len(days)):
        noise = gaussian_filter(random.standard_normal((side, side)), WEATHER_CELLS, mode="reflect")
        weather = keep * weather + np.sqrt(1 - keep**2) * noise / noise.std()
        if number < 0:
            continue
        day = days[number]
        season = np.cos(2 * np.pi * ((day - day.astype("datetime64[Y]")).astype(int) - 70) / 365.25)
        reach = side * (0.27 + 0.12 * season) + 2.0 * weather
        concentration = 1 / (1 + np.exp((from_pole - reach) / (EDGE_CELLS / 2)))
        found[number] = np.rint(250 * np.where(concentration < 0.05, 0.0, concentration))
        if random.random() < 0.1:
            found[number, :, random.integers(side)] = 255
        found[number][land] = 254
        found[number][from_pole < 1] = 251
    return found


def dataset_of(raw: NDArray[np.uint8], days: NDArray[np.datetime64]) -> xr.Dataset:
    """Put maps into the layout of NSIDC's files, centred on the pole."""
    side = raw.shape[-1]
    at = (np.arange(side) - (side - 1) / 2) * CELL_M
    fields = {"sic_raw": (("time", "y", "x"), raw)}
    title = "synthetic ice cover, no real data"
    return xr.Dataset(fields, {"time": days.astype("datetime64[ns]"), "y": -at, "x": at}, {"title": title})
