"""Extremes of a rain series: tails fitted to excesses over a threshold and to maxima of blocks, return levels, intervals.

The generalised Pareto distribution (GPD) of excesses z over a threshold u, and the generalised extreme value distribution (GEV)
of block maxima x (Coles 2001, chapters 3 and 4):

    GPD  P(Z > z) = (1 + xi z / sigma)^(-1/xi)             GEV  P(X <= x) = exp(-(1 + xi (x - mu) / sigma)^(-1/xi))

The shape xi > 0 means a heavy tail, as in Coles; scipy's `genextreme` counts it with the opposite sign, its `genpareto` with
the same. Numbers are in the unit of the series, whatever that is. Missing values are NaN and take no part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.stats import genextreme, genpareto

from vigie.core.errors import VigieError
from vigie.verify.peaks import excesses_over

Floats = NDArray[np.float64]

LEAST_EXCESSES = 30
"""Fewer excesses than this are refused: the standard error of xi is (1 + xi) / sqrt(n), 0.2 there."""
LEAST_BLOCKS = 20
"""Fewer blocks than this are refused."""
EXPONENTIAL = 1e-8
"""Shapes nearer to 0 than this are computed in the limit xi -> 0."""


@dataclass(frozen=True)
class Gpd:
    """A fitted generalised Pareto distribution: threshold u, scale sigma, shape xi, from `excesses` in `years` years.

    Examples
    --------
    >>> fit = Gpd(threshold=30.0, scale=7.44, shape=0.184, excesses=152, years=48.0)
    >>> round(fit.per_year, 3), fit.return_level([20, 100]).round(1).tolist()
    (3.167, [76.3, 106.2])
    """

    threshold: float
    scale: float
    shape: float
    excesses: int
    years: float

    @property
    def per_year(self) -> float:
        """Exceedances per year, lambda."""
        return self.excesses / self.years

    def return_level(self, years: ArrayLike) -> Floats:
        """Level that is exceeded once in N years on average: x_N = u + sigma/xi [(N lambda)^xi - 1]; NaN where N lambda < 1."""
        expected = np.asarray(years, np.float64) * self.per_year
        level: Floats = self.threshold + self.scale * _power(expected, self.shape)
        return np.where(expected >= 1, level, np.nan)

    def quantile(self, probability: ArrayLike) -> Floats:
        """Quantiles of the values above the threshold."""
        found: Floats = self.threshold + genpareto.ppf(probability, self.shape, scale=self.scale)
        return found

    def log_score(self, values: ArrayLike) -> float:
        """Mean negative log density of the values above the threshold; infinite if one lies beyond an upper end (xi < 0)."""
        return _pareto_nll(excesses_over(values, self.threshold), np.log(self.scale), self.shape)

    def redraw(self, rng: np.random.Generator) -> Gpd:
        """Draw as many excesses as a Poisson count says, and fit them again."""
        count = int(rng.poisson(self.excesses))
        excesses = genpareto.rvs(self.shape, scale=self.scale, size=count, random_state=rng)
        return _fit_gpd(np.asarray(excesses), self.threshold, self.years)


@dataclass(frozen=True)
class Gev:
    """A fitted generalised extreme value distribution: location mu, scale sigma, shape xi, from `blocks` block maxima.

    Examples
    --------
    >>> Gev(location=1.347, scale=0.533, shape=0.174, blocks=100).return_level(100).round(2)
    np.float64(5.1)
    """

    location: float
    scale: float
    shape: float
    blocks: int

    def return_level(self, blocks: ArrayLike) -> Floats:
        """Level that a block exceeds with probability 1/N: x_N = mu + sigma/xi [(-ln(1 - 1/N))^-xi - 1]."""
        rare = -np.log1p(-1 / np.asarray(blocks, np.float64))
        level: Floats = self.location + self.scale * _power(1 / rare, self.shape)
        return level

    def log_score(self, maxima: ArrayLike) -> float:
        """Mean negative log density of block maxima; infinite where one is impossible."""
        x = np.asarray(maxima, np.float64)
        return _gev_nll(x[np.isfinite(x)], self.location, np.log(self.scale), self.shape)

    def redraw(self, rng: np.random.Generator) -> Gev:
        """Draw as many block maxima as there were, and fit them again."""
        maxima = genextreme.rvs(-self.shape, self.location, self.scale, size=self.blocks, random_state=rng)
        return _fit_gev(np.asarray(maxima))


@dataclass(frozen=True)
class CovariateGpd:
    """A generalised Pareto distribution whose scale is log-linear in a covariate: sigma(c) = exp(intercept + slope c)."""

    threshold: float
    intercept: float
    slope: float
    shape: float
    excesses: int

    def scale(self, covariate: ArrayLike) -> Floats:
        """Scale at values of the covariate."""
        return np.exp(self.intercept + self.slope * np.asarray(covariate, np.float64))

    def log_score(self, values: ArrayLike, covariate: ArrayLike) -> float:
        """Mean negative log density of the values above the threshold, each with its covariate."""
        excesses, beside = _excesses_with(values, covariate, self.threshold)
        return _pareto_nll(excesses, np.log(self.scale(beside)), self.shape)


def fit_gpd(values: ArrayLike, threshold: float, years: float) -> Gpd:
    """Fit a generalised Pareto distribution to the values above a threshold, by maximum likelihood.

    Parameters
    ----------
    values: the series, or the peaks of its clusters where it is dependent in time (see `cluster_peaks`).
    threshold: u, in the unit of the values.
    years: how long was observed, gaps left out.

    Raises
    ------
    VigieError: there are too few excesses, or no length of time.
    """
    if not years > 0:
        raise VigieError("exceedances per year need a length of time", found=f"{years} years", expected="more than 0")
    return _fit_gpd(_enough(excesses_over(values, threshold), threshold), threshold, years)


def fit_exponential(values: ArrayLike, threshold: float, years: float) -> Gpd:
    """Fit an exponential tail (shape 0, scale = mean excess): what a heavier tail must beat out of sample.

    Raises
    ------
    VigieError: there are too few excesses.
    """
    excesses = _enough(excesses_over(values, threshold), threshold)
    return Gpd(threshold, float(excesses.mean()), 0.0, excesses.size, years)


def fit_gpd_with(values: ArrayLike, covariate: ArrayLike, threshold: float) -> CovariateGpd:
    """Fit a generalised Pareto distribution with scale log-linear in a covariate, such as elevation in km.

    Parameters
    ----------
    values, covariate: of one shape; pairs with a missing part take no part.
    threshold: u, in the unit of the values.

    Raises
    ------
    VigieError: there are too few excesses.
    """
    excesses, beside = _excesses_with(values, covariate, threshold)
    _enough(excesses, threshold)
    unit, centre = excesses.mean(), beside.mean()

    def nll(parameters: Floats) -> float:
        intercept, slope, shape = parameters
        return _pareto_nll(excesses / unit, intercept + slope * (beside - centre), shape)

    intercept, slope, shape = _least(nll, [np.log(0.9), 0.0, 0.1])
    return CovariateGpd(threshold, intercept - slope * centre + float(np.log(unit)), slope, shape, excesses.size)


def fit_gev(maxima: ArrayLike) -> Gev:
    """Fit a generalised extreme value distribution to block maxima, by maximum likelihood; NaN are left out.

    Raises
    ------
    VigieError: there are too few blocks.
    """
    x = np.asarray(maxima, np.float64).ravel()
    x = x[np.isfinite(x)]
    if x.size < LEAST_BLOCKS:
        raise VigieError("too few block maxima to fit", found=x.size, expected=f"at least {LEAST_BLOCKS}")
    return _fit_gev(x)


def return_interval(fit: Gpd | Gev, years: ArrayLike, level: float = 0.9, draws: int = 300, seed: int = 0) -> Floats:
    """Give the parametric bootstrap interval of return levels (2, *years): the fit is drawn and fitted anew `draws` times.

    Counts of exceedances are Poisson and excesses GPD, or maxima GEV. The same seed gives the same interval; with 300 draws its
    bounds themselves scatter by a few hundredths of the level.

    Raises
    ------
    VigieError: the level is no share.
    """
    if not 0 < level < 1:
        raise VigieError("an interval's level is a share", found=level, expected="between 0 and 1, for instance 0.9")
    rng = np.random.default_rng(seed)
    levels = np.stack([fit.redraw(rng).return_level(years) for _ in range(draws)])
    bounds: Floats = np.quantile(levels, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return bounds


def _enough(excesses: Floats, threshold: float) -> Floats:
    if excesses.size < LEAST_EXCESSES:
        raise VigieError(
            f"too few excesses over {threshold:g} to fit a tail",
            found=excesses.size,
            expected=f"at least {LEAST_EXCESSES}",
            do="lower the threshold, or pool more years or stations",
        )
    return excesses


def _excesses_with(values: ArrayLike, covariate: ArrayLike, threshold: float) -> tuple[Floats, Floats]:
    x, beside = np.broadcast_arrays(np.asarray(values, np.float64), np.asarray(covariate, np.float64))
    over = (x > threshold) & np.isfinite(beside)
    return x[over] - threshold, beside[over]


def _fit_gpd(excesses: Floats, threshold: float, years: float) -> Gpd:
    """Minimise the negative log likelihood; in units of the mean excess, so that millimetres and inches give one answer."""
    unit = excesses.mean()
    log_scale, shape = _least(lambda p: _pareto_nll(excesses / unit, p[0], p[1]), [np.log(0.9), 0.1])
    return Gpd(threshold, float(unit * np.exp(log_scale)), shape, excesses.size, years)


def _fit_gev(maxima: Floats) -> Gev:
    """Minimise the negative log likelihood from Gumbel's moments."""
    unit, centre = maxima.std(), maxima.mean()
    start = [-0.45, np.log(np.sqrt(6) / np.pi), 0.1]
    location, log_scale, shape = _least(lambda p: _gev_nll((maxima - centre) / unit, p[0], p[1], p[2]), start)
    return Gev(float(centre + unit * location), float(unit * np.exp(log_scale)), shape, maxima.size)


