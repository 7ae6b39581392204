"""Rain fields whose truth is known: patchy, with a power spectrum and a heavy tail like radar's, and a climate to warm.

A correlated Gaussian field is the cause of everything. Where it exceeds a threshold it rains, and its rank among the raining
places sets the rate: a lognormal body with the tail of a generalised Pareto distribution (GPD). Sea, land, moisture, clouds and
wind are drawn smoothly around it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, special

Map = NDArray[np.float64]

MOISTENING_PER_K = 0.07
"""Clausius and Clapeyron: saturated air holds 7 % more vapour for a kelvin (Held and Soden 2006, J. Climate 19, 5686)."""


@dataclass(frozen=True)
class Climate:
    """What a rainy climate is like.

    Parameters
    ----------
    wet_fraction: share of places where it rains, over many fields.
    median_mm_h, log_spread: of the lognormal body of rates where it rains.
    tail_from, tail_shape: the probability, among rates where it rains, at which the GPD tail begins, and its shape xi.
    slope: the power spectrum of the Gaussian field falls as k^-slope; that of rain comes out a little flatter.
    outer_km, stretch: the size of weather systems, beyond which the spectrum is flat, and how much longer than wide they are.
    warming_k: kelvin above today. Vapour grows by 7 % a kelvin; so do the highest rain rates, the lowest not at all, and those
        between in proportion to their rank: heavy rain follows moisture, its mean follows less (Allen and Ingram 2002).

    Notes
    -----
    The defaults are between the radar samples that vigie is tested with: wet places of RADOLAN (block means of 4 km) have a
    median of 0.9, p99 9.8 and p99.9 15.5 mm/h, those of a DPR swath 0.6, 14.8 and 39 mm/h.
    """

    wet_fraction: float = 0.15
    median_mm_h: float = 0.9
    log_spread: float = 1.2
    tail_from: float = 0.95
    tail_shape: float = 0.1
    slope: float = 3.7
    outer_km: float = 350.0
    stretch: float = 1.8
    warming_k: float = 0.0

    def rate(self, rank: Map) -> Map:
        """Give rain rates (mm h-1) by their rank among the raining places, 0 to 1.

        The tail's scale is the one that makes the density continuous where the tail begins.

        Examples
        --------
        >>> Climate().rate(np.array([0.5, 0.95, 0.99, 0.999])).round(1).tolist()
        [0.9, 6.5, 13.1, 24.5]
        >>> float((Climate(warming_k=1.0).rate(np.array([1 - 1e-9])) / Climate().rate(np.array([1 - 1e-9]))).round(3)[0])
        1.07
        """
        body, tail = np.minimum(rank, self.tail_from), np.maximum(rank, self.tail_from)
        start = special.ndtri(self.tail_from)
        threshold = self.median_mm_h * math.exp(self.log_spread * start)
        density = math.exp(-(start**2) / 2) / math.sqrt(2 * math.pi) / (self.log_spread * threshold)
        scale = (1 - self.tail_from) / density
        excess = scale / self.tail_shape * (((1 - self.tail_from) / (1 - tail)) ** self.tail_shape - 1)
        rates = np.where(
            rank > self.tail_from, threshold + excess, self.median_mm_h * np.exp(self.log_spread * special.ndtri(body))
        )
        return np.asarray(rates * (1 + MOISTENING_PER_K) ** (self.warming_k * rank))

    def rain(self, cause: Map) -> Map:
        """Turn a Gaussian field of mean 0 and variance 1 into rain rates (mm h-1), 0 where it does not rain."""
        dry = 1 - self.wet_fraction
        rank = (special.ndtr(cause) - dry) / self.wet_fraction
        wet = rank > 0
        return np.where(wet, self.rate(np.clip(rank, 1e-6, 1 - 1e-9)), 0.0)


def gaussian_field(
    shape: tuple[int, int], spacing_km: float, slope: float, outer_km: float, rng: np.random.Generator, stretch: float = 1.0
) -> Map:
    """Draw a Gaussian field whose power falls as k^-slope below the outer scale and is flat above.

    `stretch` is how much longer than wide its shapes are, in a direction drawn with them. Mean 0 and variance 1 hold over many
    fields, not in each: one may be all dry. Drawn on twice the area, so that opposite edges have nothing in common.

    Examples
    --------
    >>> rng = np.random.default_rng(1)
    >>> many = np.array([gaussian_field((32, 32), 5.0, 3.7, 50.0, rng) for _ in range(50)])
    >>> round(float(many.std()), 1)
    1.0
    """
    whole = (2 * shape[0], 2 * shape[1])
    angle = rng.uniform(0, math.pi)
    ky, kx = np.fft.fftfreq(whole[0], spacing_km)[:, None], np.fft.fftfreq(whole[1], spacing_km)[None, :]
    along, across = kx * math.cos(angle) + ky * math.sin(angle), ky * math.cos(angle) - kx * math.sin(angle)
    power = (1 + (along**2 * stretch + across**2 / stretch) * outer_km**2) ** (-slope / 2)
    spectrum = np.fft.fft2(rng.standard_normal(whole)) * np.sqrt(power / power.mean())
    return np.asarray(np.fft.ifft2(spectrum).real[: shape[0], : shape[1]])


@dataclass(frozen=True)
class Weather:
    """One moment of the synthetic Earth on a plane of square cells: maps of one shape.

    `rain_rate` mm h-1 (rain and snow), `liquid` 0-1 the share of it that is rain, `water_vapour`, `cloud_liquid` and
    `ice_water_path` kg m-2, `skin_temperature` K, `eastward_wind` and `northward_wind` m s-1, `land_fraction` 0-1.
    """

    rain_rate: Map
    liquid: Map
    water_vapour: Map
    cloud_liquid: Map
    ice_water_path: Map
    skin_temperature: Map
    eastward_wind: Map
    northward_wind: Map
    land_fraction: Map


def draw_weather(latitude: Map, spacing_km: float, climate: Climate, rng: np.random.Generator) -> Weather:
    """Draw rain and what goes with it, on cells of known latitude (degrees).

    - Sea is warm at the equator and cold at high latitudes; land differs by some kelvin and covers about a quarter.
    - Vapour is 20 kg m-2 over sea of 288 K and 7 % more for each kelvin, more where it rains: warming alone moistens.
    - Clouds reach further than the rain in them. Ice is 0.28 R^0.6 (as in `vigie.physics.microwave.ice_water_path`) times a
      random factor of its own: what scatters microwaves is only loosely tied to rain at the ground.
    - Wind blows stronger near rain. Below 275 K rain turns to snow.
    """
    shape = (latitude.shape[0], latitude.shape[1])
    cause = gaussian_field(shape, spacing_km, climate.slope, climate.outer_km, rng, climate.stretch)
    smooth = [gaussian_field(shape, spacing_km, 4.5, 800.0, rng) for _ in range(3)]
    rough = gaussian_field(shape, spacing_km, 3.0, 60.0, rng)
    rain = climate.rain(cause)
    land = _land(gaussian_field(shape, spacing_km, 3.8, 1000.0, rng))
    sea_k = 271.5 + 30.0 * np.cos(np.radians(latitude)) ** 2 + 1.2 * smooth[0] + climate.warming_k
    skin = sea_k + land * (2.0 + 4.0 * smooth[1])
    moist = ndimage.gaussian_filter(cause, 40.0 / spacing_km)
    vapour = 20.0 * (1 + MOISTENING_PER_K) ** (sea_k - 288.0) * np.exp(0.22 * np.clip(moist, -2.0, 2.0) + 0.1 * smooth[2])
    wind = np.abs(7.0 + 2.5 * smooth[2] + 1.5 * np.clip(moist, -2.0, 2.0) + 0.7 * rough)
    heading = rng.uniform(0, 2 * math.pi) + 0.6 * smooth[0]
    threshold = special.ndtri(1 - climate.wet_fraction)
    cloud = 0.18 * np.log1p(np.exp(3.0 * (cause - threshold + 0.2 + 0.25 * rough)))
    return Weather(
        rain_rate=rain,
        liquid=np.clip((skin - 273.5) / 3.0, 0.0, 1.0),
        water_vapour=vapour,
        cloud_liquid=np.minimum(cloud, 1.5),
        ice_water_path=0.28 * rain**0.6 * np.exp(0.6 * rough - 0.18),
        skin_temperature=skin,
        eastward_wind=wind * np.cos(heading),
        northward_wind=wind * np.sin(heading),
        land_fraction=land,
    )


def _land(height: Map) -> Map:
    """A quarter of the Earth rises out of the sea; cells on the coast are partly land."""
    return np.asarray(ndimage.gaussian_filter((height > special.ndtri(0.75)).astype(np.float64), 0.5))
