"""Climatologies of what was retrieved: days, months and all of it on one grid, from the samples that the swath files hold.

One period is counted at a time, from the files in `products/`, so that memory holds one grid of histograms
(`verify.climatology.Cells.bytes`), however many swaths there are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from vigie.core import store
from vigie.core.errors import VigieError
from vigie.core.granule import Granule
from vigie.core.tiles import tiles
from vigie.core.vocabulary import named
from vigie.predict.quality import QUALITY
from vigie.publish.cog import write_cog
from vigie.publish.netcdf import Write, netcdf_stream
from vigie.publish.raster import array_raster, window_reader
from vigie.publish.stac import Asset
from vigie.publish.zarr_store import zarr_stream
from vigie.verify.climatology import QUANTILE_ERROR, QUANTILES, Cells, GridCounts, finish_climatology

Kind = Literal["day", "month", "all"]
Moment = np.datetime64
TITLES: Mapping[Kind, str] = {
    "day": "Daily climatology of retrieved rain",
    "month": "Monthly climatology of retrieved rain",
    "all": "Climatology of all retrieved rain",
}
WET_MM_H = 0.1
"""Least rain of a wet sample."""
BLOCK = 4096
"""Scans of a swath file that are read together."""
AXIS_UNITS = {"latitude": "degrees_north", "longitude": "degrees_east"}
OVER = "time: latitude: longitude: "
VARIABLES: Mapping[str, tuple[tuple[str, ...], str, Mapping[str, str]]] = {
    "count": ((), "int32", {"long_name": "samples: one a footprint", "units": "1", "cell_methods": OVER + "sum"}),
    "mean": ((), "float32", {**named("climatology_mean").attributes, "cell_methods": OVER + "mean"}),
    "wet_fraction": ((), "float32", {**named("wet_fraction").attributes, "cell_methods": OVER + "mean"}),
    "doubtful_fraction": (
        (),
        "float32",
        {"long_name": "share of samples that are out of distribution", "units": "1", "cell_methods": OVER + "mean"},
    ),
    "rain_quantile": (
        ("quantile",),
        "float32",
        {"long_name": "quantile of the rain rate of a cell, dry samples included", "units": "mm h-1"},
    ),
}
"""Dimensions before the grid's, type and attributes."""
MAPPED = ("mean", "p99", "wet_fraction")
"""Maps for geographic information systems, a band a period."""


@dataclass(frozen=True)
class Period:
    """A stretch of time, from `begin` to before `end`; a name for a person. Without times it is all there is."""

    name: str
    begin: Moment | None = None
    end: Moment | None = None

    def holds(self, time: NDArray[np.datetime64]) -> NDArray[np.bool_]:
        """Say which scans lie in it."""
        if self.begin is None or self.end is None:
            return np.ones(time.shape, dtype=bool)
        return (time >= self.begin) & (time < self.end)

    def meets(self, granule: Granule) -> bool:
        """Say whether a granule may have scans in it."""
        if self.begin is None or self.end is None:
            return True
        begin, end = span_of(granule)
        return begin is not None and end is not None and bool(begin < self.end) and bool(end >= self.begin)


def span_of(granule: Granule) -> tuple[Moment | None, Moment | None]:
    """First and last time of a granule; None where nobody knows."""
    if granule.begin is None or granule.end is None:
        return None, None
    begin, end = (np.datetime64(text.removesuffix("Z"), "s") for text in (granule.begin, granule.end))
    return begin, end


