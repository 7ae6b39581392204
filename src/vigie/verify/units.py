"""Units of rain: what a file says, or the user where it does not, turned into millimetres per day."""

from __future__ import annotations

from vigie.core.errors import VigieError

LENGTHS_MM = {"mm": 1.0, "kg m-2": 1.0, "kg/m2": 1.0, "cm": 10.0, "m": 1000.0, "inch": 25.4, "in": 25.4}
"""Millimetres of each length: totals of one step of their record."""

MM_PER_DAY = {
    **dict.fromkeys(("kg m-2 s-1", "kg/m2/s", "mm s-1", "mm/s"), 86400.0),
    **dict.fromkeys(("m s-1", "m/s"), 86400e3),
    **dict.fromkeys(("mm h-1", "mm/h", "mm hr-1", "mm/hr"), 24.0),
    **dict.fromkeys(("mm day-1", "mm/day", "mm d-1", "mm/d"), 1.0),
    **dict.fromkeys(("inch day-1", "inch/day", "in/day"), 25.4),
    **LENGTHS_MM,
}
"""Millimetres per day of each unit; lengths alone are totals of one day."""


def mm_per_day(name: str, said: str, given: str = "", step_h: float = 24.0) -> float:
    """Find what turns rain into mm day-1, of the one unit that is said or given.

    Parameters
    ----------
    name: what the rain is called, for the error.
    said, given: the unit that the file states, and that of a file that states none; "" where there is none.
    step_h: hours that a length is the total of.

    Raises
    ------
    VigieError: the unit is missing, unknown, or said twice and differently.

    Examples
    --------
    >>> mm_per_day("pr", "kg m-2 s-1"), mm_per_day("tp", "m", step_h=1.0)
    (86400.0, 24000.0)
    """
    units = [unit.strip() for unit in (said, given) if unit.strip()]
    if not units:
        raise VigieError(f"'{name}' has no unit", expected=f"one of {', '.join(MM_PER_DAY)}", do="give it: units='mm day-1'")
    if unknown := [unit for unit in units if unit not in MM_PER_DAY]:
        raise VigieError(f"'{name}' has a unit that is no rain", found=f"'{unknown[0]}'", expected=", ".join(MM_PER_DAY))
    if len({MM_PER_DAY[unit] for unit in units}) > 1:
        raise VigieError(f"'{name}' has two units", found=f"its own '{said}', and '{given}' given", do="give none")
    return MM_PER_DAY[units[0]] * (24.0 / step_h if units[0] in LENGTHS_MM else 1.0)
