"""Read tables of single GMI footprints with labels (`gmi_pairs/*.npz`): brightness temperatures, ERA5 fields, rain or phase.

A table becomes a swath one pixel wide. Nobody wrote down the year; rows of one calendar day are one group, because neighbours
in a table are neighbours on the ground. What is known to be wrong in these tables is mended here and counted in the attributes:

    count_dropped               rows where a temperature is at or below 50 K: no radiometer data
    count_duplicates            rows that repeat an earlier one in all temperatures and the label (kept)
    count_no_ancillary          rows where every ERA5 field is 0.0: missing, as total column water vapour tells (NaN)
    count_<variable>_masked     values that are a fill, or a mixture of fill and data left by an interpolation (NaN)
    count_<variable>_rounded    values that an interpolation left below the zero they mean (0)
    count_suspect               rows with a temperature that no Earth shows, most often radio interference (flag `suspect`)

Source of the tables: Subedi, Garshasbi, Ebtehaj 2025, TLP-R2S. In them a label column may be named DPR and be simulated, so
that the caller says where labels come from, and the file's name must not contradict.
"""

from __future__ import annotations

import re
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from xarray import Dataset

from vigie.acquire.granules.instruments import instrument
from vigie.acquire.granules.layout import LOWEST_K, swath, temperature_flags, valid_temperature, wrap
from vigie.core.errors import VigieError, nearest
from vigie.core.swath import FLAGS, LABEL_SOURCES, PHASES, check

Table = Mapping[str, NDArray[Any]]
Field = NDArray[np.float32]

CHANNELS = ("10v", "10h", "18v", "18h", "23v", "36v", "36h", "89v", "89h", "166v", "166h", "183-3", "183-7")
"""Columns of brightness temperature, in the order of GMI's channels."""
RATES = ("DPR rain Rate", "cdf_rain", "snow_rate")
"""Columns that hold a rate [mm h-1], whatever its source."""
PHASE = "Prcp flag"
ERA5 = {
    "tcwv": ("total_column_water_vapour", 1e-3),
    "tclw": ("total_column_cloud_liquid_water", 1e-3),
    "tciw": ("total_column_cloud_ice_water", 1e-3),
    "tcw": ("total_column_water", 1.0),
    "tcslw": ("total_column_supercooled_liquid_water", 1.0),
    "t2m": ("air_temperature_2m", 1.0),
    "skt": ("skin_temperature", 1.0),
    "u10": ("eastward_wind_10m", 1.0),
    "v10": ("northward_wind_10m", 1.0),
    "cape": ("convective_available_potential_energy", 1.0),
    "cin": ("convective_inhibition", 1.0),
    "asn": ("snow_albedo", 1.0),
    "rsn": ("snow_density", 1.0),
    "sd": ("snow_depth", 1.0),
    "swvl1": ("soil_moisture", 1.0),
    "lsm": ("land_fraction", 1.0),
    "siconc": ("sea_ice_fraction", 1.0),
}
"""ERA5 columns: names in the vocabulary, and the factor to its units (three water paths are in g m-2)."""
FILLED = ("cin", "siconc")
"""Columns with fills of -99.99 or -1e9, blurred by interpolation: below zero they are missing."""
ROUNDED = ("cape", "swvl1", "tcslw")
"""Columns that interpolation left slightly below the zero they mean."""
ELEVATION_RANGE_M = (-430.0, 8850.0)
"""From the shore of the Dead Sea to the highest summit."""


def read(path: Path, label_source: str) -> Dataset:
    """Read a table as a swath one pixel wide, in the layout of `vigie.core.swath`.

    `group` is "MM-DD", coordinate `day` the day of the month, by which these tables are split.

    Parameters
    ----------
    path: the .npz file.
    label_source: where its labels come from, one of `LABEL_SOURCES`.

    Raises
    ------
    VigieError: it is no such table, a column is missing, no row has temperatures, or its name tells another source.
    """
    check_source(path, label_source)
    table = load(path)
    kept = np.all([table[name] > LOWEST_K for name in CHANNELS], axis=0)
    if not kept.any():
        raise VigieError(
            f"{path.name}: no row has all brightness temperatures",
            found=f"{kept.size} rows, each with a channel at or below {LOWEST_K:g} K",
            expected="kelvin, and fills in few rows",
            do="leave it out",
        )
    rows = {name: column[kept] for name, column in table.items()}
    channels = instrument("GMI").channels()
    temperature = valid_temperature(np.stack([rows[name] for name in CHANNELS], axis=-1))
    absent = rows["tcwv"] == 0
    ancillary, masked = _ancillary(rows, absent)
    labels = _labels(rows)
    flags = temperature_flags(temperature, channels) | (FLAGS["no_ancillary"] * absent).astype(np.uint8)
    fields = {**labels, **ancillary, "latitude": rows["Latitude"], "longitude": wrap(rows["Longitude"].astype(np.float32))}
    columns = {name: column[:, None] for name, column in {**fields, "flags": flags}.items()}
    counts = {
        "count_dropped": int((~kept).sum()),
        "count_duplicates": len(flags) - len(np.unique(row_keys(temperature, *labels.values()))),
        "count_no_ancillary": int(absent.sum()),
        "count_suspect": int(((flags & FLAGS["suspect"]) != 0).sum()),
        **masked,
    }
    attributes = {
        "swath": path.stem,
        "sensor": "GMI",
        "platform": "GPM",
        "product": "table of footprints",
        "label_source": label_source,
        **counts,
    }
    time = np.full(len(flags), "NaT", dtype="datetime64[ns]")
    columns["brightness_temperature"] = temperature[:, None, :]
    made = swath(columns, time, _days(rows), attributes, channels).assign_coords(day=("scan", rows["Day"].astype(np.int64)))
    check(made)
    return made


