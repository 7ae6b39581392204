"""Inputs that mean the same in a dry and in a moist climate: what a network sees of brightness temperatures besides themselves.

A retrieval that has learnt in dry air takes the vapour of moist air for rain (Beucler et al. 2024, arXiv:2112.08440). Here are
polarisation differences and polarisation-corrected temperatures, differences between the two sides of a water vapour line,
temperatures minus what clear sky would show (`ClearSky`), and vapour over what saturated air would hold. All keep NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError

ROLES: Mapping[str, tuple[float, float]] = {
    "10": (10.0, 11.0),
    "18": (18.0, 20.0),
    "23": (21.0, 24.0),
    "37": (36.0, 38.0),
    "89": (85.0, 92.0),
    "166": (150.0, 170.0),
    "183": (183.0, 184.0),
}
"""Frequencies in GHz that play one role, whatever the sensor: 37.0, 36.64 and 36.5 GHz; 91.655, 89.0 and 85.5 GHz."""

REGRESSORS = ("w", "w2", "k", "k2", "l", "lw", "lk", "u", "u_sea", "w_sea", "k_sea")
"""What a clear sky is told by, see `regressors`."""

SCALE_FLOOR = 1e-9
"""A regressor that varies less than this times its mean square says nothing, and is left out."""

TOP_M, LAPSE_K_M, VAPOUR_J_KG_K = 12_000.0, 0.0065, 461.5
"""Height up to which vapour counts, lapse rate of the standard atmosphere, gas constant of water vapour."""


def plays(temperature: xr.DataArray, role: str, polarisation: str) -> bool:
    """Say whether a channel plays a role at a polarisation."""
    return len(_playing(temperature, role, polarisation)) > 0


def of_role(temperature: xr.DataArray, role: str, polarisation: str) -> xr.DataArray:
    """Take the one channel that plays a role at a polarisation.

    Parameters
    ----------
    temperature: (..., channel) K, with the coordinates of `vigie.core.swath`.
    role: a key of `ROLES`.
    polarisation: "V" or "H".

    Raises
    ------
    VigieError: no channel does, or several do.

    Examples
    --------
    >>> from vigie.core.swath import Channel, channel_coordinates
    >>> channels = [Channel(36.64, "V"), Channel(36.64, "H"), Channel(89.0, "V"), Channel(89.0, "H")]
    >>> tb = xr.DataArray([[220.0, 160.0, 260.0, 230.0]], channel_coordinates(channels), ("pixel", "channel"))
    >>> of_role(tb, "37", "H").values
    array([160.])
    """
    found = _playing(temperature, role, polarisation)
    if len(found) != 1:
        raise VigieError(
            f"no single channel is the {role} GHz channel of polarisation {polarisation}",
            found=list(map(str, temperature["channel"].values)),
            expected="one channel between {:g} and {:g} GHz".format(*ROLES[role]),
        )
    return temperature.isel(channel=int(found[0]), drop=True)


def polarisation_differences(temperature: xr.DataArray) -> xr.DataArray:
    """Subtract H from V at every frequency that has both: (..., input) K, named like "10V-10H", lowest frequency first."""
    pairs = [role for role in ROLES if plays(temperature, role, "V") and plays(temperature, role, "H")]
    found = {f"{role}V-{role}H": of_role(temperature, role, "V") - of_role(temperature, role, "H") for role in pairs}
    return _inputs(found, temperature)


def corrected_temperatures(temperature: xr.DataArray) -> xr.DataArray:
    """Polarisation-corrected temperatures: what ice scatters, freed of the sea's emissivity. (..., input) K.

    PCT89 = 1.7 V - 0.7 H (Spencer, Goodman & Hood 1989 have 1.818 and 0.818 at 85.5 GHz), PCT37 = 2.15 V - 1.15 H (Cecil &
    Chronis 2018), each where both channels are there.
    """
    weights = {"37": 2.15, "89": 1.7}
    there = [role for role in weights if plays(temperature, role, "V") and plays(temperature, role, "H")]
    return _inputs(
        {
            f"PCT{role}": weights[role] * of_role(temperature, role, "V")
            - (weights[role] - 1) * of_role(temperature, role, "H")
            for role in there
        },
        temperature,
    )


def line_differences(temperature: xr.DataArray) -> xr.DataArray:
    """Subtract, at 183 GHz, the sideband nearest to the line's centre from each of the others: (..., input) K."""
    low, high = ROLES["183"]
    frequency = temperature["frequency_ghz"].values
    line = temperature.isel(channel=np.flatnonzero((frequency >= low) & (frequency <= high))).sortby("sideband_ghz")
    names = [f"{side:g}" for side in line["sideband_ghz"].values]
    found = {
        f"183+-{name}-183+-{names[0]}": line.isel(channel=n, drop=True) - line.isel(channel=0, drop=True)
        for n, name in enumerate(names)
        if n > 0
    }
    return _inputs(found, temperature)


