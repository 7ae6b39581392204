"""What every figure of an assessment is called, and its unit: for the NetCDF file, the table and the page."""

from __future__ import annotations

import numpy as np
import xarray as xr

RATE = "rate"
"""Stands for the unit of the pairing: mm h-1, or mm day-1 of daily records."""

FIGURES: dict[str, tuple[str, str]] = {
    "bias_percent": ("%", "mean of the product over that of the reference, less 100 %"),
    "mae": (RATE, "mean absolute error"),
    "rmse": (RATE, "root mean square error"),
    "smape_percent": ("%", "symmetric mean absolute percentage error where the reference is above 0.1"),
    "pairs": ("1", "rates that both have"),
    "correlation": ("1", "correlation of rates"),
    "pod": ("1", "probability of detection"),
    "far": ("1", "false alarm ratio"),
    "csi": ("1", "critical success index"),
    "f1": ("1", "F1 score"),
    "hss": ("1", "Heidke skill score"),
    "pr_auc": ("1", "area under precision and recall"),
    "fss": ("1", "fractions skill score"),
    "fss_useful": ("1", "fractions skill score from which a scale is skilful"),
    "coherence": ("1", "spectral coherence"),
    "power_ratio": ("1", "power spectrum of the product over that of the reference"),
    "effective_resolution_px": ("pixel", "smallest wavelength that is coherent with all longer ones"),
    "effective_resolution_km": ("km", "smallest wavelength that is coherent with all longer ones"),
    "crps": (RATE, "continuous ranked probability score"),
    "twcrps": (RATE, "continuous ranked probability score beyond a threshold"),
    "crps_of_levels": (RATE, "twice the mean pinball of the levels, as papers on quantile networks print it"),
    "twcrps_of_levels": (RATE, "twice the mean pinball of the levels beyond a threshold"),
    "coverage": ("1", "share of the truth at or below the quantile of a level"),
    "pit": ("1", "density of the probability integral transform"),
    "brier": ("1", "Brier score"),
    "said": ("1", "mean probability that was said"),
    "came": ("1", "share that came"),
    "rows": ("1", "samples"),
    "spread": (RATE, "root mean predicted variance by class of spread"),
    "error": (RATE, "root mean squared error by class of spread"),
    "spread_over_error": ("1", "spread over error"),
    "wet_ratio": ("1", "wet fraction of samples over that of the reference"),
    "p99_ratio": ("1", "99th percentile of samples over that of the reference"),
    "p999_ratio": ("1", "99.9th percentile of samples over that of the reference"),
    "wet_fraction": ("1", "share of wet samples or days"),
    "reference_wet_fraction": ("1", "share of wet samples of the reference"),
    "quantile": (RATE, "quantile of samples"),
    "reference_quantile": (RATE, "quantile of the reference"),
    "sdii": ("mm day-1", "mean rain of wet days"),
    "prcptot": ("mm", "rain of the wet days of a year"),
    "rx1day": ("mm", "highest rain of a day of a year"),
    "rx5day": ("mm", "highest rain of five days of a year"),
    "r10mm": ("day", "days of 10 mm or more in a year"),
    "r20mm": ("day", "days of 20 mm or more in a year"),
    "r95p": ("mm", "rain of days above the 95th percentile of wet days in a year"),
    "r99p": ("mm", "rain of days above the 99th percentile of wet days in a year"),
    "cdd": ("day", "longest dry spell of a year"),
    "cwd": ("day", "longest wet spell of a year"),
    "return_level": ("mm day-1", "return level of daily rain"),
    "parameter": ("1", "parameter of the fit: location or threshold and scale in mm, shape without a unit"),
    "excess_days": ("day", "days above the threshold of excesses"),
    "clusters": ("1", "clusters of excesses, whose peaks are fitted"),
    "extremal_index": ("1", "clusters over days above the threshold: 1 where extreme days come alone"),
    "annual_maximum": ("mm day-1", "highest rain of a day of a year"),
    "slope": ("mm year-1", "Sen's slope"),
    "p": ("1", "p value of Mann and Kendall"),
    "p_corrected": ("1", "p value corrected for autocorrelation (Hamed and Rao)"),
    "significant": ("1", "1 where the trend is significant, false discovery rate 0.1 over places"),
    "first_year": ("year", "first year of the record"),
    "last_year": ("year", "last year of the record"),
    "slope_percent": ("% K-1", "growth of extremes with temperature over all bins"),
    "slope_before_percent": ("% K-1", "growth of extremes with temperature up to their peak"),
    "slope_after_percent": ("% K-1", "growth of extremes with temperature beyond their peak"),
    "peak_c": ("degC", "temperature at which extremes peak"),
    "hook": ("1", "1 where extremes decrease beyond a peak"),
    "temperature_c": ("degC", "median temperature of a bin"),
    "intensity": ("mm day-1", "high quantile of the wet days of a bin"),
    "sensitivity": ("% K-1", "hydrological sensitivity"),
    "standard_error": ("% K-1", "standard error of a regressed sensitivity"),
    "rank": ("1", "rank among climate models, from 1"),
    "of": ("1", "climate models and the product"),
    "inside": ("1", "1 where the sensitivity lies within the 5-95 % range of climate models"),
    "low": ("% K-1", "5 % of climate models lie below"),
    "high": ("% K-1", "95 % of climate models lie below"),
    "mean": ("% K-1", "mean of climate models"),
    "models": ("1", "climate models"),
    "relative_rmse": ("1", "root mean square error of daily totals over their mean"),
    "quantile_ratio": ("1", "p99 of sampled totals over that of totals"),
    "days": ("day", "days that were sampled"),
}
"""Units and meaning; those ending in _interval or _ratio follow from these."""


def described(figures: xr.Dataset, units: str) -> xr.Dataset:
    """Give every figure its unit and name, and make all numbers 64-bit: a figure that some product lacks is NaN.

    Examples
    --------
    >>> described(xr.Dataset({"mae_interval": ("bound", [1, 2])}), "mm h-1")["mae_interval"].attrs
    {'units': 'mm h-1', 'long_name': 'mean absolute error, 95 % interval'}
    """
    made = figures.drop_vars([name for name in figures.coords if name not in figures.dims and figures[name].ndim == 0])
    for name in made.data_vars:
        made[name] = made[name].astype(np.float64).assign_attrs(attributes(str(name), units))
    return made


def attributes(name: str, units: str) -> dict[str, str]:
    """Give unit and long name of a figure."""
    plain = name.removesuffix("_interval")
    if plain in FIGURES:
        unit, long_name = FIGURES[plain]
        unit = units if unit == RATE else unit
    else:
        _, long_name = FIGURES[plain.removesuffix("_ratio")]
        unit, long_name = "1", f"{long_name}, product over reference"
    level = "90 % interval" if plain == "return_level" else "95 % interval"
    return {"units": unit, "long_name": long_name if plain == name else f"{long_name}, {level}"}
