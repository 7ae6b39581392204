"""What a retrieval network is shown of a swath: temperatures, departures from clear sky, differences, ancillary fields.

Layers are made of the same channels, so that a network can be shown one of them or several:

    temperature        every channel, K
    departure          every channel minus what clear sky would show there, K (`climate_inputs.ClearSky`, which is fitted)
    invariant          polarisation differences, PCT, differences at 183 GHz and between frequencies, K
    relative-vapour    column vapour over that of a saturated column

Departures and relative vapour need ancillary fields; where these are missing so are they.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
import xarray as xr
from numpy.typing import NDArray
from torch import Tensor

from vigie.learn import channels
from vigie.learn.climate_inputs import ROLES, ClearSky, fit_clear_sky, invariant_inputs, relative_vapour

Layer = Literal["temperature", "departure", "invariant", "relative-vapour"]
Floats = NDArray[np.float32]

CLEAR_SKY_FIELDS = {
    "tcwv": "total_column_water_vapour",
    "skt": "skin_temperature",
    "lsm": "land_fraction",
    "u10": "eastward_wind_10m",
    "v10": "northward_wind_10m",
}
"""ERA5's short names of what a clear sky is told by, and the vocabulary's."""
VAPOUR_FIELDS = {"tcwv": "total_column_water_vapour", "t2m": "air_temperature_2m"}
OBSERVED = "observed_label"
"""The field that tells observed labels from simulated ones while learning; a retrieval asks for what would be observed."""
DEPARTURE, DIFFERENCE = "departure {}", "difference {}"
"""How columns are named that are no channel."""


@dataclass(frozen=True)
class Inputs:
    """What is shown: channels and ancillary fields by name, and the layers that are made of channels.

    `clear_sky` is what departures are from; None where they are not shown.
    """

    channels: tuple[str, ...]
    ancillary: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ("temperature",)
    clear_sky: ClearSky | None = None

    def of(self, swath: xr.Dataset, shown: Sequence[str] | None = None) -> Table:
        """Put all columns of a loaded swath side by side.

        Parameters
        ----------
        swath: in the layout of `vigie.core.swath`, with the ancillary fields.
        shown: channels of the swath that are shown, in order; left out: those of the model.
        """
        names = self.channels if shown is None else tuple(shown)
        temperature = swath["brightness_temperature"].sel(channel=list(names))
        tables = [self._layer(layer, swath, temperature) for layer in self.layers]
        nothing = np.zeros((*temperature.shape[:-1], 0), dtype=np.float32)
        fields = np.concatenate([nothing, *(ancillary_field(swath, name)[..., None] for name in self.ancillary)], axis=-1)
        described = channels.describe(swath.isel(channel=slice(0)), self.ancillary)
        return joined([*tables, Table(fields.astype(np.float32), self.ancillary, described)])

    def _layer(self, layer: Layer, swath: xr.Dataset, temperature: xr.DataArray) -> Table:
        if layer == "temperature":
            names = tuple(map(str, temperature["channel"].values))
            return Table(temperature.values.astype(np.float32), names, channels.describe(temperature.to_dataset(name="t")))
        if layer == "departure":
            return self._departures(swath, temperature)
        if layer == "invariant":
            return invariants(temperature)
        vapour = relative_vapour(renamed(swath, VAPOUR_FIELDS)).values[..., None]
        described = channels.describe(swath.isel(channel=slice(0)), ["relative_vapour"])
        return Table(vapour.astype(np.float32), ("relative_vapour",), described)

    def _departures(self, swath: xr.Dataset, temperature: xr.DataArray) -> Table:
        assert self.clear_sky is not None, "departures are from a clear sky"
        common = [name for name in map(str, temperature["channel"].values) if name in self.clear_sky.channels]
        background = self.clear_sky.background(renamed(swath, CLEAR_SKY_FIELDS)).sel(channel=common)
        chosen = temperature.sel(channel=common)
        values = chosen.values - background.transpose(*chosen.dims).values
        described = channels.of_kind(channels.describe(chosen.to_dataset(name="t")), "departure")
        return Table(values.astype(np.float32), tuple(DEPARTURE.format(name) for name in common), described)

    def needed(self) -> tuple[str, ...]:
        """Name the ancillary fields of a swath without which a column cannot be made."""
        more = {"departure": CLEAR_SKY_FIELDS, "relative-vapour": VAPOUR_FIELDS}
        wanted = [name for layer in self.layers for name in more.get(layer, {}).values()]
        own = [name for name in self.ancillary if name != OBSERVED]
        return tuple(dict.fromkeys([*own, *wanted]))

    def to_json(self) -> dict[str, Any]:
        """Put them into JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> Inputs:
        """Read back what `to_json` and JSON made of them; KeyError, TypeError or ValueError where they are none."""
        clear_sky = ClearSky.from_dict(record["clear_sky"]) if record["clear_sky"] else None
        return cls(tuple(record["channels"]), tuple(record["ancillary"]), tuple(record["layers"]), clear_sky)


