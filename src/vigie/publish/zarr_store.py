"""Zarr stores as products: described like the NetCDF files beside them, and filled window by window."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from vigie.core import store
from vigie.publish.netcdf import Write, check_described, described
from vigie.publish.room import check_room

CHUNK = 512
"""Longest side of a chunk along the last two dimensions."""


@contextmanager
def zarr_stream(path: Path, template: xr.Dataset, title: str, provenance: Mapping[str, Any]) -> Iterator[Write]:
    """Write a dataset as a Zarr store (format 3) window by window: memory holds one window.

    Parameters and errors are those of `vigie.publish.netcdf.netcdf_stream`; what was there is replaced at the end.

    Examples
    --------
    >>> import tempfile
    >>> template = xr.Dataset({"rain": store.empty(("scan",), (2,), "float32", {"units": "mm h-1", "long_name": "rain"})})
    >>> path = Path(tempfile.mkdtemp()) / "rain.zarr"
    >>> with zarr_stream(path, template, "Rain", {}) as write:
    ...     write({"scan": slice(1, 2)}, xr.Dataset({"rain": ("scan", np.array([3], "float32"))}))
    >>> xr.open_zarr(path, consolidated=False)["rain"].values.tolist()
    [nan, 3.0]
    """
    import zarr

    check_described(template)
    ready = described(template, title, provenance)
    # What is known already is written with the template, as coordinates are.
    ready = ready.set_coords([name for name, variable in ready.data_vars.items() if variable.chunks is None])
    for variable in ready.data_vars.values():
        if variable.dtype.kind == "f":
            variable.encoding["_FillValue"] = np.nan
    with store.whole_folder(path) as draft:
        check_room(path, ready.nbytes)
        store.create(draft, ready, _chunks(ready))
        arrays = zarr.open_group(draft, mode="r+")

        def write(window: Mapping[str, slice], data: xr.Dataset) -> None:
            for name, variable in data.data_vars.items():
                region = tuple(window.get(str(dim), slice(None)) for dim in variable.dims)
                arrays[str(name)][region] = variable.values

        yield write


def _chunks(dataset: xr.Dataset) -> dict[str, int]:
    """One step along the first dimensions of the largest variable, whole sides up to `CHUNK` along the last two."""
    largest = max(dataset.data_vars.values(), key=lambda variable: variable.ndim)
    return {str(dim): 1 if place < largest.ndim - 2 else CHUNK for place, dim in enumerate(largest.dims)}