def _least(nll: Callable[[Floats], float], start: list[float]) -> list[float]:
    """Find the parameters of least negative log likelihood; the simplex bears the infinite values outside the support."""
    found = minimize(nll, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000})
    if not found.success:
        raise VigieError("the likelihood of these extremes has no maximum that could be found", found=found.message)
    return [float(x) for x in found.x]


def _pareto_nll(excesses: Floats, log_scale: float | Floats, shape: float) -> float:
    """Mean negative log density; shapes of -1 and less have no maximum likelihood and count as impossible."""
    z = excesses * np.exp(-log_scale)
    if abs(shape) < EXPONENTIAL:
        return float(np.mean(log_scale + z))
    inside = 1 + shape * z
    if shape <= -1 or inside.min(initial=1.0) <= 0:
        return float("inf")
    return float(np.mean(log_scale + (1 + 1 / shape) * np.log(inside)))


def _gev_nll(maxima: Floats, location: float, log_scale: float, shape: float) -> float:
    """Mean negative log density; see `_pareto_nll`."""
    z = (maxima - location) * np.exp(-log_scale)
    if abs(shape) < EXPONENTIAL:
        return float(np.mean(log_scale + z + np.exp(-z)))
    inside = 1 + shape * z
    if shape <= -1 or inside.min(initial=1.0) <= 0:
        return float("inf")
    log_inside = np.log(inside)
    return float(np.mean(log_scale + (1 + 1 / shape) * log_inside + np.exp(-log_inside / shape)))


def _power(base: Floats, shape: float) -> Floats:
    """(base^xi - 1) / xi, and ln(base) in the limit."""
    grown: Floats = np.log(base) if abs(shape) < EXPONENTIAL else np.expm1(shape * np.log(base)) / shape
    return grown
