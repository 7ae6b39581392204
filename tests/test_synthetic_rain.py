"""Synthetic rain: spectrum, share of wet places and tail as radar has them, and what a warmer climate changes."""

from __future__ import annotations

import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import fft, stats

from vigie.synthetic.rain import Climate, draw_weather, gaussian_field

SIZE, CELL_KM = 96, 4.0


@pytest.fixture(scope="module")
def fields() -> NDArray[np.float64]:
    climate, rng = Climate(), np.random.default_rng(5)
    return np.array(
        [
            climate.rain(gaussian_field((SIZE, SIZE), CELL_KM, climate.slope, climate.outer_km, rng, climate.stretch))
            for _ in range(60)
        ]
    )


def spectral_slope(field: NDArray[np.floating], cell_km: float) -> float:
    """Slope of the radial mean of DCT power over wavenumber, between wavelengths of 16 and 192 km."""
    size = len(field)
    power = fft.dctn(field, norm="ortho") ** 2
    radius = np.rint(np.hypot(*np.mgrid[:size, :size])).astype(int)
    k = np.arange(1, size)
    radial = np.array([power[radius == one].mean() for one in k])
    wavelength = 2 * size * cell_km / k
    used = (wavelength >= 16) & (wavelength <= 192)
    return float(np.polyfit(np.log(k[used]), np.log(radial[used]), 1)[0])


