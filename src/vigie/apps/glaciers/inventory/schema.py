"""The columns of an inventory: declared once in schema.toml, then used to conform, check and describe tables."""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import geopandas as gpd
import pandas as pd
import shapely

from vigie.core.errors import VigieError, nearest

BAND_M = 50
PER_MILLE = 1000
TEXT = str(pd.Series(["text"]).dtype)
"""The text type of the installed pandas: `str` from pandas 3 on, `object` before."""


@dataclass(frozen=True)
class Field:
    """One column: its type, its meaning, and the rule its values keep."""

    name: str
    type: str
    long_name: str
    description: str
    source: str
    units: str = ""
    rgi6: str = ""
    nullable: bool = False
    unique: bool = False
    pattern: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    allowed: tuple[Any, ...] | None = None

    def dtype(self, has_nulls: bool) -> str:
        """Give the pandas type of the column: integers with gaps need a nullable one."""
        plain = {"str": TEXT, "int": "int64", "float": "float64", "bool": "bool"}
        return "Int64" if self.type == "int" and has_nulls else plain[self.type]


@cache
def _tables() -> dict[str, dict[str, dict[str, Any]]]:
    return tomllib.loads(files(__package__).joinpath("schema.toml").read_text(encoding="utf-8"))


def fields(table: str, *more: str) -> tuple[Field, ...]:
    """List the columns of one or several tables of schema.toml, in order.

    Examples
    --------
    >>> len(fields("glacier"))
    28
    >>> [f.name for f in fields("intersects")]
    ['rgi_id', 'rgi_g_id_1', 'rgi_g_id_2', 'length_m']
    """
    known = _tables()
    for name in (table, *more):
        if name not in known:
            raise VigieError(f"no inventory table '{name}'", expected=", ".join(known), do=nearest(name, list(known)))
    return tuple(_field(key, rule) for name in (table, *more) for key, rule in known[name].items())


def _field(name: str, rule: dict[str, Any]) -> Field:
    allowed = {"allowed": tuple(rule["allowed"])} if "allowed" in rule else {}
    entries: dict[str, Any] = rule | allowed
    return Field(name=name, **entries)


def names(table: str, *more: str) -> list[str]:
    """List column names in order."""
    return [f.name for f in fields(table, *more)]


def conform(table: pd.DataFrame, columns: Sequence[Field]) -> pd.DataFrame:
    """Give a table exactly the declared columns, order and types; a column it lacks is empty if the schema allows that.

    A `geometry` column stays last. Extra columns are dropped.

    Raises
    ------
    VigieError
        When a column that must not be empty is missing, or values cannot be turned into the declared type.
    """
    missing = [f.name for f in columns if f.name not in table.columns and not f.nullable]
    if missing:
        raise VigieError("the table lacks columns", found=list(table.columns), expected=missing)
    data = {f.name: _typed(table.get(f.name), f, table.index) for f in columns}
    plain = pd.DataFrame(data, index=table.index).reset_index(drop=True)
    if not isinstance(table, gpd.GeoDataFrame):
        return plain
    shaped: pd.DataFrame = gpd.GeoDataFrame(plain, geometry=list(table.geometry.array), crs=table.crs)
    return shaped


def _typed(column: pd.Series | None, field: Field, index: pd.Index) -> pd.Series:
    values = pd.Series([None] * len(index), index=index, dtype="object") if column is None else column
    try:
        dtype: Any = field.dtype(bool(field.type == "int" and values.isna().any()))
        if field.type in ("int", "float"):
            numbers = pd.to_numeric(values)
            whole = numbers.astype("Float64").astype("Int64") if field.type == "int" else numbers
            return pd.Series(whole.astype(dtype))
        return pd.Series(values.astype(dtype))
    except (TypeError, ValueError) as error:
        raise VigieError(f"column '{field.name}' holds values of another type", found=error, expected=field.type) from error


def problems(table: pd.DataFrame, columns: Sequence[Field]) -> list[str]:
    """List what in a table breaks the schema, one sentence each (nothing when it conforms)."""
    found = [f"column '{f.name}' is missing" for f in columns if f.name not in table.columns]
    for field in columns:
        if field.name in table.columns:
            found += [f"column '{field.name}' {fault}" for fault in _faults(table[field.name], field)]
    if isinstance(table, gpd.GeoDataFrame):
        found += _geometry_faults(table)
    return found


