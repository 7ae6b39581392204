"""The C-grid of the sea-ice model: where there is ocean, how wide cells are, how fast the Earth turns under them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from vigie.core.errors import VigieError
from vigie.physics.seaice import stencil

POLAR_CORIOLIS_PER_S = 1.46e-4


@dataclass(frozen=True)
class CGrid:
    """Square cells of one size, some of them land; the rim of the grid is a coast.

    Parameters
    ----------
    ocean: bool, (y, x), True where there is ocean; row 0 has the smallest y.
    dx_m: width of a cell.
    coriolis_per_s: Coriolis parameter, one number or (y, x) at centres; its floating type is that of the whole grid.

    Raises
    ------
    VigieError: the mask is not a map of booleans with ocean, cells have no width, or Coriolis has another shape.

    Examples
    --------
    >>> grid = CGrid(torch.tensor([[True, True, False]]), dx_m=25e3)
    >>> grid.u_open.tolist(), grid.v_open.shape
    ([[0.0, 1.0, 0.0, 0.0]], torch.Size([2, 3]))
    """

    ocean: Tensor
    dx_m: float
    coriolis_per_s: Tensor = field(default_factory=lambda: torch.tensor(POLAR_CORIOLIS_PER_S))

    def __post_init__(self) -> None:
        if self.ocean.dtype != torch.bool or self.ocean.ndim != 2 or not bool(self.ocean.any()):
            raise VigieError(
                "this is not a mask of the ocean",
                found=f"{self.ocean.dtype} of shape {tuple(self.ocean.shape)}, {int(self.ocean.sum())} cells of ocean",
                expected="booleans (y, x), True in the ocean, some of them True",
            )
        if not self.dx_m > 0:
            raise VigieError("cells of the sea-ice grid have no width", found=self.dx_m, expected="metres, more than zero")
        if self.coriolis_per_s.ndim and self.coriolis_per_s.shape != self.ocean.shape:
            raise VigieError(
                "the Coriolis parameter does not fit the grid",
                found=tuple(self.coriolis_per_s.shape),
                expected=f"one number or {tuple(self.ocean.shape)}",
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of cells."""
        return int(self.ocean.shape[0]), int(self.ocean.shape[1])

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of everything computed on the grid."""
        return self.coriolis_per_s.dtype

    @property
    def device(self) -> torch.device:
        """Where the grid lives."""
        return self.ocean.device

    def to(self, device: torch.device | str | None = None, dtype: torch.dtype | None = None) -> CGrid:
        """Move the grid to a device and a floating type."""
        where = device or self.device
        return replace(self, ocean=self.ocean.to(where), coriolis_per_s=self.coriolis_per_s.to(where, dtype or self.dtype))

    @cached_property
    def sea(self) -> Tensor:
        """1 in cells of ocean, 0 on land."""
        return self.ocean.to(self.dtype)

    @cached_property
    def coriolis(self) -> Tensor:
        """Coriolis parameter at every centre."""
        return self.coriolis_per_s.to(self.device).expand(self.shape)

    @cached_property
    def u_open(self) -> Tensor:
        """1 on u-faces between two cells of ocean, else 0."""
        return (stencil.to_u(self.sea) == 1).to(self.dtype)

    @cached_property
    def v_open(self) -> Tensor:
        """1 on v-faces between two cells of ocean, else 0."""
        return (stencil.to_v(self.sea) == 1).to(self.dtype)

    @cached_property
    def corner_open(self) -> Tensor:
        """1 at corners where four cells of ocean meet, else 0: ice slips freely along coasts."""
        return (stencil.to_corners(self.sea) == 1).to(self.dtype)
