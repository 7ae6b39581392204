"""Drift of plastic ice: free drift in closed form, the buoys' fits, a plain numpy solver, rotation, and a real Arctic."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from pyproj import Transformer
from scipy.interpolate import RegularGridInterpolator
from scipy.io import netcdf_file
from torch import Tensor

from vigie.physics.seaice import mevp, vp
from vigie.physics.seaice.drag import free_drift
from vigie.physics.seaice.forcing import Forcing
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.model import SeaIceModel
from vigie.physics.seaice.momentum import Drift, Loads, loads
from vigie.physics.seaice.settings import Bbm, DragSettings, Mevp, PlasticSettings, SeaIceSettings
from vigie.physics.seaice.state import IceState, at_rest

CORIOLIS = 1.46e-4
WEAK = Mevp(plastic=PlasticSettings(strength_pa=1e-3), cycles=40)
HOUR_S = 3600.0


def sea(rows: int, columns: int, dx_m: float = 25e3) -> CGrid:
    return CGrid(torch.ones(rows, columns, dtype=torch.bool), dx_m, torch.tensor(CORIOLIS, dtype=torch.float64))


def pushed(
    grid: CGrid, ice: IceState, forcing: Forcing, rheology: Mevp | Bbm, steps: int, drag: DragSettings | None = None
) -> IceState:
    """Ice that is pushed for some hours and stays where it is."""
    model = SeaIceModel(grid, SeaIceSettings(rheology=rheology, drag=drag or DragSettings()))
    with torch.no_grad():
        for _ in range(steps):
            ice = model.push(ice, forcing.on(grid), HOUR_S)
    return ice


def centre(ice: IceState) -> complex:
    u, v = (field[..., field.shape[-2] // 2, field.shape[-1] // 2] for field in ice.drift())
    return complex(float(u), float(v))


@pytest.mark.parametrize("turning_deg", [0.0, 25.0])
@pytest.mark.parametrize(("thickness_m", "current"), [(1.0, 0.0), (3.0, 0.1 - 0.05j)])
def test_ice_that_cannot_resist_drifts_freely(turning_deg: float, thickness_m: float, current: complex) -> None:
    grid = sea(15, 15)
    ice = at_rest(grid, torch.ones(15, 15), torch.full((15, 15), thickness_m))
    wind = 6.0 + 3.0j
    relative = Forcing(torch.tensor(wind.real), torch.tensor(wind.imag), current_u_m_s=torch.tensor(current.real))
    moved = pushed(
        grid,
        ice,
        replace(relative, current_v_m_s=torch.tensor(current.imag), sea_level_m=geostrophic(current)),
        WEAK,
        30,
        DragSettings(turning_deg=turning_deg),
    )
    tau = 1.3 * 1.2e-3 * abs(wind) * wind
    assert centre(moved) == pytest.approx(current + free_drift(tau, thickness_m, 5.5e-3, turning_deg, CORIOLIS), rel=1e-3)


def geostrophic(current: complex) -> Tensor:
    """The sea level whose tilt balances the Earth's turning of that current: ice drifts with it as if at rest."""
    y, x = np.mgrid[:15, :15] * 25e3
    return torch.tensor(CORIOLIS / 9.81 * (current.imag * x - current.real * y))


def test_wind_moves_ice_as_buoys_tell() -> None:
    """SIDEx: 1.6 % of the wind, 19 degrees to its right; 26 winters: a regional factor of 0.6 to 1.6 %, 12 to 27 degrees."""
    grid = sea(24, 24)
    loose = at_rest(grid, torch.full((24, 24), 0.85), torch.full((24, 24), 1.7))
    ratio = {}
    for name, ice in {"loose": loose, "pack": replace(loose, concentration=torch.full_like(loose.damage, 0.97))}.items():
        ratio[name] = centre(pushed(grid, ice, Forcing(torch.tensor(7.0), torch.tensor(0.0)), Mevp(), 24)) / 7.0
    angle = {name: np.degrees(np.angle(one)) for name, one in ratio.items()}
    assert 0.0150 < abs(ratio["loose"]) < 0.0170
    assert -25 < angle["loose"] < -15
    assert 0.006 < abs(ratio["pack"]) < abs(ratio["loose"])
    assert angle["loose"] < angle["pack"] < 0


