"""Microwave radiometers as `radiometers.toml` declares them: swath groups, channels, footprints, incidence."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from vigie.core.errors import VigieError, nearest
from vigie.core.swath import Channel

TABLE = Path(__file__).with_name("radiometers.toml")


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DeclaredChannel(_Declared):
    """One channel, as the table has it; the first axis lies along the line of sight."""

    frequency_ghz: Annotated[float, Field(gt=0)]
    polarisation: Annotated[str, Field(pattern="^[VH]?$")] = ""
    sideband_ghz: Annotated[float, Field(ge=0)] = 0.0
    axes_km: tuple[Annotated[float, Field(gt=0)], Annotated[float, Field(gt=0)]]


class SwathGroup(_Declared):
    """The channels that one HDF5 group holds, in file order."""

    group: str
    incidence_deg: float = float("nan")
    channels: Annotated[tuple[DeclaredChannel, ...], Field(min_length=1)]

    def described(self) -> tuple[Channel, ...]:
        """Give the channels as swaths describe them: the footprint is the geometric mean of both axes, and their ratio."""
        return tuple(
            Channel(
                frequency_ghz=c.frequency_ghz,
                polarisation=c.polarisation,
                footprint_km=(c.axes_km[0] * c.axes_km[1]) ** 0.5,
                incidence_deg=self.incidence_deg,
                sideband_ghz=c.sideband_ghz,
                footprint_aspect=c.axes_km[0] / c.axes_km[1],
            )
            for c in self.channels
        )


class Instrument(_Declared):
    """One radiometer; `within_km` is how far a footprint of another swath may lie to stand for one of the first."""

    title: str
    source: str
    within_km: Annotated[float, Field(gt=0)]
    swaths: Annotated[tuple[SwathGroup, ...], Field(min_length=1)]

    def swath(self, group: str) -> SwathGroup:
        """Find a swath group by its name.

        Raises
        ------
        VigieError: the instrument has no such group.
        """
        for swath in self.swaths:
            if swath.group == group:
                return swath
        known = ", ".join(swath.group for swath in self.swaths)
        raise VigieError(f"{self.title} has no swath '{group}'", expected=known)

    def channels(self, groups: Sequence[str] = ()) -> tuple[Channel, ...]:
        """Give the channels of some swath groups, or of all, in file order.

        Examples
        --------
        >>> [channel.name for channel in instrument("TMI").channels(["S3", "S1"])]
        ['10.65V', '10.65H', '85.50V', '85.50H']
        """
        wanted = [self.swath(group).group for group in groups] or [swath.group for swath in self.swaths]
        return tuple(channel for swath in self.swaths if swath.group in wanted for channel in swath.described())


def instrument(name: str) -> Instrument:
    """Look a radiometer up by the name that the PPS gives it.

    Raises
    ------
    VigieError: it is not declared.

    Examples
    --------
    >>> [channel.name for channel in instrument("GMI").channels()][-3:]
    ['166.00H', '183.31+-3V', '183.31+-7V']
    """
    known = tuple(_table())
    if name not in known:
        raise VigieError(
            f"radiometer '{name}' is not declared",
            expected=", ".join(known),
            do=nearest(name, known) or f"declare its channels in {TABLE.name}",
        )
    return _table()[name]


@cache
def _table() -> dict[str, Instrument]:
    return {
        name: Instrument.model_validate(content) for name, content in tomllib.loads(TABLE.read_text(encoding="utf-8")).items()
    }
