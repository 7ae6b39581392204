"""How much of the Earth the cells of a grid cover, from their centres alone."""

from __future__ import annotations

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.apps.precipitation.assess.matching import Cells
from vigie.apps.precipitation.assess.record import Record

Floats = NDArray[np.float64]

WEIGHTED = (
    "Cells count by their area in scores of rates, detection, intensities, the CRPS, indices and the hydrological sensitivity. "
    "Fractions skill, coherence, coverage, reliability and spread count pixels alike; so does the sampling error."
)
"""What areas weigh in."""


def common_area(record: Record, cells: Cells) -> xr.DataArray | None:
    """Area of the cells of a grid, 1 on average over those that are compared."""
    if record.geometry != "grid":
        return None
    areas = cell_areas(record.place["latitude"].values, record.place["longitude"].values)
    if areas is None:
        return None
    found = xr.Dataset({"area": (("y", "x"), areas)})
    mean = float(cells.pick(found, 0)["area"].mean())
    return found["area"] / mean if mean > 0 else None


def how_cells_count(record: Record, area: xr.DataArray | None) -> tuple[str, ...]:
    """Say how cells count."""
    if record.geometry != "grid":
        return ()
    return (WEIGHTED,) if area is not None else ("Cells count alike: nobody says where they are.",)


def cell_areas(latitude: Floats, longitude: Floats) -> Floats | None:
    """Measure cells (y, x) by their centres, degrees; only their ratios mean something. None where positions are not known.

    On axes of latitude and longitude a cell reaches half-way to its neighbours, and to no more than a pole:
    (sin of north - sin of south) times its width, which on even axes goes as the cosine of latitude. Cells of other grids are
    parallelograms between neighbouring centres.

    Examples
    --------
    >>> north, east = np.meshgrid([0.0, 60.0], [0.0, 1.0, 2.0], indexing="ij")
    >>> areas = cell_areas(north, east)
    >>> (areas[1] / areas[0]).round(2).tolist()
    [0.5, 0.5, 0.5]
    """
    known = np.isfinite(latitude) & np.isfinite(longitude)
    if not known.any():
        return None
    if known.all() and (np.ptp(latitude, axis=1) < 1e-6).all() and (np.ptp(longitude, axis=0) < 1e-6).all():
        north = np.abs(np.diff(np.sin(np.deg2rad(_edges(latitude[:, 0]).clip(-90, 90)))))
        east = np.abs(np.diff(_edges(np.asarray(np.unwrap(longitude[0], period=360), np.float64))))
        return np.asarray(np.outer(north, east), np.float64)
    if min(latitude.shape) < 2:
        return None
    phi, lam = np.deg2rad(latitude), np.deg2rad(longitude)
    point = np.stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)], axis=-1)
    along, across = np.gradient(point, axis=(0, 1))
    return np.asarray(np.nan_to_num(np.linalg.norm(np.cross(along, across), axis=-1)), np.float64)


def _edges(centres: Floats) -> Floats:
    """Half-way between centres, and as far beyond the outer ones; a lone cell is one degree wide."""
    if centres.size == 1:
        return np.asarray([centres[0] - 0.5, centres[0] + 0.5], np.float64)
    middle = (centres[1:] + centres[:-1]) / 2
    return np.concatenate([[2 * centres[0] - middle[0]], middle, [2 * centres[-1] - middle[-1]]])
