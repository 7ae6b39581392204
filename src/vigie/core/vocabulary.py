"""Every variable once: its name, units, CF names, range, how it is stored and shown, as declared in `vocabulary.toml`.

What is written asks here for its attributes, so that stores, GeoTIFFs, NetCDF files, the catalogue and the report say the same.
Scores are named beside their formulas (`verify.scores`), columns of tables in the applications' schemas, classes in legends.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core import store
from vigie.core.errors import VigieError, nearest

TABLE = Path(__file__).with_name("vocabulary.toml")


@dataclass(frozen=True)
class Variable:
    """One variable; the fields are told at the head of `vocabulary.toml`."""

    name: str
    long_name: str
    standard_name: str = ""
    units: str = ""
    axis: str = ""
    valid_range: tuple[float, float] | None = None
    stored: str = ""
    step: float = 1.0
    ramp: str = "viridis"
    shown: tuple[float, float] = (0.0, 1.0)

    @property
    def attributes(self) -> dict[str, str]:
        """CF attributes that say what it is.

        Examples
        --------
        >>> named("x").attributes
        {'standard_name': 'projection_x_coordinate', 'long_name': 'easting of pixel centres', 'axis': 'X'}
        """
        said = {"standard_name": self.standard_name, "long_name": self.long_name, "units": self.units, "axis": self.axis}
        return {key: value for key, value in said.items() if value}

    @property
    def packing(self) -> dict[str, Any]:
        """CF attributes that say how physical values are packed into integers.

        Examples
        --------
        >>> named("spread").packing
        {'scale_factor': 0.0001, 'add_offset': 0.0, 'valid_range': array([    0, 10000], dtype=uint16)}
        """
        return {"scale_factor": self.step, "add_offset": 0.0, "valid_range": np.array(self._limits, dtype=self.stored)}

    def pack(self, values: NDArray[np.floating]) -> NDArray[Any]:
        """Pack physical values without NaN into the stored integers; what lies outside the valid range takes its ends.

        Examples
        --------
        >>> named("probability").pack(np.array([0.12344, 1.0000001]))
        array([ 1234, 10000], dtype=uint16)
        """
        return np.asarray(np.clip(np.rint(values / self.step), *self._limits), dtype=self.stored)

    def empty(self, dims: Sequence[str], shape: Sequence[int]) -> xr.Variable:
        """Make it as a store's template wants it: packed, described, without memory, with what means no data."""
        made = store.empty(dims, shape, self.stored, self.attributes | self.packing)
        made.encoding["_FillValue"] = store.fill_value(made.dtype)
        return made

    @property
    def _limits(self) -> tuple[int, int]:
        if self.valid_range is None or not self.stored:
            raise VigieError(f"variable '{self.name}' is not packed", expected="valid_range and stored", do=f"see {TABLE.name}")
        low, high = (round(value / self.step) for value in self.valid_range)
        return low, high


def named(name: str) -> Variable:
    """Look a variable up.

    Raises
    ------
    VigieError: the vocabulary does not have it.

    Examples
    --------
    >>> named("probability").units
    '1'
    """
    if name not in variables():
        known = tuple(variables())
        raise VigieError(f"the vocabulary has no variable '{name}'", expected=", ".join(known), do=nearest(name, known))
    return variables()[name]


@cache
def variables() -> Mapping[str, Variable]:
    """Read the whole table, by name."""
    table = tomllib.loads(TABLE.read_text(encoding="utf-8"))
    return {name: Variable(name, **{key: _frozen(value) for key, value in row.items()}) for name, row in table.items()}


def _frozen(value: object) -> Any:
    return tuple(value) if isinstance(value, list) else value
