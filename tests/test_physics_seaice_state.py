"""States, grids and forcing: what fits together, what is refused, what comes back as it was."""

from __future__ import annotations

import pytest
import torch
from pydantic import ValidationError

from vigie.core.errors import VigieError
from vigie.physics.seaice.forcing import Forcing, between
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.model import SeaIceModel
from vigie.physics.seaice.settings import Bbm, Mevp, SeaIceSettings
from vigie.physics.seaice.state import CHANNELS, at_rest, join, stack, unstack

OCEAN = torch.tensor([[True, True, True, True], [True, True, False, True], [True, True, True, True]])


def test_faces_and_corners_are_open_between_cells_of_ocean_alone() -> None:
    grid = CGrid(OCEAN, 25e3)
    assert grid.u_open.tolist() == [[0, 1, 1, 1, 0], [0, 1, 0, 0, 0], [0, 1, 1, 1, 0]]
    assert grid.v_open.tolist() == [[0] * 4, [1, 1, 0, 1], [1, 1, 0, 1], [0] * 4]
    assert grid.corner_open.tolist() == [[0] * 5, [0, 1, 0, 0, 0], [0, 1, 0, 0, 0], [0] * 5]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"ocean": OCEAN.float()}, "this is not a mask of the ocean; found torch.float32"),
        ({"ocean": ~torch.ones(2, 2, dtype=torch.bool)}, "0 cells of ocean"),
        ({"dx_m": 0.0}, "no width"),
        ({"coriolis_per_s": torch.ones(4, 3)}, r"found \(4, 3\); expected one number or"),
    ],
)
def test_grids_that_cannot_be_are_refused(changed: dict[str, object], told: str) -> None:
    with pytest.raises(VigieError, match=told):
        CGrid(**({"ocean": OCEAN, "dx_m": 25e3} | changed))


def test_ice_and_forcing_of_another_grid_are_refused() -> None:
    grid = CGrid(OCEAN, 25e3)
    with pytest.raises(VigieError, match="ice does not fit its grid"):
        at_rest(grid, torch.ones(4, 3), torch.ones(4, 3))
    with pytest.raises(VigieError, match="forcing field wind_u_m_s does not fit the grid"):
        Forcing(torch.ones(4, 3), torch.tensor(0.0)).on(grid)
    with pytest.raises(VigieError, match="no stacked state"):
        unstack(torch.zeros(6, 3, 4), grid)


def test_settings_refuse_what_they_do_not_know() -> None:
    with pytest.raises(ValidationError, match="viscosity"):
        Mevp.model_validate({"viscosity": 3.0})
    with pytest.raises(ValidationError, match="rheology"):
        SeaIceSettings.model_validate({"rheology": {"rheology": "evp"}})


def test_a_stack_holds_centres_and_gives_the_ice_back() -> None:
    grid = CGrid(OCEAN, 25e3)
    ice = at_rest(grid, torch.rand(2, 3, 4), torch.rand(2, 3, 4), torch.rand(2, 3, 4))
    stacked = stack(ice)
    assert stacked.shape == (2, len(CHANNELS), 3, 4)
    back = unstack(stacked, grid)
    for before, after in zip(ice.tensors(), back.tensors(), strict=True):
        assert torch.equal(before, after)


@pytest.mark.parametrize("rheology", [Mevp(cycles=30), Bbm(cycles=250)], ids=["plastic", "brittle"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_members_do_not_know_of_each_other(rheology: Mevp | Bbm, dtype: torch.dtype) -> None:
    draw = torch.Generator().manual_seed(2)
    grid = CGrid(OCEAN, 25e3).to(dtype=dtype)
    members = [at_rest(grid, *(0.5 + 0.5 * torch.rand(2, 3, 4, generator=draw))) for _ in range(3)]
    winds = 10 * torch.rand(3, 3, 4, generator=draw)
    model = SeaIceModel(grid, SeaIceSettings(rheology=rheology))
    with torch.no_grad():
        *_, together = model.run(join(members), [Forcing(winds, winds)] * 2, 3600.0)
        alone = [list(model.run(one, [Forcing(w, w)] * 2, 3600.0))[-1] for one, w in zip(members, winds, strict=True)]
    for whole, apart in zip(together.tensors(), join(alone).tensors(), strict=True):
        assert whole.dtype == dtype
        torch.testing.assert_close(whole, apart, rtol=1e-4 if dtype == torch.float32 else 1e-10, atol=1e-5)


def test_runs_give_states_at_checkpoints_and_at_the_end() -> None:
    grid = CGrid(OCEAN, 25e3)
    ice = at_rest(grid, torch.full((3, 4), 0.9), torch.ones(3, 4))
    model = SeaIceModel(grid, SeaIceSettings(rheology=Mevp(cycles=5)))
    blow = [Forcing(torch.tensor(float(hour)), torch.tensor(0.0)) for hour in range(5)]
    every = list(model.run(ice, blow, 3600.0))
    some = list(model.run(ice, iter(blow), 3600.0, checkpoint_every=2))
    assert len(every) == 5
    for one, same in zip(some, (every[1], every[3], every[4]), strict=True):
        assert torch.equal(one.thickness_m, same.thickness_m)


def test_forcing_between_two_times_is_linear() -> None:
    first, last = (Forcing(torch.full((3, 4), wind), torch.tensor(0.0), air_c=torch.tensor(-wind)) for wind in (2.0, 6.0))
    middle = between(first, last, 0.75)
    assert float(middle.wind_u_m_s[0, 0]) == 5.0
    assert float(middle.air_c) == -5.0
    assert float(middle.air_drag) == 1.2e-3
