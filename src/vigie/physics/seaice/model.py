"""The sea-ice model: ice is pushed, carried, piled up and frozen, step by step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import torch
from torch.utils.checkpoint import checkpoint

from vigie.core.errors import VigieError
from vigie.physics.seaice import bbm, mevp, ridging, thermodynamics, transport
from vigie.physics.seaice.forcing import Forcing
from vigie.physics.seaice.grid import CGrid
from vigie.physics.seaice.momentum import loads
from vigie.physics.seaice.settings import Mevp, SeaIceSettings
from vigie.physics.seaice.state import IceState


class SeaIceModel:
    """Sea ice on one grid; every step is a pure function with gradients.

    Parameters
    ----------
    grid: where there is ocean; its floating type and device are the model's.
    settings: what can be chosen.

    Examples
    --------
    >>> from vigie.physics.seaice.state import at_rest
    >>> grid = CGrid(torch.ones(8, 8, dtype=torch.bool), dx_m=25e3)
    >>> ice = at_rest(grid, torch.full((8, 8), 0.9), torch.ones(8, 8))
    >>> cold = Forcing(torch.tensor(8.0), torch.tensor(0.0), air_c=torch.tensor(-20.0))
    >>> *_, later = SeaIceModel(grid, SeaIceSettings()).run(ice, [cold] * 3, dt_s=3600.0)
    >>> bool(later.u_m_s[4, 4] > 0), bool(later.thickness_m.mean() > 1)
    (True, True)
    """

    def __init__(self, grid: CGrid, settings: SeaIceSettings) -> None:
        self.grid, self.settings = grid, settings

    def step(self, state: IceState, forcing: Forcing, dt_s: float) -> IceState:
        """Go one step of dt_s under a forcing that holds throughout."""
        on = forcing.on(self.grid)
        moved = transport.carry(self.push(state, on, dt_s), dt_s, self.grid, transport.SCHEMES[self.settings.transport.scheme])
        piled = ridging.settle(moved, self.settings.ridging)
        if self.settings.thermodynamics is None:
            return piled
        grown = thermodynamics.grow(piled, on, dt_s, self.grid, self.settings.thermodynamics)
        return ridging.settle(grown, self.settings.ridging)

    def push(self, state: IceState, forcing: Forcing, dt_s: float) -> IceState:
        """Find drift, stress and damage after dt_s; the ice itself stays where it is."""
        chosen, drag = self.settings.rheology, self.settings.drag
        if isinstance(chosen, Mevp):
            return mevp.solve(state, loads(state, forcing, dt_s, drag, self.grid), chosen)
        short = loads(state, forcing, dt_s / chosen.cycles, drag, self.grid)
        return bbm.heal(bbm.solve(state, short, dt_s, chosen), dt_s, chosen)

    def run(self, state: IceState, forcings: Iterable[Forcing], dt_s: float, checkpoint_every: int = 1) -> Iterator[IceState]:
        """Go one step for each forcing, and give the state after every `checkpoint_every` steps, and at the end.

        Gradients keep these states alone; what lies between is computed again on the way back, so that memory grows with the
        number of states given, not with that of steps.

        Raises
        ------
        VigieError: ice crosses more than half of a cell in a step, or is no longer finite.
        """
        waiting = iter(forcings)
        while several := list(islice(waiting, checkpoint_every)):
            if torch.is_grad_enabled():
                state = checkpoint(self._steps, state, several, dt_s, use_reentrant=False, preserve_rng_state=False)
            else:
                state = self._steps(state, several, dt_s)
            self._check(state, dt_s)
            yield state

    def _steps(self, state: IceState, forcings: Sequence[Forcing], dt_s: float) -> IceState:
        for forcing in forcings:
            state = self.step(state, forcing, dt_s)
        return state

    def _check(self, state: IceState, dt_s: float) -> None:
        crossed = float(transport.courant(state, dt_s, self.grid).detach())
        if not crossed <= 0.5:
            raise VigieError(
                f"ice crosses too much of a cell in a step of {dt_s:g} s",
                found=f"a share of {crossed:.2g}",
                expected="0.5 at most",
                do="shorten the step, and look at forcing and ice for values that cannot be",
            )