def test_strong_ice_against_a_coast_does_not_move() -> None:
    grid = sea(16, 16)
    ice = at_rest(grid, torch.ones(16, 16), torch.full((16, 16), 2.0))
    moved = pushed(grid, ice, Forcing(torch.tensor(8.0), torch.tensor(0.0)), Mevp(), 12)
    assert abs(centre(moved)) < 0.1 * 0.016 * 8.0


@pytest.mark.parametrize("rheology", [Mevp(cycles=40), Bbm(cycles=250)], ids=["plastic", "brittle"])
def test_a_turned_world_has_a_turned_answer(rheology: Mevp | Bbm) -> None:
    """By a quarter of a turn counterclockwise: fields turn, and (u, v) becomes (-v, u)."""
    draw = torch.Generator().manual_seed(5)
    ocean = torch.ones(9, 7, dtype=torch.bool)
    ocean[2:4, 2] = ocean[6, 4] = False
    thick, wind_u, wind_v = torch.rand(3, 9, 7, generator=draw, dtype=torch.float64)
    f = torch.tensor(CORIOLIS, dtype=torch.float64)
    straight = CGrid(ocean, 25e3, f)
    turned = CGrid(quarter(ocean), 25e3, f)
    ice = at_rest(straight, 0.8 + 0.2 * thick, 0.5 + thick)
    tilted = at_rest(turned, quarter(0.8 + 0.2 * thick), quarter(0.5 + thick))
    model, other = (SeaIceModel(grid, SeaIceSettings(rheology=rheology)) for grid in (straight, turned))
    with torch.no_grad():
        ice = model.step(ice, Forcing(10 * wind_u, 10 * wind_v - 5), HOUR_S)
        tilted = other.step(tilted, Forcing(quarter(5 - 10 * wind_v), quarter(10 * wind_u)), HOUR_S)
    close = {"rtol": 1e-9, "atol": 1e-12}
    torch.testing.assert_close(tilted.u_m_s, quarter(-ice.v_m_s), **close)
    torch.testing.assert_close(tilted.v_m_s, quarter(ice.u_m_s), **close)
    torch.testing.assert_close(tilted.thickness_m, quarter(ice.thickness_m), **close)
    torch.testing.assert_close(tilted.damage, quarter(ice.damage), **close)


def quarter(field: Tensor) -> Tensor:
    return field.mT.flip(-1)


def test_torch_agrees_with_a_solver_of_plain_loops() -> None:
    draw = np.random.default_rng(1)
    ocean = np.ones((5, 6), bool)
    ocean[2, 3] = False
    ice, thick = draw.uniform(0.8, 1.0, (5, 6)) * ocean, draw.uniform(0.9, 1.6, (5, 6)) * ocean
    wind = draw.uniform(-8, 8, (2, 5, 6))
    grid = CGrid(torch.tensor(ocean), 25e3, torch.tensor(CORIOLIS, dtype=torch.float64))
    state = at_rest(grid, torch.tensor(ice), torch.tensor(thick))
    chosen = Mevp(cycles=25, relaxation=120.0)
    ours = mevp.solve(state, loads(state, Forcing(*torch.tensor(wind)).on(grid), HOUR_S, DragSettings(), grid), chosen)
    u, v = plain_mevp(ocean, ice, thick, wind, cycles=25, alpha=120.0)
    np.testing.assert_allclose(ours.u_m_s.numpy(), u, rtol=1e-7, atol=1e-10)
    np.testing.assert_allclose(ours.v_m_s.numpy(), v, rtol=1e-7, atol=1e-10)