def periods_of(kind: Kind, granules: Sequence[Granule]) -> list[Period]:
    """List the days or months in which granules have scans, or the whole; tables that do not tell their year have no days.

    Examples
    --------
    >>> granule = Granule("a", "", "GMI", "GPM", "1C", (), 1, 1, {}, begin="2020-01-31T23:00:00Z", end="2020-02-01T00:30:00Z")
    >>> [period.name for period in periods_of("day", [granule])], [period.name for period in periods_of("month", [granule])]
    (['2020-01-31', '2020-02-01'], ['2020-01', '2020-02'])
    """
    spans = [(begin, end) for begin, end in map(span_of, granules) if begin is not None and end is not None]
    if kind == "all":
        known = len(spans) == len(granules)
        ends = (
            (min(begin for begin, _ in spans), max(end for _, end in spans) + np.timedelta64(1, "s")) if known else (None, None)
        )
        return [Period("all", *ends)]
    unit = "M8[D]" if kind == "day" else "M8[M]"
    firsts = [np.arange(begin.astype(unit), end.astype(unit) + 1) for begin, end in spans]
    return [
        Period(str(one), one.astype("M8[s]"), (one + 1).astype("M8[s]"))
        for one in sorted({one for days in firsts for one in days})
    ]


def cells_around(granules: Sequence[Granule], cell_deg: float) -> Cells:
    """Take the cells of the Earth's grid that hold all granules."""
    corners = np.concatenate([np.array(granule.footprint["coordinates"][0]) for granule in granules])
    (west, south), (east, north) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return Cells.around(south, west, north, east, cell_deg)


def write_climatology(
    kind: Kind,
    files: Sequence[tuple[Granule, Path]],
    cells: Cells,
    folder: Path,
    formats: Sequence[str],
    record: Mapping[str, Any],
) -> dict[str, Asset]:
    """Count the samples of swath files period by period, and write them; give what was written by the keys of STAC assets."""
    periods = periods_of(kind, [granule for granule, _ in files])
    if not periods:
        return {}
    title, path, template = TITLES[kind], folder / f"{kind}.nc", template_of(periods, cells)
    assets = {"netcdf": Asset(path, f"{title}: CF NetCDF")}
    with ExitStack() as open_files:
        writers: list[Write] = [open_files.enter_context(netcdf_stream(path, template, title, record))]
        if "zarr" in formats:
            store_path = path.with_suffix(".zarr")
            writers.append(open_files.enter_context(zarr_stream(store_path, template, title, record)))
            assets["zarr"] = Asset(store_path, f"{title}: Zarr")
        for number, period in enumerate(periods):
            found = stored(counted(period, files, cells))
            for write in writers:
                write({"time": slice(number, number + 1)}, found)
    return assets


def counted(period: Period, files: Sequence[tuple[Granule, Path]], cells: Cells) -> xr.Dataset:
    """Count the samples of one period, and how many of them are out of distribution.

    These count like others: heavy rain is rarely like what was learnt from, and a climatology without it is too dry.
    """
    counts = GridCounts(cells)
    for granule, path in files:
        if period.meets(granule):
            with xr.open_dataset(path, engine="h5netcdf", cache=False) as file:
                for tile in tiles({"scan": file.sizes["scan"]}, {"scan": BLOCK}):
                    block = file[["rainfall_rate_sample", "quality_flag"]].isel(tile.keep)
                    flag = block["quality_flag"].values
                    usable = (flag < QUALITY["no_retrieval"]) & period.holds(times(block))[:, None]
                    rain, latitude, longitude = (
                        block[name].values[usable] for name in ("rainfall_rate_sample", "latitude", "longitude")
                    )
                    counts.add(rain, latitude, longitude, flag[usable] == QUALITY["out_of_distribution"])
    return finish_climatology(counts.tally(), WET_MM_H)


def times(block: xr.Dataset) -> NDArray[np.datetime64]:
    """Times of scans, unknown where the swath has none."""
    if "time" in block.coords:
        return block["time"].values.astype("datetime64[ns]")
    return np.full(block.sizes["scan"], "NaT", dtype="datetime64[ns]")


def stored(found: xr.Dataset) -> xr.Dataset:
    """Bring the climatology of one period into the types and dimensions of the file."""
    return xr.Dataset(
        {
            name: (("time", *first, "latitude", "longitude"), found[name].values.astype(dtype)[None])
            for name, (first, dtype, _) in VARIABLES.items()
        }
    )