def strange(column: pd.Series, field: Field) -> pd.Series:
    """Mark values that are there and break the pattern or the codes of their field.

    Examples
    --------
    >>> surging = next(f for f in fields("glacier") if f.name == "surge_type")
    >>> strange(pd.Series([3, 4, None], dtype="Int64"), surging).tolist()
    [False, True, False]
    """
    bad = pd.Series(False, index=column.index)
    if field.allowed is not None:
        bad |= ~column.isin(field.allowed)
    if field.pattern is not None:
        bad |= ~column.astype(str).str.fullmatch(field.pattern)
    return bad & column.notna()


def _faults(column: pd.Series, field: Field) -> list[str]:
    values, found = column[column.notna()], []
    if not field.nullable and len(values) < len(column):
        found.append(f"is empty in {len(column) - len(values)} rows")
    if field.unique and values.duplicated().any():
        found.append(f"repeats {values[values.duplicated()].iloc[0]!r}")
    checks = {
        f"does not match {field.pattern}" if field.pattern else f"holds values outside {field.allowed}": strange(values, field),
        f"is below {field.minimum}": field.minimum is not None and values.astype(float) < (field.minimum or 0.0),
        f"is above {field.maximum}": field.maximum is not None and values.astype(float) > (field.maximum or 0.0),
    }
    for fault, bad in checks.items():
        if isinstance(bad, pd.Series) and bad.any():
            found.append(f"{fault}: {values[bad].iloc[0]!r}")
    return found


def _geometry_faults(table: gpd.GeoDataFrame) -> list[str]:
    shapes, found = table.geometry.array, []
    if table.crs is None or table.crs.to_epsg() != 4326:
        found.append(f"geometries are in {table.crs}, not in EPSG:4326")
    if len(shapes) and not shapely.is_valid(shapes).all():
        found.append(f"{int((~shapely.is_valid(shapes)).sum())} geometries are invalid")
    if len(shapes) and shapely.is_empty(shapes).any():
        found.append(f"{int(shapely.is_empty(shapes).sum())} geometries are empty")
    return found


def validate(table: pd.DataFrame, name: str, *more: str) -> None:
    """Refuse a table that breaks the schema of the named table(s), and say all that is wrong.

    Raises
    ------
    VigieError
        Naming each column and value at fault.
    """
    found = problems(table, fields(name, *more))
    if found:
        raise VigieError(f"the {name} table breaks the inventory schema", found="; ".join(found), do="see schema.toml")


def validate_hypsometry(table: pd.DataFrame) -> None:
    """Refuse a hypsometry whose rows do not sum to exactly 1000."""
    validate(table, "hypsometry")
    bands = table.drop(columns=["rgi_id", "area_km2"])
    wrong = table["rgi_id"][bands.sum(axis=1) != PER_MILLE]
    if len(wrong):
        raise VigieError("hypsometry does not add up", found=list(wrong[:5]), expected="bands that sum to 1000")


def metadata(table: str, *more: str) -> dict[str, dict[str, str]]:
    """Describe columns as the RGI's -attributes_metadata.json does.

    Examples
    --------
    >>> metadata("glacier")["area_km2"]["units"]
    'km2'
    """
    return {
        f.name: {
            "long_name": f.long_name,
            "description": f.description,
            "datatype": f.type,
            "units": f.units,
            "source": f.source,
            "rgi6_name": f.rgi6,
        }
        for f in fields(table, *more)
    }


def empty(table: str, *more: str) -> gpd.GeoDataFrame:
    """Make a table with the right columns and types and no rows.

    Examples
    --------
    >>> len(empty("lake")), empty("lake").crs.to_epsg()
    (0, 4326)
    """
    columns = fields(table, *more)
    frame = pd.DataFrame({f.name: pd.Series([], dtype=f.dtype(False)) for f in columns})
    return gpd.GeoDataFrame(frame, geometry=[], crs="EPSG:4326")