@dataclass(frozen=True)
class View:
    """What one network sees of all columns: some layers, and some ancillary fields.

    Networks that see the same say the same; those that see different things err differently, and their mean errs less.
    """

    layers: tuple[Layer, ...] = ("temperature",)
    ancillary: tuple[str, ...] = ()

    def columns(self, names: Sequence[str]) -> list[int]:
        """Say which columns are seen, by their names.

        Examples
        --------
        >>> View(("departure",), ("elevation",)).columns(["89.00V", "departure 89.00V", "land_fraction", "elevation"])
        [1, 3]
        """
        return [n for n, name in enumerate(names) if name in self.ancillary or layer_of(name) in self.layers]


TEMPERATURES = View()
"""All channels, and nothing else."""


def layer_of(name: str) -> str:
    """Say of which layer a column is, by its name; "" of an ancillary field.

    Examples
    --------
    >>> [layer_of(name) for name in ("89.00V", "difference PCT89", "relative_vapour", "elevation")]
    ['temperature', 'invariant', 'relative-vapour', '']
    """
    for start, layer in ((DEPARTURE, "departure"), (DIFFERENCE, "invariant")):
        if name.startswith(start.format("")):
            return layer
    if name == "relative_vapour":
        return "relative-vapour"
    return "" if name in channels.ANCILLARY else "temperature"


def union(views: Sequence[View]) -> View:
    """Take all that is seen in any view."""
    layers = dict.fromkeys(layer for view in views for layer in view.layers)
    return View(tuple(layers), tuple(dict.fromkeys(name for view in views for name in view.ancillary)))


@dataclass(frozen=True)
class Table:
    """Columns of a swath: x (scan, pixel, B), NaN where missing, their names, and descriptors (B, WIDTH)."""

    x: Floats
    names: tuple[str, ...]
    bands: Tensor


def joined(tables: Sequence[Table]) -> Table:
    """Put tables of the same pixels side by side."""
    names = tuple(name for table in tables for name in table.names)
    return Table(np.concatenate([table.x for table in tables], axis=-1), names, torch.cat([table.bands for table in tables]))


def invariants(temperature: xr.DataArray) -> Table:
    """Make all differences that hold across climates and that the channels allow."""
    made = invariant_inputs(temperature)
    names = tuple(map(str, made["input"].values))
    rows = [channels.describe_derived(*_kind(name)) for name in names]
    bands = torch.cat(rows) if rows else torch.zeros(0, channels.WIDTH)
    return Table(made.values.astype(np.float32), tuple(DIFFERENCE.format(name) for name in names), bands)


def _kind(name: str) -> tuple[str, float, float]:
    """Kind, frequency and sideband of a difference, by its name: "PCT37", "89V-166V", "183+-7-183+-3".

    Examples
    --------
    >>> _kind("PCT37"), _kind("10V-10H"), _kind("89V-166V"), _kind("183+-7-183+-3")
    (('corrected', 37.0, 0.0), ('polarisation', 10.5, 0.0), ('step', 88.5, 0.0), ('line', 183.5, 7.0))
    """
    if name.startswith("PCT"):
        return "corrected", _middle(name.removeprefix("PCT")), 0.0
    if "+-" in name:
        role, side, _ = name.split("+-")
        return "line", _middle(role), float(side.rpartition("-")[0])
    first, second = name.split("-")
    return ("polarisation" if second.endswith("H") else "step"), _middle(first[:-1]), 0.0


def _middle(role: str) -> float:
    low, high = ROLES[role]
    return (low + high) / 2


def clear_sky_of(swaths: Sequence[xr.Dataset], names: Sequence[str], rows: Sequence[NDArray[np.bool_]]) -> ClearSky:
    """Fit what clear sky shows in channels, on rows (scan, pixel) of loaded swaths that are known to be dry.

    Raises
    ------
    VigieError: they are too few.
    """
    temperature, fields = [], []
    for swath, chosen in zip(swaths, rows, strict=True):
        dry = xr.DataArray(chosen, dims=("scan", "pixel")).stack(row=("scan", "pixel"), create_index=False)
        stacked = swath.stack(row=("scan", "pixel"), create_index=False)
        temperature.append(
            stacked["brightness_temperature"].sel(channel=list(names)).isel(row=dry.values).drop_vars("row", errors="ignore")
        )
        fields.append(renamed(stacked, CLEAR_SKY_FIELDS).isel(row=dry.values))
    return fit_clear_sky(xr.concat(temperature, "row", coords="minimal", compat="override"), xr.concat(fields, "row"))


def ancillary_field(swath: xr.Dataset, name: str) -> NDArray[np.floating]:
    """Take an ancillary field (scan, pixel); the one that tells observed labels apart is 1 unless a swath says otherwise."""
    if name == OBSERVED and name not in swath:
        return np.ones(swath["latitude"].shape, dtype=np.float32)
    return swath[name].values


def renamed(swath: xr.Dataset, fields: dict[str, str]) -> xr.Dataset:
    """Take fields of a swath under ERA5's short names."""
    return xr.Dataset({short: swath[name].drop_vars(list(swath[name].coords)) for short, name in fields.items()})
