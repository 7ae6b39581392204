"""How extremes grow with temperature, beside what Clausius and Clapeyron allow: about 7 % per kelvin near 0 degrees C.

Saturation vapour pressure after Magnus, T in degrees C (WMO-No. 8):

    e_s = 6.112 exp(17.62 T / (243.12 + T)) hPa            d ln e_s / dT = 4283.8 / (243.12 + T)^2
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vigie.core.errors import VigieError

Floats = NDArray[np.float64]

LEAST_ABOVE = 5
"""Values that must lie above a bin's quantile on average: with fewer it is a maximum, and grows with their number."""
LEAST_BINS = 5
"""Fewer bins show no peak."""


def saturation_pressure_hpa(temperature_c: ArrayLike) -> Floats:
    """Saturation vapour pressure over water, hPa, at degrees C.

    Examples
    --------
    >>> saturation_pressure_hpa([0.0, 20.0]).round(2).tolist()
    [6.11, 23.33]
    """
    t = np.asarray(temperature_c, np.float64)
    return 6.112 * np.exp(17.62 * t / (243.12 + t))


def clausius_clapeyron_percent(temperature_c: ArrayLike) -> Floats:
    """Growth of saturation vapour pressure, % per K, at degrees C.

    Examples
    --------
    >>> clausius_clapeyron_percent([0.0, 25.0]).round(1).tolist()
    [7.2, 6.0]
    """
    t = np.asarray(temperature_c, np.float64)
    return 100 * 4283.8 / (243.12 + t) ** 2


@dataclass(frozen=True)
class Scaling:
    """A high quantile of rain by bins of temperature, and its growth.

    Slopes are 100 (exp(b) - 1) % per K, b of ln(intensity) on the bins' median temperature: over all bins, up to the peak, and
    from the peak on; NaN where there are fewer than two bins.
    """

    temperature_c: Floats
    intensity: Floats
    count: NDArray[np.int64]
    slope_percent: float
    slope_before_percent: float
    slope_after_percent: float

    @property
    def peak_c(self) -> float:
        """Median temperature of the bin with the highest intensity."""
        return float(self.temperature_c[np.argmax(self.intensity)])

    @property
    def hook(self) -> bool:
        """Whether extremes decrease beyond a peak: two bins or more lie there, and the slope is negative."""
        beyond = self.intensity.size - 1 - int(np.argmax(self.intensity))
        return beyond >= 2 and self.slope_after_percent < 0

    @property
    def naive_scaling(self) -> str:
        """What may be concluded from the one slope over all temperatures."""
        if self.hook:
            return (
                f"does not hold: extremes peak at {self.peak_c:.1f} C ({self.slope_before_percent:+.1f} %/K before, "
                f"{self.slope_after_percent:+.1f} after), so the slope of {self.slope_percent:+.1f} %/K over the whole range "
                "depends on the binning and means nothing; moisture, season or event type limit rain when it is warm"
            )
        expected = float(clausius_clapeyron_percent(np.median(self.temperature_c)))
        return f"no hook in these bins: {self.slope_percent:+.1f} %/K, beside {expected:.1f} %/K of Clausius-Clapeyron"


def temperature_scaling(
    intensity: ArrayLike, temperature_c: ArrayLike, wet: float, bins: int = 12, quantile: float = 0.99
) -> Scaling:
    """Relate a high quantile of wet steps to temperature (or dew point) in bins of equal count.

    Parameters
    ----------
    intensity, temperature_c: rain of each step in any unit, and temperature beside it; pairs with a missing part are left out.
    wet: steps with at least this much rain take part, in the unit of the intensity.
    bins: how many; steps of one temperature may fall into two bins, in the order of the series.
    quantile: of the wet steps of a bin, 0.99 or 0.999.

    Raises
    ------
    VigieError: bins are too few, or hold too few wet steps for the quantile; dry steps would take part.

    Examples
    --------
    >>> t = np.random.default_rng(0).uniform(0, 20, 20000)
    >>> rain = np.random.default_rng(1).exponential(saturation_pressure_hpa(t))
    >>> found = temperature_scaling(rain, t, wet=0.1, bins=10)
    >>> round(found.slope_percent), found.hook, found.count.tolist()[:2]
    (7, False, [1985, 1985])
    """
    if not wet > 0:
        raise VigieError("dry steps say nothing of extremes", found=f"wet from {wet}", expected="a wet limit above 0")
    rain, temperature = (np.asarray(x, np.float64).ravel() for x in (intensity, temperature_c))
    kept = (rain >= wet) & np.isfinite(temperature)
    rain, temperature = rain[kept], temperature[kept]
    _check_bins(rain.size, bins, quantile)
    parts = np.array_split(np.argsort(temperature, kind="stable"), bins)
    middle = np.array([np.median(temperature[part]) for part in parts])
    high = np.array([np.quantile(rain[part], quantile) for part in parts])
    peak = int(np.argmax(high))
    return Scaling(
        temperature_c=middle,
        intensity=high,
        count=np.array([part.size for part in parts], np.int64),
        slope_percent=_percent(middle, high),
        slope_before_percent=_percent(middle[: peak + 1], high[: peak + 1]),
        slope_after_percent=_percent(middle[peak:], high[peak:]),
    )


def _check_bins(steps: int, bins: int, quantile: float) -> None:
    if bins < LEAST_BINS:
        raise VigieError("too few bins of temperature to see a peak", found=bins, expected=f"at least {LEAST_BINS}")
    if steps * (1 - quantile) < LEAST_ABOVE * bins:
        raise VigieError(
            f"too few wet steps for the quantile {quantile:g} in {bins} bins",
            found=steps,
            expected=f"at least {int(np.ceil(LEAST_ABOVE * bins / (1 - quantile)))}",
            do="choose fewer bins or a lower quantile",
        )


def _percent(temperature: Floats, intensity: Floats) -> float:
    if temperature.size < 2 or np.ptp(temperature) == 0:
        return float("nan")
    return float(100 * np.expm1(np.polyfit(temperature, np.log(intensity), 1)[0]))
