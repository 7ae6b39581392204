"""Brittle ice: elastic waves and plates in closed form, the envelope, what pressure stays, damage between 0 and 1."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from vigie.core.errors import VigieError
from vigie.physics.seaice import bbm
from vigie.physics.seaice.bbm import Brittle
from vigie.physics.seaice.forcing import Forcing
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.model import SeaIceModel
from vigie.physics.seaice.momentum import Drift, Loads, loads
from vigie.physics.seaice.settings import Bbm, DragSettings, SeaIceSettings
from vigie.physics.seaice.state import IceState, at_rest

DX_M = 25e3
CALM = Forcing(torch.tensor(0.0), torch.tensor(0.0))
TOUGH = Bbm(cohesion_pa=1e15)
YOUNG_PA, POISSON = 5.96e8, 1 / 3


def setting(rows: int, columns: int, dt_s: float, thickness_m: float = 1.0) -> tuple[IceState, Loads]:
    """Intact, closed ice on water that does not hold it, on an Earth that does not turn."""
    grid = CGrid(torch.ones(rows, columns, dtype=torch.bool), DX_M, torch.tensor(0.0, dtype=torch.float64))
    ice = at_rest(grid, torch.ones(rows, columns), torch.full((rows, columns), thickness_m))
    return ice, loads(ice, CALM.on(grid), dt_s, DragSettings(water=1e-12), grid)


def brittle(ice: IceState) -> Brittle:
    return Brittle(Drift(*ice.tensors()[5:]), ice.damage)


def test_a_standing_wave_swings_at_the_speed_of_sound() -> None:
    """u = sin(pi x / L) cos(pi c t / L), with c^2 = E / rho (1 - nu^2)."""
    cells, dt_s = 40, 5.0
    ice, on = setting(1, cells, dt_s)
    x = torch.arange(cells + 1, dtype=torch.float64) / cells
    ice = replace(ice, u_m_s=0.01 * torch.sin(torch.pi * x)[None])
    now, plate = brittle(ice), bbm.plate(ice, TOUGH, DX_M)
    middle = []
    for _ in range(300):
        now = bbm.elastic_step(now, plate, dt_s, TOUGH, on)
        middle.append(float(now.drift.u[0, cells // 2]))
    speed = math.sqrt(YOUNG_PA / (900 * (1 - POISSON**2)))
    t = dt_s * np.arange(1, 301)
    np.testing.assert_allclose(middle, 0.01 * np.cos(np.pi * speed * t / (cells * DX_M)), atol=1.5e-4)


def test_a_plate_that_is_pulled_bears_what_hooke_says() -> None:
    """Pulled along x and free to narrow along y: E e11 along x, nothing along y. Sheared: E / (1 + nu) e12."""
    dt_s, rate = 10.0, 1e-7
    ice, on = setting(4, 4, dt_s, thickness_m=2.0)
    along = torch.arange(5, dtype=torch.float64) * DX_M * rate
    pulled = replace(ice, u_m_s=along.expand(4, 5), v_m_s=-POISSON * along[:, None].expand(5, 4))
    drift = bbm.stretch(brittle(pulled), bbm.plate(ice, TOUGH, DX_M), dt_s, TOUGH, on)
    s11, s22 = drift.normal + drift.tension, drift.normal - drift.tension
    torch.testing.assert_close(s11, torch.full_like(s11, dt_s * rate * YOUNG_PA * 2.0), rtol=1e-5, atol=0.0)
    assert float(s22.abs().max()) < 1e-9 * float(s11.max())
    sheared = replace(ice, u_m_s=along[:4, None].expand(4, 5))
    drift = bbm.stretch(brittle(sheared), bbm.plate(ice, TOUGH, DX_M), dt_s, TOUGH, on)
    expected = dt_s * 0.5 * rate * YOUNG_PA * 2.0 / (1 + POISSON)
    assert drift.shear[1:-1, 1:-1].flatten().tolist() == pytest.approx([expected] * 9, rel=1e-5)


@pytest.mark.parametrize(("share", "broken"), [(0.9, False), (1.5, True), (4.0, True)])
def test_ice_breaks_beyond_the_envelope_alone(share: float, broken: bool) -> None:
    """Under tension and shear: tau + 0.7 sigma_n = c, with c = 2 MPa sqrt(0.1 / 25000) a metre."""
    ice, _ = setting(3, 3, 10.0)
    chosen, cohesion = Bbm(), 2e6 * math.sqrt(0.1 / DX_M)
    tau = share * cohesion / 1.35
    stressed = replace(ice, stress_normal=0.5 * tau + 0 * ice.damage, stress_tension=tau + 0 * ice.damage)
    drift, damage = brittle(stressed)
    after = bbm.break_up(drift, damage, bbm.plate(ice, chosen, DX_M), 10.0, chosen, DX_M)
    time = DX_M * math.sqrt(2 * (1 + POISSON) * 900 / YOUNG_PA)
    left = 1 - (1 - 1 / share) * 10.0 / time if broken else 1.0
    torch.testing.assert_close(after.damage, torch.full_like(damage, left), rtol=1e-6, atol=0.0)
    torch.testing.assert_close(after.drift.tension, left * drift.tension, rtol=1e-6, atol=0.0)


def test_broken_ice_bears_the_pressure_that_ridges_it_and_no_tension() -> None:
    """Relaxation over 12 s: tension is gone, pressure below P0 stays, pressure above comes down to P0."""
    ice, on = setting(1, 3, 10.0)
    chosen = Bbm(cohesion_pa=1e4)  # an envelope so narrow that ice resists pressure at once
    start = replace(
        ice,
        damage=torch.full_like(ice.damage, (12 / 1e7) ** 0.25),
        stress_normal=torch.tensor([[4e3, -9e3, -3e4]], dtype=torch.float64),
    )
    plate, now = bbm.plate(ice, chosen, DX_M), brittle(start)
    for _ in range(20):
        now = Brittle(bbm.stretch(now, plate, 10.0, chosen, on), now.damage)
    assert now.drift.normal[0].tolist() == pytest.approx([0.0, -9e3, -1e4], abs=1.0)


def test_a_storm_breaks_ice_and_damage_stays_between_none_and_all() -> None:
    grid = CGrid(torch.ones(16, 16, dtype=torch.bool), DX_M, torch.tensor(1.4e-4, dtype=torch.float64))
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, 16, dtype=torch.float64)] * 2, indexing="ij")
    model = SeaIceModel(grid, SeaIceSettings(rheology=Bbm()))
    start = at_rest(grid, torch.full((16, 16), 0.98), torch.ones(16, 16))
    with torch.no_grad():
        *_, ice = model.run(start, [Forcing(-20 * y, 20 * x)] * 6, 3600.0)
    assert 0.0 < float(ice.damage.min()) < 0.5
    assert float(ice.damage.max()) <= 1.0
    assert 0.05 < float(torch.hypot(*ice.drift()).max()) < 0.6
    healed = bbm.heal(ice, 25 * 86400.0, Bbm())
    assert float(healed.damage.min()) == 1.0


def test_elastic_steps_that_a_wave_would_outrun_are_refused() -> None:
    ice, on = setting(3, 3, 10.0)
    model = SeaIceModel(on.grid, SeaIceSettings(rheology=Bbm(cycles=100)))
    with pytest.raises(VigieError, match=r"100 cycles in 3600 s on cells of 25000 m; expected at least 249 cycles"):
        model.step(ice, CALM, 3600.0)
