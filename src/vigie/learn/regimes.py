"""Regimes of pixels: what surface they are of, how much vapour is above it, how far from the equator.

Losses are weighed by them (`vigie.learn.robust`), intervals are calibrated in each of them, and scores are told apart by them.
They are known before the rain is. What a swath does not tell is a regime of its own, "unknown".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise, product
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, field_validator

UNKNOWN = "unknown"
REGIME_FIELDS = ("land_fraction", "total_column_water_vapour")
"""Ancillary fields that regimes are told by, besides the latitude."""
COAST = (0.05, 0.95)
"""Land fractions of a footprint between which it is coast."""


class RegimeSettings(BaseModel):
    """What regimes are made of."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    by: tuple[Literal["surface", "vapour", "latitude"], ...] = Field(
        default=(), description="what regimes differ in: 'surface' (sea, coast, land), 'vapour', 'latitude'; none: all are one"
    )
    vapour_kg_m2: tuple[float, ...] = Field(default=(15.0, 30.0, 45.0), description="edges of 'vapour', kg m-2")
    latitude_deg: tuple[float, ...] = Field(default=(30.0, 60.0), description="edges of 'latitude', degrees from the equator")

    @field_validator("vapour_kg_m2", "latitude_deg")
    @classmethod
    def _edges_increase(cls, edges: tuple[float, ...]) -> tuple[float, ...]:
        if any(after <= before for before, after in pairwise(edges)):
            raise ValueError("edges increase")
        return edges


EVERYWHERE = RegimeSettings()
"""All pixels are of one regime."""


def regime_names(settings: RegimeSettings) -> tuple[str, ...]:
    """Name all regimes, in the order of their codes.

    Examples
    --------
    >>> regime_names(RegimeSettings(by=("vapour",), vapour_kg_m2=(30.0,)))
    ('below 30 kg m-2', 'from 30 kg m-2', 'unknown')
    >>> regime_names(RegimeSettings())
    ('all',)
    """
    named = {
        "surface": ("sea", "coast", "land", UNKNOWN),
        "vapour": (*_between(settings.vapour_kg_m2, "kg m-2"), UNKNOWN),
        "latitude": (*_between(settings.latitude_deg, "degrees"), UNKNOWN),
    }
    return tuple(", ".join(parts) or "all" for parts in product(*(named[part] for part in settings.by)))


def regimes(swath: xr.Dataset, settings: RegimeSettings) -> NDArray[np.int16]:
    """Code of the regime of each pixel (scan, pixel), an index of `regime_names`.

    Examples
    --------
    >>> maps = {"land_fraction": [[0.0, 1.0, np.nan]], "latitude": [[0.0, 0.0, 0.0]]}
    >>> swath = xr.Dataset({name: (("scan", "pixel"), values) for name, values in maps.items()})
    >>> regimes(swath, RegimeSettings(by=("surface",))).tolist()
    [[0, 2, 3]]
    """
    code = np.zeros(swath["latitude"].shape, dtype=np.int16)
    for part in settings.by:
        field, edges = FIELDS[part](swath, settings)
        step = np.where(np.isfinite(field), np.digitize(field, edges), len(edges) + 1)
        code = (code * (len(edges) + 2) + step).astype(np.int16)
    return code


Edged = tuple[NDArray[np.floating], tuple[float, ...]]


def _field(swath: xr.Dataset, name: str) -> NDArray[np.floating]:
    return swath[name].values if name in swath else np.full(swath["latitude"].shape, np.nan)


FIELDS: Mapping[str, Callable[[xr.Dataset, RegimeSettings], Edged]] = {
    "surface": lambda swath, settings: (_field(swath, "land_fraction"), COAST),
    "vapour": lambda swath, settings: (_field(swath, "total_column_water_vapour"), settings.vapour_kg_m2),
    "latitude": lambda swath, settings: (np.abs(swath["latitude"].values), settings.latitude_deg),
}
"""The field (scan, pixel) of each part of a regime, and its edges."""


def _between(edges: tuple[float, ...], unit: str) -> list[str]:
    if not edges:
        return ["all"]
    middle = [f"{low:g} to {high:g} {unit}" for low, high in pairwise(edges)]
    return [f"below {edges[0]:g} {unit}", *middle, f"from {edges[-1]:g} {unit}"]
