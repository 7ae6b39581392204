"""Growth and melt: Stefan's law, the balance of heat at the surface, Archimedes, and energy that melts what it can."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import brentq

from vigie.physics.seaice.forcing import Forcing, longwave
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.settings import ThermodynamicsSettings
from vigie.physics.seaice.state import IceState, at_rest
from vigie.physics.seaice.surface import balance, conductance, from_water
from vigie.physics.seaice.thermodynamics import flood, grow

GRID = CGrid(torch.ones(1, 1, dtype=torch.bool), 25e3, torch.tensor(1.4e-4, dtype=torch.float64))
CHOSEN = ThermodynamicsSettings()
MELT_J_M3 = 900.0 * 3.33e5


def number(value: float) -> torch.Tensor:
    return torch.tensor([[value]], dtype=torch.float64)


def ice(concentration: float, thickness_m: float, snow_m: float = 0.0) -> IceState:
    return at_rest(GRID, number(concentration), number(thickness_m), number(snow_m))


def weather(**changed: float) -> Forcing:
    named = {"wind_u_m_s": 5.0, "wind_v_m_s": 0.0} | changed
    return Forcing(**{name: number(value) for name, value in named.items()})


def test_ice_grows_as_stefan_says() -> None:
    """H^2 = H0^2 + 2 k (T_f - T_s) t / (rho L), with a surface that a gale of dry cold air holds at its temperature."""
    state, days = ice(1.0, 0.3), 60
    cold = weather(wind_u_m_s=1e6, air_c=-20.0, humidity=6.354e-4)
    for _ in range(24 * days):
        state = replace(grow(state, cold, 3600.0, GRID, CHOSEN), concentration=number(1.0))
    held = float(state.surface_c)
    stefan = np.sqrt(0.3**2 + 2 * 1.065 * 2.03 * (-1.8 - held) * 86400 * days / MELT_J_M3)
    assert held == pytest.approx(-20.0, abs=0.05)
    assert float(state.thickness_m) == pytest.approx(stefan, rel=2e-3)


@given(st.floats(0.2, 4.0), st.floats(0.0, 0.5), st.floats(-40.0, 5.0), st.floats(1.0, 15.0), st.floats(0.0, 300.0))
def test_the_surface_is_where_heat_balances(thick: float, snow: float, air_c: float, wind: float, sun: float) -> None:
    """Against scipy's root of the same balance, written out here; above the melting point, what is left over melts."""
    sky = float(longwave(torch.tensor(air_c, dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)))
    forcing = weather(wind_u_m_s=wind, air_c=air_c, humidity=5e-4, longwave_w_m2=sky, shortwave_w_m2=sun)
    found = balance(number(thick), number(snow), number(-10.0), forcing, CHOSEN.model_copy(update={"iterations": 8}))

    def left(t: float) -> float:
        moist = 0.622 * 611.2 / 101325 * np.exp(22.46 * t / (272.62 + t))
        turbulent = 1.3 * 1.3e-3 * wind * (1004 * (t - air_c) + 2.834e6 * (moist - 5e-4))
        cover = snow / (snow + 0.02)
        kept = (1 - (0.85 * cover + 0.65 * (1 - cover))) * (1 - 0.6 * 0.17 * (1 - cover)) * sun
        conducts = 1.065 * 2.03 * 0.31 / (0.31 * thick + 2.03 * snow)
        return conducts * (-1.8 - t) - turbulent - 0.996 * (5.67e-8 * (t + 273.15) ** 4 - sky) + kept

    root = brentq(left, -80.0, 60.0)
    assert float(found.temperature_c) == pytest.approx(min(root, 0.0), abs=1e-4)
    assert float(found.melting) == pytest.approx(max(left(0.0), 0.0), abs=1e-3)


def test_snow_keeps_ice_warm() -> None:
    bare, covered = (float(conductance(number(1.0), number(snow), CHOSEN)) for snow in (0.0, 0.3))
    assert bare / covered == pytest.approx(1 + 0.3 * 2.03 / 0.31)


@given(st.floats(0.0, 3.0), st.floats(0.0, 3.0))
def test_flooding_keeps_mass_and_brings_the_ice_up_to_the_water(thick: float, snow: float) -> None:
    after, left = (float(one) for one in flood(number(thick), number(snow)))
    assert 900 * after + 330 * left == pytest.approx(900 * thick + 330 * snow)
    assert (900 * after + 330 * left) / 1026 - after <= 1e-12
    assert after >= thick - 1e-15 and left >= -1e-15


def test_melt_takes_snow_first_and_then_ice_of_the_same_energy() -> None:
    warm = weather(air_c=5.0, humidity=5e-3, longwave_w_m2=320.0, shortwave_w_m2=250.0)
    start = replace(ice(1.0, 2.0, 0.02), surface_c=number(0.0))
    surface = balance(number(2.0), number(0.02), number(0.0), warm, CHOSEN)
    energy = float(surface.melting) * 86400 - 330 * 3.33e5 * 0.02
    base = -float(surface.conducted) * 86400
    after = grow(start, warm, 86400.0, GRID, CHOSEN)
    assert float(after.snow_m) == 0.0
    assert 2.0 - float(after.thickness_m) == pytest.approx((energy + base) / MELT_J_M3, rel=1e-9)
    lost = (2.0 - float(after.thickness_m)) / 2.0
    assert 1.0 - float(after.concentration) == pytest.approx(0.5 * lost, rel=1e-9)


def test_open_water_freezes_with_the_heat_it_loses() -> None:
    cold = weather(air_c=-25.0, humidity=4e-4, longwave_w_m2=170.0)
    lost = float(from_water(cold, CHOSEN))
    after = grow(ice(0.0, 0.0), cold, 3600.0, GRID, CHOSEN)
    assert lost > 200
    assert float(after.thickness_m) == pytest.approx(lost * 3600 / MELT_J_M3)
    assert float(after.concentration) == pytest.approx(float(after.thickness_m) / 0.25)
    warm_sea = grow(ice(0.0, 0.0), replace(cold, ocean_c=number(3.0)), 3600.0, GRID, CHOSEN)
    assert float(warm_sea.thickness_m) == 0.0


def test_a_warm_ocean_and_the_summer_sun_leave_no_ice_and_no_snow_behind() -> None:
    state = ice(0.4, 0.3, 0.05)
    summer = weather(air_c=3.0, humidity=4e-3, longwave_w_m2=310.0, shortwave_w_m2=250.0, ocean_c=1.0)
    for _ in range(40):
        state = grow(state, summer, 86400.0 / 4, GRID, CHOSEN)
        for field in (state.concentration, state.thickness_m, state.snow_m):
            assert 0.0 <= float(field) < 1.0
    assert float(state.thickness_m) == float(state.snow_m) == float(state.concentration) == 0.0


def test_land_grows_no_ice() -> None:
    coast = CGrid(torch.tensor([[True, False]]), 25e3, torch.tensor(1.4e-4, dtype=torch.float64))
    none = at_rest(coast, torch.zeros(1, 2), torch.zeros(1, 2))
    after = grow(none, weather(air_c=-25.0, humidity=4e-4, longwave_w_m2=170.0), 3600.0, coast, CHOSEN)
    assert (after.thickness_m > 0).tolist() == [[True, False]]