def plain_mevp(
    ocean: NDArray[np.bool_],
    ice: NDArray[np.float64],
    thick: NDArray[np.float64],
    wind: NDArray[np.float64],
    cycles: int,
    alpha: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The equations of Hibler (1979) and Bouillon et al. (2013), cell by cell, with full stress components."""
    ny, nx = ocean.shape
    dx, dt = 25e3, HOUR_S
    u, v = np.zeros((ny, nx + 1)), np.zeros((ny + 1, nx))
    s11, s22, s12 = np.zeros((ny, nx)), np.zeros((ny, nx)), np.zeros((ny + 1, nx + 1))
    pull = 1.3 * 1.2e-3 * np.hypot(*wind) * wind
    strong = 27.5e3 * thick * np.exp(-20 * (1 - ice))
    inner = [(j, i) for j in range(1, ny) for i in range(1, nx) if ocean[j - 1 : j + 1, i - 1 : i + 1].all()]
    for _ in range(cycles):
        e12 = np.zeros_like(s12)
        for j, i in inner:
            e12[j, i] = 0.5 * (u[j, i] - u[j - 1, i] + v[j, i] - v[j, i - 1]) / dx
        zeta = np.zeros_like(s11)
        for j, i in np.argwhere(ocean):
            e11, e22 = (u[j, i + 1] - u[j, i]) / dx, (v[j + 1, i] - v[j, i]) / dx
            sheared = np.mean(e12[j : j + 2, i : i + 2] ** 2)
            delta = np.sqrt((e11 + e22) ** 2 + ((e11 - e22) ** 2 + 4 * sheared) / 4 + 1e-22)
            zeta[j, i] = strong[j, i] / (2 * (delta + 2e-9))
            eta = zeta[j, i] / 4
            bulk = (zeta[j, i] - eta) * (e11 + e22) - zeta[j, i] * delta
            s11[j, i] += (2 * eta * e11 + bulk - s11[j, i]) / alpha
            s22[j, i] += (2 * eta * e22 + bulk - s22[j, i]) / alpha
        for j, i in inner:
            eta = np.mean(zeta[j - 1 : j + 1, i - 1 : i + 1]) / 4
            s12[j, i] += (2 * eta * e12[j, i] - s12[j, i]) / alpha
        before = u.copy(), v.copy()
        for j in range(ny):
            for i in range(1, nx):
                if ocean[j, i - 1] and ocean[j, i]:
                    across = np.mean(before[1][j : j + 2, i - 1 : i + 1])
                    push = (s11[j, i] - s11[j, i - 1] + s12[j + 1, i] - s12[j, i]) / dx
                    sides = [(j, i - 1), (j, i)]
                    u[j, i] = plain_balance(before[0][j, i], across, push, sides, ice, thick, pull[0], alpha, dt)
        for j in range(1, ny):
            for i in range(nx):
                if ocean[j - 1, i] and ocean[j, i]:
                    across = np.mean(before[0][j - 1 : j + 1, i : i + 2])
                    push = (s22[j, i] - s22[j - 1, i] + s12[j, i + 1] - s12[j, i]) / dx
                    sides = [(j - 1, i), (j, i)]
                    v[j, i] = plain_balance(before[1][j, i], across, push, sides, ice, thick, pull[1], alpha, dt, -1.0)
    return u, v


def plain_balance(along, across, push, sides, ice, thick, pull, beta, dt, sign=1.0):
    """One component on one face, from rest."""
    mass = np.mean([900 * thick[side] for side in sides])
    force = np.mean([ice[side] * pull[side] for side in sides]) + push + sign * mass * CORIOLIS * across
    grip = 1026 * 5.5e-3 * np.mean([ice[side] for side in sides]) * np.sqrt(along**2 + across**2 + 1e-10)
    return (mass / dt * beta * along + force) / (mass / dt * (1 + beta) + grip)


@pytest.mark.realdata
def test_a_real_arctic_under_a_real_wind_settles(samples: Path) -> None:
    """TOPAZ4's ice of January 2010, one wind of CORE-II held for twelve hours: 0.020 m/s on average, 0.162 at most."""
    grid, start, forcing = real_arctic(samples / "seaice")
    ice = start
    with torch.no_grad():
        on = loads(ice, forcing, HOUR_S, DragSettings(), grid)  # they do not change while the ice stays where it is
        left = [residual(ice, on, cycles) for cycles in (20, 100, 500)]
        for _ in range(11):
            ice = mevp.solve(ice, on, Mevp())
        left.append(residual(ice, on, 200))
        ice = mevp.solve(ice, on, Mevp())
    u, v = ice.drift()
    pack = ice.concentration > 0.5
    speed, wind = torch.hypot(u, v)[pack], torch.hypot(forcing.wind_u_m_s, forcing.wind_v_m_s)[pack]
    assert float(speed.mean()) == pytest.approx(0.020, abs=0.001)
    assert float(speed.max()) == pytest.approx(0.162, abs=0.003)
    assert 0.0075 < float((speed / wind).mean()) < 0.0100
    assert left[0] > left[1] > 1.5 * left[2]
    assert left[3] < 1e-2


def residual(ice: IceState, on: Loads, cycles: int) -> float:
    """Largest change of drift in the last pseudo-time step, times the mean of beta."""
    chosen = Mevp(cycles=cycles - 1)
    relax, strong = mevp.relaxation(chosen, on), vp.strength(ice, chosen.plastic)
    now = Drift(*mevp.solve(ice, on, chosen).tensors()[5:])
    later = mevp.pseudo_step(now, (ice.u_m_s, ice.v_m_s), strong, relax, on, chosen)
    delta = vp.deformation(vp.strain_rates(now.u, now.v, on.grid), chosen.plastic.ellipse)
    beta = relax(vp.bulk_viscosity(strong, delta, chosen.plastic), torch.zeros_like(now.shear)).u
    changed = torch.stack([(later.u - now.u).abs().max(), (later.v - now.v).abs().max()]).max()
    return float(changed * beta[on.grid.u_open > 0].mean())


def real_arctic(folder: Path) -> tuple[CGrid, IceState, Forcing]:
    with gzip.open(folder / "nextsim" / "init_25km_NH.nc.gz") as packed, h5py.File(packed) as file:
        ice, thick, mask = (np.asarray(file["data"][name], np.float32) for name in ("cice", "hice", "mask"))
    ocean = mask > 0.5
    x, y = np.meshgrid(-2375000 + 25000 * np.arange(mask.shape[1]), -900000 + 25000 * np.arange(mask.shape[0]))
    lon, lat = Transformer.from_crs(3411, 4326, always_xy=True).transform(x, y)
    east, north = (core_wind(folder / "forcing_core2" / f"{name}.1948.nc", lon, lat) for name in ("u_10", "v_10"))
    turned = (east + 1j * north) * np.exp(1j * np.radians(lon + 45))
    grid = CGrid(torch.tensor(ocean), 25e3, torch.tensor(CORIOLIS))
    ice, thick = (torch.tensor(np.where(ocean, field, 0.0)) for field in (ice, thick))
    return grid, at_rest(grid, ice, thick), Forcing(torch.tensor(turned.real), torch.tensor(turned.imag)).on(grid)


def core_wind(path: Path, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
    with netcdf_file(path, mmap=False) as file:
        wanted = next(name for name in file.variables if name.upper().startswith(path.name[:4].upper()))
        field, south, east = (np.array(file.variables[name][:], float) for name in (wanted, "LAT", "LON"))
    around = np.append(field[0], field[0][:, :1], axis=1)
    at = np.stack([lat, lon % 360], axis=-1)
    return RegularGridInterpolator((south, np.append(east, 360.0)), around, bounds_error=False, fill_value=None)(at)
