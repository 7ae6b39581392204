"""What a cube must look like: the one layout every stage after `harmonize` may rely on.

`cube.zarr` is an `xarray.DataTree`. Under `/grid` each node is one scene on its own GeoBox:

    observation (band, y, x)  float32   physical units, NaN where missing
    flags       (y, x)        uint8     bit flags, see FLAGS
    truth       (y, x)        uint8     codes of a label legend (only where labels exist)
    band(band), kind(band), units(band)                    text
    wavelength_um(band), bandwidth_um(band), gsd_m(band)   float64, NaN where a band has none
    attributes: scene, sensor, datetime, region, group, legend
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from vigie.core.errors import VigieError
from vigie.core.legend import LabelLegend
from vigie.core.scene import KINDS, Band
from vigie.core.tiles import Window
from vigie.core.vocabulary import named

FLAGS = {"nodata": 1, "saturated": 2, "shadow": 4, "cloud": 8, "outside_training": 16, "snow": 32, "filled": 64}
"""Bit of every flag; they combine. What is `filled` was not measured: a reseau cross lay there."""

HIDDEN = ("nodata", "cloud")
"""Flags of pixels whose label is not that of what the image shows: they are not learnt from, calibrated on or scored."""

Reader = Callable[[Window], xr.Dataset]
"""Read one window {"y": ..., "x": ...} of a scene and return it in the layout above, loaded in memory.

A reader pickles, keeps no open file between calls that another process would need, and gives the same numbers however the
scene is cut into windows.
"""


def band_coordinates(bands: Sequence[Band]) -> dict[str, tuple[str, NDArray[np.generic]]]:
    """Describe bands as coordinates of dimension `band`."""

    def number(values: Sequence[float | None]) -> tuple[str, NDArray[np.generic]]:
        return "band", np.array([np.nan if v is None else v for v in values], dtype=np.float64)

    return {
        "band": ("band", np.array([b.name for b in bands], dtype=np.str_)),
        "kind": ("band", np.array([b.kind for b in bands], dtype=np.str_)),
        "units": ("band", np.array([b.units for b in bands], dtype=np.str_)),
        "wavelength_um": number([b.wavelength_um for b in bands]),
        "bandwidth_um": number([b.bandwidth_um for b in bands]),
        "gsd_m": number([b.gsd_m for b in bands]),
    }


def flags_attributes() -> dict[str, object]:
    """CF attributes of the variable `flags`."""
    return {
        **named("flags").attributes,
        "flag_masks": np.array(list(FLAGS.values()), dtype=np.uint8),
        "flag_meanings": " ".join(FLAGS),
    }


def flagged(flags: xr.DataArray, *names: str) -> xr.DataArray:
    """Say where any of the named flags is set.

    Examples
    --------
    >>> flagged(xr.DataArray(np.array([0, 1, 6], dtype=np.uint8)), "saturated", "nodata").values
    array([False,  True,  True])
    """
    bits = sum(FLAGS[name] for name in set(names))
    return (flags & np.uint8(bits)) != 0


def label_rows(scene: xr.Dataset, labels: LabelLegend) -> NDArray[np.int16]:
    """Give the truth that counts, as rows of the label legend (y, x): -1 where it is unknown or the image does not show it.

    Examples
    --------
    >>> labels = LabelLegend("ice", {0: ("no ice", ("land",)), 1: ("ice", ("ice",))})
    >>> truth, flags = np.array([[0, 1, 1, 255]], np.uint8), np.array([[0, 2, 8, 0]], np.uint8)
    >>> label_rows(xr.Dataset({"truth": (("y", "x"), truth), "flags": (("y", "x"), flags)}), labels).tolist()
    [[0, 1, -1, -1]]
    """
    return np.where(flagged(scene["flags"], *HIDDEN).values, np.int16(-1), labels.rows(scene["truth"].values))


def check(scene: xr.Dataset) -> None:
    """Refuse a scene dataset that is not laid out as this module says, naming the first thing that is wrong."""
    name = scene.attrs.get("scene", "?")
    for variable, dims in {"observation": ("band", "y", "x"), "flags": ("y", "x")}.items():
        if variable not in scene or scene[variable].dims != dims:
            found = scene[variable].dims if variable in scene else sorted(map(str, scene.data_vars))
            raise VigieError(f"scene '{name}': variable '{variable}' is not in place", found=found, expected=dims)
    for coordinate in ("band", "kind", "units", "wavelength_um", "bandwidth_um", "gsd_m"):
        if coordinate not in scene.coords:
            raise VigieError(
                f"scene '{name}': bands are not described",
                found=sorted(map(str, scene.coords)),
                expected=f"a coordinate '{coordinate}' along 'band'",
            )
    strange = sorted(set(scene["kind"].values.tolist()) - set(KINDS))
    if strange:
        raise VigieError(f"scene '{name}': unknown kind of band", found=strange, expected=", ".join(KINDS))
    if scene["flags"].dtype != np.uint8 or not np.issubdtype(scene["observation"].dtype, np.floating):
        raise VigieError(
            f"scene '{name}': wrong types",
            found=f"observation {scene['observation'].dtype}, flags {scene['flags'].dtype}",
            expected="observation floating point, flags uint8",
        )