def frequency_steps(temperature: xr.DataArray) -> xr.DataArray:
    """Subtract vertically polarised temperatures of two frequencies, 37-89, 89-166, 18-37 and 23-18 GHz: (..., input) K."""
    steps = (("37", "89"), ("89", "166"), ("18", "37"), ("23", "18"))
    there = [(a, b) for a, b in steps if plays(temperature, a, "V") and plays(temperature, b, "V")]
    found = {f"{a}V-{b}V": of_role(temperature, a, "V") - of_role(temperature, b, "V") for a, b in there}
    return _inputs(found, temperature)


def invariant_inputs(temperature: xr.DataArray) -> xr.DataArray:
    """All differences that hold across climates and that the channels allow: (..., input) K.

    Polarisation differences, PCT37 and PCT89, differences at 183 GHz, and four of vertical polarisation between frequencies.
    """
    made = (polarisation_differences, corrected_temperatures, line_differences, frequency_steps)
    return xr.concat([make(temperature) for make in made], "input")


def regressors(ancillary: xr.Dataset) -> xr.DataArray:
    """What clear-sky temperatures are regressed on: (..., regressor), named by `REGRESSORS`.

    With w = tcwv in kg m-2, k = skt - 280 in K, l = lsm, u = sqrt(u10^2 + v10^2) in m s-1: w, w^2, k, k^2, l, l w, l k, u,
    (1-l) u, (1-l) w, (1-l) k.
    """
    w, k, land = ancillary["tcwv"], ancillary["skt"] - 280.0, ancillary["lsm"]
    u: xr.DataArray = (ancillary["u10"] ** 2 + ancillary["v10"] ** 2) ** 0.5
    sea = 1.0 - land
    terms = (w, w**2, k, k**2, land, land * w, land * k, u, sea * u, sea * w, sea * k)
    named = xr.Variable("regressor", np.array(REGRESSORS, dtype=np.str_))
    return xr.concat([term.astype(np.float64) for term in terms], named)


@dataclass(frozen=True)
class ClearSky:
    """What a radiometer would see without rain: a ridge regression of each channel on the ancillary fields.

    `coefficients` is a row a channel of kelvins for each of `REGRESSORS`, `intercept` a number a channel, in K. All is text and
    numbers, so that `dataclasses.asdict` and JSON keep it.
    """

    channels: tuple[str, ...]
    intercept: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]

    def background(self, ancillary: xr.Dataset) -> xr.DataArray:
        """Clear-sky brightness temperature (..., channel) in K; NaN where an ancillary field is missing."""
        slope = xr.DataArray(np.array(self.coefficients), {"channel": list(self.channels)}, ("channel", "regressor"))
        level = xr.DataArray(np.array(self.intercept), dims="channel")
        table = regressors(ancillary).drop_vars("regressor")
        found: xr.DataArray = xr.dot(table, slope, dim="regressor") + level
        return found

    def excess(self, temperature: xr.DataArray, ancillary: xr.Dataset) -> xr.DataArray:
        """Brightness temperature minus that of clear sky, K: (..., channel).

        Raises
        ------
        VigieError: the channels are others than those it was fitted on.
        """
        found = tuple(map(str, temperature["channel"].values))
        if found != self.channels:
            raise VigieError("the clear sky is that of other channels", found=found, expected=self.channels)
        return temperature - self.background(ancillary).transpose(*temperature.dims)

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> ClearSky:
        """Read back what `dataclasses.asdict` and JSON made of it; ValueError where the numbers do not fit the channels."""
        found = cls(
            tuple(map(str, record["channels"])),
            tuple(map(float, record["intercept"])),
            tuple(tuple(map(float, row)) for row in record["coefficients"]),
        )
        widths = {len(row) for row in found.coefficients}
        if not len(found.channels) == len(found.intercept) == len(found.coefficients) or widths != {len(REGRESSORS)}:
            raise ValueError(f"no clear sky of {len(found.channels)} channels and {len(REGRESSORS)} regressors")
        return found


