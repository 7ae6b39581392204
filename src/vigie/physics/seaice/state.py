"""What the sea-ice model knows of the ice at one time, for any number of members at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.physics.seaice import stencil
from vigie.physics.seaice.constants import FREEZING_C
from vigie.physics.seaice.grid import CGrid

CHANNELS = ("concentration", "thickness_m", "snow_m", "damage", "surface_c", "u_m_s", "v_m_s")
"""What `stack` puts into one tensor, in this order."""


@dataclass(frozen=True)
class IceState:
    """Ice on a C-grid; every field may have leading dimensions for members.

    Parameters
    ----------
    concentration: share of the cell under ice, 0 to 1, (..., y, x).
    thickness_m: mean over the whole cell, that is volume of ice per area, (..., y, x).
    snow_m: the same for snow.
    damage: 1 is intact, 0 broken, (..., y, x).
    surface_c: temperature of the ice's or snow's surface, (..., y, x).
    u_m_s: drift along x on u-faces, (..., y, x + 1).
    v_m_s: drift along y on v-faces, (..., y + 1, x).
    stress_normal: half the sum of both normal stresses, over the ice's depth, N m-1, (..., y, x).
    stress_tension: half their difference (11 minus 22).
    stress_shear: the shear stress (12), at corners, (..., y + 1, x + 1).
    """

    concentration: Tensor
    thickness_m: Tensor
    snow_m: Tensor
    damage: Tensor
    surface_c: Tensor
    u_m_s: Tensor
    v_m_s: Tensor
    stress_normal: Tensor
    stress_tension: Tensor
    stress_shear: Tensor

    def map(self, change: Callable[[Tensor], Tensor]) -> IceState:
        """Change every field in the same way."""
        return IceState(*(change(field) for field in self.tensors()))

    def tensors(self) -> tuple[Tensor, ...]:
        """All fields in the order of the class; `IceState(*tensors)` puts them together again."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def detach(self) -> IceState:
        """Forget where the state came from."""
        return self.map(torch.detach)

    def drift(self) -> tuple[Tensor, Tensor]:
        """Give both components of the drift at centres, m s-1."""
        return stencil.from_u(self.u_m_s), stencil.from_v(self.v_m_s)


def at_rest(grid: CGrid, concentration: Tensor, thickness_m: Tensor, snow_m: Tensor | None = None) -> IceState:
    """Make intact ice that does not move and bears no stress.

    Parameters
    ----------
    grid: where the ice is; on land it is left out.
    concentration, thickness_m, snow_m: see `IceState`; no snow is none.

    Raises
    ------
    VigieError: a map does not fit the grid.

    Examples
    --------
    >>> grid = CGrid(torch.ones(2, 3, dtype=torch.bool), dx_m=25e3)
    >>> at_rest(grid, torch.full((5, 2, 3), 0.9), torch.ones(5, 2, 3)).u_m_s.shape
    torch.Size([5, 2, 4])
    """
    for given in (concentration, thickness_m):
        if given.shape[-2:] != grid.ocean.shape:
            raise VigieError("ice does not fit its grid", found=tuple(given.shape), expected=f"(..., {grid.shape})")
    ice, thick = (field.to(grid.device, grid.dtype) * grid.sea for field in (concentration, thickness_m))
    none = torch.zeros_like(thick)
    lead, (y, x) = thick.shape[:-2], grid.shape
    return IceState(
        concentration=ice,
        thickness_m=thick,
        snow_m=none if snow_m is None else snow_m.to(thick) * grid.sea,
        damage=torch.ones_like(thick),
        surface_c=torch.full_like(thick, FREEZING_C),
        u_m_s=thick.new_zeros(*lead, y, x + 1),
        v_m_s=thick.new_zeros(*lead, y + 1, x),
        stress_normal=none,
        stress_tension=none,
        stress_shear=thick.new_zeros(*lead, y + 1, x + 1),
    )


def join(states: Sequence[IceState]) -> IceState:
    """Put states of one shape side by side, as members in front.

    Examples
    --------
    >>> grid = CGrid(torch.ones(2, 3, dtype=torch.bool), dx_m=25e3)
    >>> one = at_rest(grid, torch.ones(2, 3), torch.ones(2, 3))
    >>> join([one, one]).snow_m.shape
    torch.Size([2, 2, 3])
    """
    return IceState(*(torch.stack(same) for same in zip(*(state.tensors() for state in states), strict=True)))


def stack(state: IceState) -> Tensor:
    """Put what an emulator sees into one tensor (..., channel, y, x), drift brought to centres (see `CHANNELS`)."""
    u, v = state.drift()
    centres = (state.concentration, state.thickness_m, state.snow_m, state.damage, state.surface_c)
    return torch.stack([*centres, u, v], dim=-3)


def unstack(channels: Tensor, grid: CGrid) -> IceState:
    """Make a state of a stacked tensor: drift goes back to faces, a little smoother than it was, and stress is none.

    Raises
    ------
    VigieError: the tensor has other channels or another grid.

    Examples
    --------
    >>> grid = CGrid(torch.ones(2, 3, dtype=torch.bool), dx_m=25e3)
    >>> one = at_rest(grid, torch.full((2, 3), 0.5), torch.ones(2, 3))
    >>> bool((stack(unstack(stack(one), grid)) == stack(one)).all())
    True
    """
    expected = (len(CHANNELS), *grid.shape)
    if channels.shape[-3:] != expected:
        raise VigieError("this is no stacked state of sea ice", found=tuple(channels.shape), expected=f"(..., {expected})")
    ice, thick, snow, damage, surface, u, v = channels.unbind(-3)
    rest = at_rest(grid, ice, thick, snow)
    return replace(
        rest, damage=damage, surface_c=surface, u_m_s=stencil.to_u(u) * grid.u_open, v_m_s=stencil.to_v(v) * grid.v_open
    )
