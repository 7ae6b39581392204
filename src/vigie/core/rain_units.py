"""Units of rain, rates and amounts, and the factors that bring them to mm h-1 and mm. A missing unit is never guessed."""

from __future__ import annotations

from vigie.core.errors import VigieError

MM_PER_HOUR = {
    **dict.fromkeys(("mm h-1", "mm/h", "mm hr-1", "mm/hr", "mm hour-1", "mm/hour", "kg m-2 h-1"), 1.0),
    **dict.fromkeys(("kg m-2 s-1", "kg/m2/s", "kg m**-2 s**-1", "mm s-1", "mm/s"), 3600.0),
    **dict.fromkeys(("m s-1", "m/s", "m s**-1"), 3.6e6),
    **dict.fromkeys(("mm day-1", "mm/day", "mm d-1", "mm/d"), 1 / 24),
}
"""Millimetres per hour of each unit of a rate."""
MM = {
    **dict.fromkeys(("mm", "kg m-2", "kg/m2", "kg m**-2"), 1.0),
    **dict.fromkeys(("m",), 1000.0),
    **dict.fromkeys(("inch", "in"), 25.4),
}
"""Millimetres of each unit of an amount, which fell in some interval."""


def is_amount(units: str, what: str) -> bool:
    """Say whether a unit is that of an amount of rain, or else of a rate.

    Parameters
    ----------
    units: as its attribute says.
    what: what has the unit, for the error.

    Raises
    ------
    VigieError: the unit is missing, or is none of rain.

    Examples
    --------
    >>> is_amount("mm", "rain"), is_amount("kg m-2 s-1", "rain")
    (True, False)
    >>> is_amount("", "pr of model.nc")
    Traceback (most recent call last):
    ...
    vigie.core.errors.VigieError: pr of model.nc has no unit of rain; found units ''; expected one of mm h-1, mm/h, mm hr-1,
    mm/hr, mm hour-1, mm/hour, kg m-2 h-1, kg m-2 s-1, ...; to mend it: set its attribute units, or declare its units
    """
    if units in MM:
        return True
    if units in MM_PER_HOUR:
        return False
    known = ", ".join([*MM_PER_HOUR][:8])
    raise VigieError(
        f"{what} has no unit of rain",
        found=f"units {units!r}",
        expected=f"one of {known}, ...",
        do="set its attribute units, or declare its units",
    )
