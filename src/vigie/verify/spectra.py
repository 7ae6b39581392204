"""At which scales fields are right: spectral coherence, effective resolution, and power spectra, from windows of cosines.

A field is cut into square windows from its first row and column; windows with a missing pixel are left out. Wavenumber k is the
radial distance in the plane of cosine coefficients, rounded; its wavelength is 2 W / k pixels in windows of W. Everything is
summed by wavenumber, so fields add. Cut no field into tiles that do not hold whole windows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy import fft

from vigie.core.errors import VigieError
from vigie.verify.fields import FieldSample
from vigie.verify.rain import WET_MM_H
from vigie.verify.tally import Metric, Tally

Floats = NDArray[np.float64]

COHERENT = 0.5**0.5
"""A scale is resolved where coherence exceeds this: half of the variance is shared."""

COHERENCE_WINDOW_PX = 32

SPECTRUM_WINDOW_PX = 128


def count_coherence(sample: FieldSample, size_px: int = COHERENCE_WINDOW_PX) -> Tally:
    """Sum products of cosine coefficients of estimate and truth by wavenumber, over windows valid in both.

    The weight is the number of coefficients.
    """
    products = ((e * t, e**2, t**2) for e, t in _windows(np.stack([sample.estimate, sample.truth]), size_px))
    return _ring_sums(("cross", "estimate_power", "truth_power"), products, size_px)


def finish_coherence(tally: Tally) -> xr.Dataset:
    """Turn sums into `coherence` and `power_ratio` (estimate / truth) by wavenumber, and `effective_resolution_px`.

    coherence = |sum w_t w_p| / sqrt(sum w_t^2 sum w_p^2). The effective resolution is the smallest wavelength, in pixels, that
    is coherent together with all longer ones (SatRain, Pfreundschuh et al. 2026); infinite where not even the longest is.

    Examples
    --------
    >>> rain = np.random.default_rng(0).gamma(0.5, 2.0, (32, 32))
    >>> scores = finish_coherence(count_coherence(FieldSample(2 * rain, rain)))
    >>> float(scores["effective_resolution_px"].round(2)), float(scores["power_ratio"].sel(wavenumber=8).round(6))
    (2.06, 4.0)
    """
    cross, estimate, truth = (tally.total[name] for name in ("cross", "estimate_power", "truth_power"))
    coherence = _coherence(cross, estimate, truth)
    resolved = (coherence > COHERENT).astype(np.int64).cumprod("wavenumber").sum("wavenumber")
    longest = 2.0 * (tally.total.sizes["wavenumber"] + 1)
    resolution = (longest / resolved.where(resolved > 0)).fillna(np.inf)
    return _with_wavelength(
        xr.Dataset(
            {
                "coherence": coherence,
                "power_ratio": estimate / truth.where(truth > 0),
                "effective_resolution_px": resolution.where(coherence.notnull().any("wavenumber")),
            }
        )
    )


COHERENCE: Metric[FieldSample] = Metric(count_coherence, finish_coherence)
"""Coherence of estimate and truth, scale by scale."""


def count_power(field: NDArray[np.floating], size_px: int = SPECTRUM_WINDOW_PX, wet_share: float = 0.1) -> Tally:
    """Sum the power of a field (y, x) by wavenumber, over windows of which more than `wet_share` reaches 0.1 mm/h."""
    wet = (w for (w,) in _windows(field[None], size_px, wet_share))
    return _ring_sums(("power",), ((w**2,) for w in wet), size_px)


def finish_power(tally: Tally) -> xr.Dataset:
    """Turn sums into `power`, the mean square of a cosine coefficient by wavenumber."""
    return _with_wavelength(tally.mean())


POWER: Metric[NDArray[np.floating]] = Metric(count_power, finish_power)
"""Radial power spectrum."""


def slope(spectrum: xr.DataArray, shortest_px: float, longest_px: float) -> xr.DataArray:
    """Fit ln power = slope ln k + constant by least squares over wavelengths from `shortest_px` to `longest_px`.

    Of power a coefficient, in two dimensions: one less than the slope of power summed over rings.

    Examples
    --------
    >>> k = np.arange(1, 128)
    >>> spectrum = xr.DataArray(k**-3.0, dims="wavenumber", coords={"wavenumber": k, "wavelength_px": ("wavenumber", 256 / k)})
    >>> float(slope(spectrum, 4, 64).round(6))
    -3.0
    """
    wavelength = spectrum["wavelength_px"]
    part = spectrum.isel(wavenumber=np.flatnonzero((wavelength >= shortest_px) & (wavelength <= longest_px)))
    if part.sizes["wavenumber"] < 2:
        raise VigieError(
            "a slope needs two wavelengths", found=f"{part.sizes['wavenumber']} between {shortest_px:g} and {longest_px:g} px"
        )
    log_k = np.log(part["wavenumber"].values)
    x = xr.DataArray(log_k - log_k.mean(), dims="wavenumber")
    log_power = part.copy(data=np.log(part.values))
    return (x * log_power).sum("wavenumber", skipna=False) / (x**2).sum("wavenumber")


def count_member_coherence(
    members: NDArray[np.floating], truth: NDArray[np.floating], size_px: int = COHERENCE_WINDOW_PX
) -> Tally:
    """Sum products of cosine coefficients between members (member, y, x), and between members and truth (y, x).

    `between` is the mean over ordered pairs of different members, `with_truth` and `member_power` the means over members.
    """
    if members.ndim != 3 or members.shape[1:] != truth.shape or len(members) < 2:
        raise VigieError(
            "members and truth do not fit together",
            found=f"members {members.shape}, truth {truth.shape}",
            expected="(member, y, x) and (y, x), with two members or more",
        )
    m = len(members)

    def products() -> Iterator[tuple[Floats, ...]]:
        for stack in _windows(np.concatenate([members, truth[None]]), size_px):
            w, t = stack[:-1], stack[-1]
            squares = (w**2).sum(axis=0)
            yield (w.sum(axis=0) ** 2 - squares) / (m * (m - 1)), w.mean(axis=0) * t, squares / m, t**2

    return _ring_sums(("between", "with_truth", "member_power", "truth_power"), products(), size_px)


def finish_member_coherence(tally: Tally) -> xr.Dataset:
    """Turn sums into coherence `between_members` and `with_truth` by wavenumber: of a reliable ensemble they are equal.

    Where members agree more with each other than with the truth, the ensemble is too sure (Guilloteau et al. 2024,
    arXiv 2409.16319).
    """
    total = tally.total
    power = total["member_power"]
    return _with_wavelength(
        xr.Dataset(
            {
                "between_members": _coherence(total["between"], power, power),
                "with_truth": _coherence(total["with_truth"], power, total["truth_power"]),
            }
        )
    )


def _windows(layers: NDArray[np.floating], size_px: int, wet_share: float = -1.0) -> Iterator[Floats]:
    """Yield orthonormal cosine coefficients (layer, ky, kx) of windows valid in all layers and wet enough in the last."""
    _, height, width = layers.shape
    for y in range(0, height - size_px + 1, size_px):
        for x in range(0, width - size_px + 1, size_px):
            window = layers[:, y : y + size_px, x : x + size_px].astype(np.float64)
            if np.isfinite(window).all() and (window[-1] >= WET_MM_H).mean() > wet_share:
                yield fft.dctn(window, axes=(1, 2), norm="ortho")


def _ring_sums(names: tuple[str, ...], products: Iterator[tuple[Floats, ...]], size_px: int) -> Tally:
    """Sum products of coefficients (ky, kx) by rounded radial wavenumber 1 .. W - 1, over windows."""
    ky, kx = np.indices((size_px, size_px))
    ring = np.rint(np.hypot(ky, kx)).astype(np.int64).ravel()
    sums = np.zeros((len(names), ring.max() + 1))
    windows = 0
    for parts in products:
        windows += 1
        sums += np.stack([np.bincount(ring, weights=part.ravel()) for part in parts])
    k = np.arange(1, size_px)
    coords = {"wavenumber": k}
    total = xr.Dataset({name: ("wavenumber", row[k]) for name, row in zip(names, sums, strict=True)}, coords=coords)
    weight = ("wavenumber", np.bincount(ring)[k] * windows)
    return Tally(total, xr.Dataset(dict.fromkeys(names, weight), coords=coords))


def _coherence(cross: xr.DataArray, one: xr.DataArray, other: xr.DataArray) -> xr.DataArray:
    power = one * other
    return abs(cross) / np.sqrt(power.where(power > 0))


def _with_wavelength(scores: xr.Dataset) -> xr.Dataset:
    return scores.assign_coords(wavelength_px=2.0 * (scores.sizes["wavenumber"] + 1) / scores["wavenumber"])