def check_source(path: Path, label_source: str) -> None:
    """Refuse a source of labels that is unknown, or that a file's name contradicts.

    Raises
    ------
    VigieError: see above.

    Examples
    --------
    >>> check_source(Path("era5_rain_rate_open.npz"), "dpr")
    Traceback (most recent call last):
    ...
    vigie.core.errors.VigieError: era5_rain_rate_open.npz: its name tells another source of labels; found era5;
    expected label_source 'dpr'; to mend it: declare label_source = "era5", or rename the file
    """
    if label_source not in LABEL_SOURCES:
        raise VigieError(
            f"{path.name}: nobody says where its labels come from",
            found=f"label_source {label_source!r}",
            expected=f"one of {', '.join(LABEL_SOURCES)}",
            do=nearest(label_source, LABEL_SOURCES) or "declare label_source: a column named DPR may hold simulated rain",
        )
    told = [word for word in re.split(r"[^a-z0-9]+", path.stem.lower()) if word in LABEL_SOURCES]
    if told and label_source not in told:
        raise VigieError(
            f"{path.name}: its name tells another source of labels",
            found=", ".join(told),
            expected=f"label_source '{label_source}'",
            do=f'declare label_source = "{told[0]}", or rename the file',
        )


def load(path: Path) -> Table:
    """Read the columns of a table; what its file pickles is refused.

    Raises
    ------
    VigieError: it is no .npz, is damaged, or lacks a column.
    """
    needed = (*CHANNELS, *ERA5, "Latitude", "Longitude", "Month", "Day", "elevation_mean")
    try:
        with path.open("rb") as file:
            content = np.load(file, allow_pickle=False)
            table = {name: content[name] for name in content.files} if isinstance(content, np.lib.npyio.NpzFile) else {}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise VigieError(
            f"{path} is no table of footprints",
            found=error,
            expected="a whole .npz file of plain columns",
            do="download it again",
        ) from error
    missing = [name for name in needed if name not in table]
    if missing or not any(name in table for name in (*RATES, PHASE)):
        raise VigieError(
            f"{path} is no table of GMI footprints",
            found=f"columns {sorted(table)}",
            expected=f"columns {', '.join(missing)}" if missing else f"a label: one of {', '.join((*RATES, PHASE))}",
            do="leave it out",
        )
    return table


def row_keys(*columns: NDArray[np.generic]) -> NDArray[np.void]:
    """Give each row of some columns a key: rows that hold the same bits are the same footprint.

    Tables share rows: those that are held out of one must not be learnt from in another.

    Examples
    --------
    >>> keys = row_keys(np.array([[1.0, 2.0], [1.0, 2.0]]), np.array([3, 4]))
    >>> bool(keys[0] == keys[1]), bool(row_keys(np.ones((2, 3)))[0] == row_keys(np.ones((2, 3)))[1])
    (False, True)
    """
    parts = [np.ascontiguousarray(column).reshape(len(column), -1).view(np.uint8) for column in columns]
    rows = np.ascontiguousarray(np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1))
    return np.asarray(rows.view(f"V{rows.shape[1]}")).ravel()


def _labels(rows: Table) -> dict[str, NDArray[np.generic]]:
    """Rates as `truth`, the phase flag as `phase`; a rate of snow says its phase itself."""
    rate = next((name for name in RATES if name in rows), None)
    found: dict[str, NDArray[np.generic]] = {"truth": rows[rate].astype(np.float32)} if rate else {}
    if PHASE in rows:
        code = rows[PHASE]
        found["phase"] = np.where((code >= 0) & (code < len(PHASES)), code, 255).astype(np.uint8)
    elif "snow_rate" in rows:
        found["phase"] = np.where(rows["snow_rate"] > 0, PHASES.index("snow"), 255).astype(np.uint8)
    return found


def _ancillary(rows: Table, absent: NDArray[np.bool_]) -> tuple[dict[str, Field], dict[str, int]]:
    """ERA5 fields and elevation in the vocabulary's units, NaN where missing, and how many values are masked."""
    found: dict[str, Field] = {}
    masked: dict[str, int] = {}
    for column, (name, factor) in ERA5.items():
        values = np.where(absent, np.nan, rows[column].astype(np.float64) * factor)
        if column in FILLED:
            masked[f"count_{name}_masked"] = int((values < 0).sum())
            values = np.where(values < 0, np.nan, values)
        if column in ROUNDED:
            masked[f"count_{name}_rounded"] = int((values < 0).sum())
            values = np.maximum(values, 0.0)
        found[name] = values.astype(np.float32)
    elevation = rows["elevation_mean"].astype(np.float32)
    beyond = (elevation < ELEVATION_RANGE_M[0]) | (elevation > ELEVATION_RANGE_M[1])
    found["elevation"] = np.where(beyond, np.float32("nan"), elevation)
    return found, {**masked, "count_elevation_masked": int(beyond.sum())}


def _days(rows: Table) -> NDArray[np.str_]:
    pairs = zip(rows["Month"].tolist(), rows["Day"].tolist(), strict=True)
    return np.array([f"{month:02d}-{day:02d}" for month, day in pairs], dtype=np.str_)
