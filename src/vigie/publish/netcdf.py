"""CF-1.11 NetCDF files: described as the convention asks, compressed, and written block by block."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.grid import CRS_VARIABLE
from vigie.core.store import fill_value, whole_file
from vigie.core.tiles import Window
from vigie.core.vocabulary import named
from vigie.publish.room import check_room

CONVENTIONS = "CF-1.11"

CHUNK = 512
"""Side of a compressed chunk along the last two dimensions, pixels."""

BLOCK = 2048
"""Side of the blocks read at once along the last two dimensions: whole chunks, one block a thread in memory."""

IN_MEMORY_BYTES = 64 * 2**20
"""Datasets up to this size are made in memory and then written: HDF5 may crash the process when the disk is full."""

AXES = ("x", "y", "longitude", "latitude")
"""Axes of a grid."""

PACKING = ("scale_factor", "add_offset", "dtype", "_FillValue")
"""What of a variable's encoding says how its numbers are stored."""

COUNTED = ("units", "calendar", "dtype")
"""The same of times."""

TYPED = ("flag_values", "flag_masks", "valid_min", "valid_max", "valid_range", "_FillValue")
"""Attributes that CF wants in the type of the stored variable."""

Write = Callable[[Window, xr.Dataset], None]
"""Writes the variables of a dataset into a window of a file or store that is being filled."""

DESCRIBED = ("units", "flag_values", "flag_masks")
"""A data variable must have one of these."""


def write_netcdf(path: Path, dataset: xr.Dataset, title: str, provenance: Mapping[str, Any]) -> None:
    """Write a dataset as CF-1.11 NetCDF-4.

    Every data variable needs `long_name` or `standard_name`, and `units` (or flag values or masks). Packed integers with
    `scale_factor`, `add_offset` and `_FillValue` among their attributes are written as they are; floating point gets NaN as
    fill. Grid axes get their CF names and variables on them their grid mapping. Arrays that are lazy (opened from a store) are
    read in blocks.

    Parameters
    ----------
    path: where the file goes; what was there is replaced at the end.
    dataset: variables on named dimensions, the grid mapping in the coordinate `spatial_ref` when there is a grid.
    title: one line for a person.
    provenance: the record made by `vigie.publish.provenance`; it is kept whole as JSON, and shortly as `history`.

    Raises
    ------
    VigieError: a variable is not described, or the disk is full. Nothing half-written is left.

    Examples
    --------
    >>> import tempfile
    >>> area = xr.Dataset({"area": ("time", np.array([9.4, 28.0]), {"units": "km2", "long_name": "lake area"})})
    >>> path = Path(tempfile.mkdtemp()) / "area.nc"
    >>> write_netcdf(path, area, "Lakes", {"created": "2026-01-02T00:00:00Z"})
    >>> xr.load_dataset(path, engine="h5netcdf").attrs["Conventions"]
    'CF-1.11'
    """
    check_described(dataset)
    ready = _blocks(described(dataset, title, provenance))
    encoding = {str(name): _encoding(str(name), variable) for name, variable in ready.variables.items()}
    with whole_file(path) as draft:
        check_room(path, ready.nbytes)
        if ready.nbytes <= IN_MEMORY_BYTES:
            draft.write_bytes(ready.to_netcdf(engine="h5netcdf", format="NETCDF4", encoding=encoding))
        else:
            ready.to_netcdf(draft, engine="h5netcdf", format="NETCDF4", encoding=encoding)


@contextmanager
def netcdf_stream(path: Path, template: xr.Dataset, title: str, provenance: Mapping[str, Any]) -> Iterator[Write]:
    """Write a dataset as CF-1.11 NetCDF-4 window by window, whatever its size: memory holds one window.

    Parameters
    ----------
    path, title, provenance: as for `write_netcdf`.
    template: variables that are lazy arrays of Dask (`core.store.empty`) are filled by what is written; everything else is
        written as it is. Numbers are written as they are given: physical ones, with NaN where there are none.

    Raises
    ------
    VigieError: a variable is not described, or the disk is full. Nothing half-written is left.

    Examples
    --------
    >>> import tempfile
    >>> from vigie.core.store import empty
    >>> template = xr.Dataset({"rain": empty(("scan",), (4,), "float32", {"units": "mm h-1", "long_name": "rain"})})
    >>> path = Path(tempfile.mkdtemp()) / "rain.nc"
    >>> with netcdf_stream(path, template, "Rain", {}) as write:
    ...     for scan in (0, 2):
    ...         rain = xr.Dataset({"rain": ("scan", np.array([scan, scan + 1], "float32"))})
    ...         write({"scan": slice(scan, scan + 2)}, rain)
    >>> xr.load_dataset(path, engine="h5netcdf")["rain"].values.tolist()
    [0.0, 1.0, 2.0, 3.0]
    """
    import h5py

    check_described(template)
    ready = described(template, title, provenance)
    encoding = {str(name): _encoding(str(name), variable) for name, variable in ready.variables.items()}
    with whole_file(path) as draft:
        check_room(path, ready.nbytes)
        ready.to_netcdf(draft, engine="h5netcdf", format="NETCDF4", encoding=encoding, compute=False)
        with h5py.File(draft, "r+") as file:

            def write(window: Window, data: xr.Dataset) -> None:
                for name, variable in data.data_vars.items():
                    file[str(name)][tuple(window.get(str(dim), slice(None)) for dim in variable.dims)] = variable.values

            yield write