def template_of(periods: Sequence[Period], cells: Cells) -> xr.Dataset:
    """Describe a climatology: axes with bounds, and room for what is counted."""
    made = xr.Dataset(
        coords={"latitude": cells.latitude, "longitude": cells.longitude, "quantile": np.array(QUANTILES)},
        attrs={
            "wet_mm_h": WET_MM_H,
            "quantile_relative_error": QUANTILE_ERROR,
            "samples": "rainfall_rate_sample of each footprint; doubtful_fraction tells how many are out of distribution",
        },
    )
    half = cells.cell_deg / 2
    for axis in AXIS_UNITS:
        centres = made[axis].values
        made[axis].attrs = {"units": AXIS_UNITS[axis], "bounds": f"{axis}_bnds"}
        made[f"{axis}_bnds"] = ((axis, "nv"), np.stack([centres - half, centres + half], axis=-1))
    made["quantile"].attrs = {"long_name": "level of the quantile", "units": "1"}
    made = _with_times(made, periods)
    sizes = {"time": len(periods), **made.sizes}
    for name, (first, dtype, attributes) in VARIABLES.items():
        dims = ("time", *first, "latitude", "longitude")
        made[name] = store.empty(dims, [sizes[dim] for dim in dims], dtype, attributes)
    return made


def _with_times(made: xr.Dataset, periods: Sequence[Period]) -> xr.Dataset:
    """Add the middle and the bounds of each period, where they are known."""
    bounds = [(period.begin, period.end) for period in periods if period.begin is not None and period.end is not None]
    if not bounds:
        return made.assign_attrs(period="times of the footprints are not known")
    edges = np.array(bounds, dtype="datetime64[s]")
    middle = edges[:, 0] + (edges[:, 1] - edges[:, 0]) // 2
    attributes = {"standard_name": "time", "long_name": "middle of the period", "axis": "T", "bounds": "time_bnds"}
    made = made.assign_coords(time=("time", middle, attributes)).assign(time_bnds=(("time", "nv"), edges))
    for name in ("time", "time_bnds"):
        made[name].encoding = {"units": "seconds since 1970-01-01", "dtype": "int64"}
    return made


def write_maps(path: Path, folder: Path, tags: Mapping[str, str]) -> dict[str, Asset]:
    """Write mean, p99 and wet fraction of a climatology file as cloud-optimised GeoTIFFs, a band a period."""
    assets = {}
    with xr.open_dataset(path, engine="h5netcdf", cache=False) as file:
        for name in MAPPED:
            array = northwards_first(map_of(file, name))
            target = folder / f"{path.stem}_{name}.tif"
            write_cog(target, array_raster(array, grid_of_cells(array), tags), window_reader(array))
            assets[name] = Asset(target, str(array.attrs["long_name"]))
    return assets


def map_of(file: xr.Dataset, name: str) -> xr.DataArray:
    """Take one map (time, latitude, longitude) of a climatology, named and described as in the vocabulary."""
    array = file["rain_quantile"].sel(quantile=0.99, drop=True) if name == "p99" else file[name]
    described = named("climatology_" + name if name in ("mean", "p99") else name)
    return array.rename(name).assign_attrs(described.attributes)


def northwards_first(array: xr.DataArray) -> xr.DataArray:
    """Turn a map upside down, as images are, and name its bands by their periods."""
    turned = array.isel(latitude=slice(None, None, -1))
    if "time" not in turned.coords:
        return turned
    names = np.datetime_as_string(turned["time"].values, unit="D").astype(np.str_)
    return turned.drop_vars("time").assign_coords(period=("time", names))


def grid_of_cells(array: xr.DataArray) -> GeoBox:
    """Make the grid of a map whose first row is the northernmost."""
    (rows, columns), north = array.shape[-2:], float(array["latitude"][0])
    steps = [abs(float(array[axis][1] - array[axis][0])) for axis in ("latitude", "longitude") if array.sizes[axis] > 1]
    if not steps:
        raise VigieError("a climatology of one cell is no map", found="1 x 1 cell", do="lower publish.grid_deg")
    step, west = steps[0], float(array["longitude"][0])
    box = (west - step / 2, north + step / 2 - rows * step, west - step / 2 + columns * step, north + step / 2)
    return GeoBox.from_bbox(box, "EPSG:4326", shape=(rows, columns))
