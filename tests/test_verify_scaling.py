"""Scaling with temperature: formulas against their own derivative, a known growth found, a hook told."""

from __future__ import annotations

import numpy as np
import pytest

from vigie.core.errors import VigieError
from vigie.verify.scaling import clausius_clapeyron_percent, saturation_pressure_hpa, temperature_scaling


def test_the_rate_is_the_derivative_of_the_pressure():
    t, dt = np.linspace(-20, 35, 12), 1e-4
    slope = (np.log(saturation_pressure_hpa(t + dt)) - np.log(saturation_pressure_hpa(t - dt))) / (2 * dt)
    np.testing.assert_allclose(clausius_clapeyron_percent(t), 100 * slope, rtol=1e-4)
    assert saturation_pressure_hpa(100.0) == pytest.approx(1013, rel=0.03)


def rain_at(t, growth, rng):
    return rng.exponential(np.exp(growth(t)))


def test_a_growth_without_hook_is_found():
    rng = np.random.default_rng(0)
    t = rng.uniform(0, 20, 40000)
    found = temperature_scaling(rain_at(t, lambda t: np.log(1.07) * t, rng), t, wet=1e-6)
    assert found.slope_percent == pytest.approx(7, abs=0.5) and not found.hook
    assert found.naive_scaling.startswith("no hook") and found.count.sum() == 40000


def test_a_hook_is_found_and_told():
    rng = np.random.default_rng(1)
    t = rng.uniform(0, 24, 100000)
    found = temperature_scaling(rain_at(t, lambda t: 0.09 * np.minimum(t, 12) - 0.08 * np.maximum(t - 12, 0), rng), t, wet=1e-6)
    assert found.hook and found.peak_c == pytest.approx(12, abs=3)
    assert found.slope_before_percent == pytest.approx(100 * np.expm1(0.09), abs=1.5)
    assert found.slope_after_percent == pytest.approx(100 * np.expm1(-0.08), abs=1.5)
    assert found.naive_scaling.startswith("does not hold")


def test_dry_and_missing_steps_take_no_part():
    rng = np.random.default_rng(2)
    t, rain = rng.uniform(0, 20, 6000), rng.exponential(5, 6000)
    t[:100], rain[100:200], rain[200:300] = np.nan, np.nan, 0.0
    assert temperature_scaling(rain, t, wet=1e-9, bins=5).count.sum() == 5700


def test_one_temperature_has_no_slope():
    found = temperature_scaling(np.random.default_rng(3).exponential(1, 6000), np.full(6000, 5.0), wet=1e-9, bins=5)
    assert np.isnan(found.slope_percent) and not found.hook


def test_bins_that_cannot_hold_the_quantile_are_refused():
    rain = np.random.default_rng(4).exponential(1, 8158) + 0.01
    with pytest.raises(VigieError, match=r"too few wet steps.*found 8158.*at least 60000"):
        temperature_scaling(rain, rain, wet=0.01, quantile=0.999)
    with pytest.raises(VigieError, match="too few bins"):
        temperature_scaling(rain, rain, wet=0.01, bins=4)
    with pytest.raises(VigieError, match="dry steps"):
        temperature_scaling(rain, rain, wet=0.0)