def check_described(dataset: xr.Dataset) -> None:
    """Refuse data variables without a name for a person or without units, naming the first; bounds have those of their axis."""
    bounds = {variable.attrs.get("bounds") for variable in dataset.variables.values()}
    for name, variable in dataset.drop_vars(bounds - {None}).data_vars.items():
        if not {"long_name", "standard_name"} & set(variable.attrs) or not set(DESCRIBED) & set(variable.attrs):
            raise VigieError(
                f"variable '{name}' is not described",
                found=sorted(variable.attrs),
                expected="long_name or standard_name, and units (or flag_values or flag_masks)",
                do="set them in the variable's attributes before publishing",
            )


def described(dataset: xr.Dataset, title: str, provenance: Mapping[str, Any]) -> xr.Dataset:
    """Add what CF asks of the file, its axes and its variables."""
    software = provenance.get("software", {})
    maker = f"{software.get('name', 'vigie')} {software.get('version', '')}".strip()
    described = dataset.copy()
    described.attrs = {
        **dataset.attrs,
        "Conventions": CONVENTIONS,
        "title": title,
        "source": maker,
        "history": f"{provenance.get('created', '')} written by {maker}".strip(),
        "provenance": json.dumps(provenance, sort_keys=True),
        **({"license": provenance["licence"]} if provenance.get("licence") else {}),
    }
    for axis in AXES:
        if axis in described.dims and axis in described.coords:
            described[axis].attrs = _axis_attributes(described[axis].attrs) | named(axis).attributes
    for variable in described.variables.values():
        kept = COUNTED if variable.dtype.kind == "M" else PACKING
        variable.encoding = {key: variable.encoding[key] for key in kept if key in variable.encoding}
        variable.attrs |= {key: np.asarray(variable.attrs[key], _stored(variable)) for key in TYPED if key in variable.attrs}
    if CRS_VARIABLE not in described.variables:
        return described
    for array in described.data_vars.values():
        if len(set(array.dims) & set(AXES)) == 2:
            array.attrs["grid_mapping"] = CRS_VARIABLE
    return described.reset_coords(CRS_VARIABLE) if CRS_VARIABLE in described.coords else described


def _stored(variable: xr.Variable) -> np.dtype[Any]:
    """The type a variable has on disk."""
    dtype: np.dtype[Any] = np.dtype(variable.encoding.get("dtype", variable.dtype))
    return dtype


def _axis_attributes(attributes: Mapping[Any, Any]) -> dict[Any, Any]:
    """CF spells the unit of length 'm', and an axis has no missing values."""
    kept = {key: v for key, v in attributes.items() if key != "_FillValue"}
    return kept | ({"units": "m"} if kept.get("units") == "metre" else {})


def _blocks(dataset: xr.Dataset) -> xr.Dataset:
    """Make large arrays stream: whole along the first dimensions, BLOCK along the last two."""
    large = {name: v for name, v in dataset.data_vars.items() if v.size > BLOCK * BLOCK}
    return dataset.assign({name: v.chunk(dict.fromkeys(v.dims[-2:], BLOCK)) for name, v in large.items()})


def _encoding(name: str, variable: xr.Variable) -> dict[str, Any]:
    """Compression and fill of one variable; what says how it is packed is left alone."""
    if variable.dtype.kind not in "fiub" or variable.ndim == 0:
        return dict(variable.encoding) if variable.dtype.kind == "M" else {}
    packing = dict(variable.encoding)
    if variable.dims == (name,):
        packing["_FillValue"] = None
    elif "_FillValue" not in {*variable.encoding, *variable.attrs}:
        packing["_FillValue"] = fill_value(variable.dtype) if variable.dtype.kind == "f" else None
    last = variable.ndim - 2
    chunks = tuple(min(n, CHUNK) if i >= last else 1 for i, n in enumerate(variable.shape))
    return packing | {"zlib": True, "complevel": 4, "shuffle": True, "chunksizes": chunks}
