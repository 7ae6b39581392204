"""Transport and ridging: nothing is lost, nothing is below zero, second order where smooth, properties within their range."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vigie.core.errors import VigieError
from vigie.physics.seaice.forcing import Forcing
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.model import SeaIceModel
from vigie.physics.seaice.ridging import settle
from vigie.physics.seaice.settings import Mevp, RidgingSettings, SeaIceSettings
from vigie.physics.seaice.state import IceState, at_rest
from vigie.physics.seaice.transport import SCHEMES, carry

DX_M, DT_S = 25e3, 3600.0
DOUBLE = torch.tensor(1.4e-4, dtype=torch.float64)


def moving(seed: int, fastest_m_s: float, patchy: bool) -> tuple[CGrid, IceState]:
    """Random ice that moves at random among random land."""
    draw = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(*shape, generator=draw, dtype=torch.float64)

    ocean = random(12, 11) > 0.15
    grid = CGrid(ocean, DX_M, DOUBLE)
    ice = random(2, 12, 11) * ((random(2, 12, 11) > 0.4) if patchy else 1.0)
    still = at_rest(grid, ice, ice * (0.2 + 3 * random(2, 12, 11)), ice * random(2, 12, 11))
    return grid, replace(
        still,
        damage=torch.where(still.concentration > 0, random(2, 12, 11), 1.0),
        u_m_s=fastest_m_s * (2 * random(2, 12, 12) - 1) * grid.u_open,
        v_m_s=fastest_m_s * (2 * random(2, 13, 11) - 1) * grid.v_open,
    )


@given(st.integers(0, 10**6), st.floats(0.01, 0.8), st.booleans(), st.sampled_from(sorted(SCHEMES)))
@settings(max_examples=30, deadline=None)
def test_volume_area_and_snow_are_kept_and_never_negative(seed: int, speed: float, patchy: bool, scheme: str) -> None:
    grid, ice = moving(seed, speed, patchy)
    later = ice
    for _ in range(3):
        later = settle(carry(later, DT_S, grid, SCHEMES[scheme]), RidgingSettings(thickest_m=1e6, thinnest_m=1e-9))
    for name in ("thickness_m", "snow_m"):
        before, after = getattr(ice, name), getattr(later, name)
        torch.testing.assert_close(after.sum((-2, -1)), before.sum((-2, -1)), rtol=1e-13, atol=0.0)
        assert float(after.min()) >= -1e-17
        assert float((after * ~grid.ocean).abs().max()) == 0.0
    assert 0.0 <= float(later.concentration.min()) <= float(later.concentration.max()) <= 1.0
    assert 0.0 <= float(later.damage.min()) <= float(later.damage.max()) <= 1.0


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_area_is_kept_until_it_is_cut(scheme: str) -> None:
    grid, ice = moving(7, 0.5, patchy=True)
    later = carry(ice, DT_S, grid, SCHEMES[scheme])
    torch.testing.assert_close(later.concentration.sum((-2, -1)), ice.concentration.sum((-2, -1)), rtol=1e-13, atol=0.0)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_properties_of_ice_stay_within_their_range(scheme: str) -> None:
    grid, ice = moving(11, 0.3, patchy=True)
    has = ice.concentration > 0
    thick = (ice.thickness_m / ice.concentration)[has]
    for _ in range(5):
        ice = carry(ice, DT_S, grid, SCHEMES[scheme])
        some = ice.concentration > 1e-6
        now = (ice.thickness_m / ice.concentration)[some]
        assert float(thick.min()) - 1e-9 <= float(now.min())
        assert float(now.max()) <= float(thick.max()) + 1e-9


def error(cells: int, scheme: str) -> float:
    """Mean error of a smooth mound of ice that goes a quarter of the way along a channel."""
    grid = CGrid(torch.ones(1, cells, dtype=torch.bool), 1.0 / cells, DOUBLE)
    x = (torch.arange(cells, dtype=torch.float64)[None] + 0.5) / cells
    ice = at_rest(grid, 0.5 + 0 * x, mound(x, 0.3))
    ice = replace(ice, u_m_s=torch.ones_like(ice.u_m_s))
    for _ in range(cells):
        ice = carry(ice, 0.25 / cells, grid, SCHEMES[scheme])
    middle = (x > 0.3) & (x < 0.8)
    return float((ice.thickness_m - mound(x, 0.55)).abs()[middle].mean())


def mound(x: torch.Tensor, middle: float) -> torch.Tensor:
    return 0.5 + torch.exp(-(((x - middle) / 0.08) ** 2))


def test_the_limited_scheme_is_of_second_order_and_upwind_of_first() -> None:
    order = {name: np.log2(error(160, name) / error(320, name)) for name in SCHEMES}
    assert 1.7 < order["van_leer"] < 2.4
    assert 0.6 < order["upwind"] < 1.2
    assert error(160, "van_leer") < 0.2 * error(160, "upwind")


def test_converging_ice_ridges() -> None:
    grid = CGrid(torch.ones(1, 4, dtype=torch.bool), DX_M, DOUBLE)
    ice = at_rest(grid, torch.full((1, 4), 0.95), torch.full((1, 4), 1.0), torch.full((1, 4), 0.2))
    ice = replace(ice, u_m_s=torch.tensor([[0.0, 0.0, 0.5, 0.0, 0.0]], dtype=torch.float64))
    piled = settle(carry(ice, DT_S, grid, SCHEMES["van_leer"]), RidgingSettings())
    moved = 0.5 * DT_S / DX_M
    assert piled.concentration[0].tolist() == pytest.approx([0.95, 0.95 * (1 - moved), 1.0, 0.95], rel=1e-2)
    assert piled.thickness_m[0].tolist() == pytest.approx([1.0, 1 - moved, 1 + moved, 1.0], rel=1e-2)
    assert float(piled.thickness_m.sum()) == pytest.approx(4.0, rel=1e-14)


@given(st.floats(0.0, 1.5), st.just(0.0) | st.floats(1e-12, 30.0))
def test_no_ice_without_volume_and_no_volume_without_ice(concentration: float, thickness_m: float) -> None:
    grid = CGrid(torch.ones(1, 1, dtype=torch.bool), DX_M, DOUBLE)
    bound = settle(at_rest(grid, torch.full((1, 1), concentration), torch.full((1, 1), thickness_m)), RidgingSettings())
    assert float(bound.thickness_m) == pytest.approx(thickness_m)
    assert (float(bound.concentration) > 0) == (thickness_m > 0)
    assert float(bound.concentration) <= 1.0


def test_steps_that_are_too_long_and_forcing_that_is_not_a_number_are_refused() -> None:
    grid = CGrid(torch.ones(6, 6, dtype=torch.bool), 3e3)
    ice = at_rest(grid, torch.full((6, 6), 0.5), torch.full((6, 6), 0.5))
    model = SeaIceModel(grid, SeaIceSettings(rheology=Mevp(cycles=20)))
    for wind in (20.0, float("nan")):
        with pytest.raises(VigieError, match="crosses too much of a cell in a step of 36000 s"):
            list(model.run(ice, [Forcing(torch.tensor(wind), torch.tensor(0.0))], 36000.0))