def windowed_slope(field: NDArray[np.floating]) -> float:
    """The same of Fourier power through a Hann window, which leaks less than the DCT (that finds -2.9 where -3 is true)."""
    window = np.hanning(SIZE)
    power = np.abs(np.fft.fft2((field - field.mean()) * np.outer(window, window))) ** 2
    cycles = np.fft.fftfreq(SIZE) * SIZE
    radius = np.rint(np.hypot(cycles[:, None], cycles[None, :])).astype(int)
    k = np.arange(3, SIZE // 2)
    return float(np.polyfit(np.log(k), np.log([power[radius == one].mean() for one in k]), 1)[0])


def test_the_spectrum_falls_as_that_of_radar_rain(fields: NDArray[np.float64]) -> None:
    """-3.1 at 1 km (notes of RADOLAN) and -3.0 for block means of 4 km."""
    slopes = [spectral_slope(field, CELL_KM) for field in fields if (field > 0.1).mean() > 0.1]
    assert np.mean(slopes) == pytest.approx(-3.05, abs=0.2)


def test_a_gaussian_field_has_its_spectrum_and_its_variance() -> None:
    rng = np.random.default_rng(6)
    many = [gaussian_field((SIZE, SIZE), CELL_KM, 3.0, 1e4, rng) for _ in range(20)]
    assert np.mean([windowed_slope(field) for field in many]) == pytest.approx(-3.0, abs=0.06)
    patchy = np.array([gaussian_field((SIZE, SIZE), CELL_KM, 3.7, 60.0, rng) for _ in range(30)])
    assert patchy.mean() == pytest.approx(0.0, abs=0.1)
    assert patchy.std() == pytest.approx(1.0, abs=0.05)
    edges = [np.corrcoef(field[:, 0], field[:, -1])[0, 1] for field in patchy]
    assert abs(np.mean(edges)) < 0.1


@pytest.mark.parametrize("wet_fraction", [0.1, 0.2, 0.3])
def test_it_rains_where_it_should(wet_fraction: float) -> None:
    rain = replace(Climate(), wet_fraction=wet_fraction).rain(np.random.default_rng(7).standard_normal((400, 400)))
    assert (rain > 0).mean() == pytest.approx(wet_fraction, abs=0.004)


def test_rates_have_the_quantiles_of_radar_rain(fields: NDArray[np.float64]) -> None:
    """Wet places (0.1 mm/h and more): RADOLAN at 4 km 0.9, 4.3, 9.8, 15.5; the DPR swath 0.6, 7.5, 14.8, 39."""
    wet = fields[fields >= 0.1]
    assert np.quantile(wet, 0.5) == pytest.approx(0.9, rel=0.2)
    assert 4.0 < np.quantile(wet, 0.9) < 7.5
    assert 9.8 < np.quantile(wet, 0.99) < 14.8
    assert 15.5 < np.quantile(wet, 0.999) < 39.0


def test_the_tail_is_the_pareto_distribution_that_continues_the_lognormal_body() -> None:
    climate = Climate()
    start = climate.rate(np.array([climate.tail_from]))[0]
    body = stats.lognorm(climate.log_spread, scale=climate.median_mm_h)
    scale = (1 - climate.tail_from) / body.pdf(start)
    assert start == pytest.approx(body.ppf(climate.tail_from))
    above = np.array([0.96, 0.99, 0.9999])
    expected = start + stats.genpareto(climate.tail_shape, scale=scale).ppf(
        (above - climate.tail_from) / (1 - climate.tail_from)
    )
    np.testing.assert_allclose(climate.rate(above), expected)
    np.testing.assert_allclose(climate.rate(np.array([0.1, 0.5])), body.ppf([0.1, 0.5]))


@given(st.floats(1e-6, 1 - 1e-6), st.floats(1e-6, 1 - 1e-6), st.floats(0.0, 8.0))
def test_rates_grow_with_rank_and_with_warming(one: float, other: float, warming_k: float) -> None:
    climate = Climate(warming_k=warming_k)
    low, high = climate.rate(np.array(sorted((one, other))))
    assert low <= high
    assert high >= Climate().rate(np.array([max(one, other)]))[0] * (1 - 1e-12)


def test_a_warmer_climate_is_moister_and_its_heaviest_rain_follows_the_vapour() -> None:
    latitude = np.full((SIZE, SIZE), 10.0)
    now, then = (draw_weather(latitude, CELL_KM, Climate(warming_k=k), np.random.default_rng(8)) for k in (0.0, 3.0))
    np.testing.assert_allclose(then.water_vapour / now.water_vapour, 1.07**3)
    np.testing.assert_allclose(then.skin_temperature - now.skin_temperature, 3.0)
    wet = now.rain_rate > 0
    np.testing.assert_array_equal(wet, then.rain_rate > 0)
    growth = then.rain_rate[wet] / now.rain_rate[wet]
    assert growth[np.argmax(now.rain_rate[wet])] == pytest.approx(1.07**3, rel=0.02)
    assert 1.0 < growth.min() < 1.02


def test_moisture_clouds_and_ice_go_with_rain() -> None:
    import torch

    from vigie.physics.microwave import ice_water_path

    latitude = np.full((256, 256), 10.0)
    weather = draw_weather(latitude, CELL_KM, Climate(wet_fraction=0.2), np.random.default_rng(9))
    wet = weather.rain_rate > 0.1
    assert weather.water_vapour[wet].mean() > 1.1 * weather.water_vapour[~wet].mean()
    assert weather.cloud_liquid[wet].mean() > 3 * weather.cloud_liquid[~wet].mean()
    ratio = weather.ice_water_path[wet] / ice_water_path(torch.as_tensor(weather.rain_rate[wet])).numpy()
    assert ratio.mean() == pytest.approx(1.1, abs=0.15)
    assert np.log(ratio).std() == pytest.approx(0.6, abs=0.15)


def test_it_snows_where_it_is_cold() -> None:
    warm, cold = (
        draw_weather(np.full((64, 64), degrees), CELL_KM, Climate(wet_fraction=0.3), np.random.default_rng(10))
        for degrees in (0.0, 85.0)
    )
    assert warm.liquid.min() == 1.0
    assert (cold.liquid == 0).mean() > 0.5
    assert (cold.skin_temperature[cold.liquid > 0] > 273.5).all()


@pytest.mark.realdata
def test_radolan_has_the_slope_that_synthetic_rain_has(samples: Path) -> None:
    slopes = []
    with tarfile.open(samples / "precipitation/rain_fields/RW-20221018.tar.gz") as archive:
        for member in sorted((m for m in archive.getmembers() if m.isfile()), key=lambda m: m.name)[8:12]:
            stored = archive.extractfile(member)
            assert stored is not None
            grid = np.loadtxt(stored, skiprows=6)[:896, :896]
            rain = np.where(grid < 0, np.nan, grid / 10).reshape(224, 4, 224, 4).mean((1, 3))
            windows = (rain[y : y + SIZE, x : x + SIZE] for y in range(0, 129, 32) for x in range(0, 129, 32))
            slopes += [spectral_slope(one, CELL_KM) for one in windows if np.isfinite(one).all() and (one > 0.1).mean() > 0.1]
    assert len(slopes) > 5
    assert np.mean(slopes) == pytest.approx(-3.05, abs=0.3)
