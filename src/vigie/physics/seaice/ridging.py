"""What keeps concentration and thickness together: converging ice piles up, and there is no ice without volume."""

from __future__ import annotations

from dataclasses import replace

from vigie.physics.seaice.settings import RidgingSettings
from vigie.physics.seaice.state import IceState


def settle(state: IceState, chosen: RidgingSettings) -> IceState:
    """Bring the concentration between what its volume allows, 1 at most; volume of ice and snow stays as it is.

    Cells whose concentration is cut to 1 have ridged: their ice is thicker. Without volume there is no concentration, and
    with volume there is some.

    Examples
    --------
    >>> import torch
    >>> from vigie.physics.seaice.grid import CGrid
    >>> from vigie.physics.seaice.state import at_rest
    >>> grid = CGrid(torch.ones(1, 3, dtype=torch.bool), dx_m=25e3)
    >>> piled = settle(at_rest(grid, torch.tensor([[1.25, 0.5, 0.0]]), torch.tensor([[1.5, 0.0, 2.5]])), RidgingSettings())
    >>> piled.concentration.tolist(), piled.thickness_m.tolist()
    ([[1.0, 0.0, 0.125]], [[1.5, 0.0, 2.5]])
    """
    volume = state.thickness_m
    least, most = volume / chosen.thickest_m, volume / chosen.thinnest_m
    return replace(state, concentration=state.concentration.maximum(least).minimum(most).clamp(max=1.0))
