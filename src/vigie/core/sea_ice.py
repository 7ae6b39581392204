"""Words of sea-ice maps: what the flag of a pixel says."""

from __future__ import annotations

STATUS = {"measured": 0, "filled": 1, "missing": 2, "pole_hole": 3, "coast": 4, "land": 5}
"""Codes of `status_flag`: 'filled' holds the value of the day before, 'missing' no value at all."""
EDGE = 0.15
"""Concentration where ice begins."""