def fit_clear_sky(temperature: xr.DataArray, ancillary: xr.Dataset, ridge: float = 1.0) -> ClearSky:
    """Regress each channel on the ancillary fields of rows without rain.

    Parameters
    ----------
    temperature: (row, channel) K; rows with a missing channel or ancillary field are left out.
    ancillary: `tcwv` kg m-2, `skt` K, `lsm` 0-1, `u10` and `v10` m s-1, each (row).
    ridge: penalty on squared coefficients of standardised regressors, against a sum of squares over rows.

    Raises
    ------
    VigieError: fewer complete rows than regressors.
    """
    table = regressors(ancillary).transpose(..., "regressor").values
    seen = temperature.transpose(..., "channel").values.astype(np.float64)
    complete = np.isfinite(table).all(axis=1) & np.isfinite(seen).all(axis=1)
    if complete.sum() <= len(REGRESSORS):
        raise VigieError(
            "too few rows without rain for a clear sky",
            found=f"{int(complete.sum())} complete rows of {len(complete)}",
            expected=f"more than {len(REGRESSORS)} with all channels and ancillary fields",
        )
    slope, level = _ridge(table[complete], seen[complete], ridge)
    return ClearSky(
        tuple(map(str, temperature["channel"].values)),
        tuple(level.tolist()),
        tuple(tuple(row) for row in slope.T.tolist()),
    )


def saturated_tcwv(t2m: xr.DataArray) -> xr.DataArray:
    """Vapour in kg m-2 that a saturated column would hold over air of `t2m` K.

    The integral over 12 km of e_s(T) / (R_v T) dz, T = t2m - 6.5 K km-1 z, e_s(T) = 6.112 hPa exp(17.62 T / (243.12 + T)) with
    T in degrees C (WMO 2008), by Gauss-Legendre.

    Examples
    --------
    >>> saturated_tcwv(xr.DataArray([273.15, 288.15, 300.0])).round(1).values
    array([ 9.7, 28.8, 62.5])
    """
    nodes, weights = np.polynomial.legendre.leggauss(12)
    total = xr.zeros_like(t2m, dtype=np.float64)
    for height, weight in zip((nodes + 1) * TOP_M / 2, weights * TOP_M / 2, strict=True):
        air = t2m - LAPSE_K_M * height
        celsius = air - 273.15
        total = total + weight * 611.2 * np.exp(17.62 * celsius / (243.12 + celsius)) / (VAPOUR_J_KG_K * air)
    return total


def relative_vapour(ancillary: xr.Dataset) -> xr.DataArray:
    """Column vapour over that of a saturated column: `tcwv` kg m-2 / `saturated_tcwv(t2m)`, no unit."""
    return ancillary["tcwv"] / saturated_tcwv(ancillary["t2m"])


def _playing(temperature: xr.DataArray, role: str, polarisation: str) -> NDArray[np.intp]:
    low, high = ROLES[role]
    frequency, polarised = temperature["frequency_ghz"].values, temperature["polarisation"].values
    return np.flatnonzero((frequency >= low) & (frequency <= high) & (polarised == polarisation))


def _inputs(named: Mapping[str, xr.DataArray], temperature: xr.DataArray) -> xr.DataArray:
    if not named:
        return (
            temperature.isel(channel=slice(0))
            .drop_vars(list(temperature["channel"].coords))
            .rename(channel="input")
            .assign_coords(input=np.array([], dtype=np.str_))
        )
    names = np.array(list(named), dtype=np.str_)
    return xr.concat(list(named.values()), xr.Variable("input", names)).transpose(..., "input")


def _ridge(x: NDArray[np.float64], y: NDArray[np.float64], penalty: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Slopes (K, C) and levels (C,) of y (n, C) on x (n, K), with a penalty on slopes of standardised x."""
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    varies = deviation > SCALE_FLOOR * np.sqrt((x**2).mean(axis=0))
    scale = np.where(varies, deviation, 1.0)
    z = np.where(varies, (x - mean) / scale, 0.0)
    level = y.mean(axis=0)
    slope = np.linalg.solve(z.T @ z + penalty * np.eye(z.shape[1]), z.T @ (y - level)) / scale[:, None]
    return slope, level - mean @ slope
