"""What can be chosen about bringing scenes onto one grid."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from pyproj import CRS
from pyproj.exceptions import CRSError

Refine = Literal["bilinear", "cubic"]
"""Interpolation where the target grid is finer than the source."""


class GridSettings(BaseModel):
    """The grid a scene is brought onto; without `crs` and `resolution_m` it is the scene's own finest grid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    crs: str | None = Field(default=None, description="projected CRS, such as 'EPSG:32645'; default: the scene's")
    resolution_m: float | None = Field(
        default=None, gt=0, allow_inf_nan=False, description="pixel size, metres; default: the finest band's"
    )
    bounds: tuple[float, float, float, float] | None = Field(
        default=None, description="west, south, east, north in units of `crs`; default: all of the scene"
    )

    @field_validator("crs")
    @classmethod
    def _crs_is_known(cls, crs: str | None) -> str | None:
        if crs is not None:
            try:
                CRS.from_user_input(crs)
            except CRSError as error:
                raise ValueError("a coordinate system that PROJ knows, such as 'EPSG:32645'") from error
        return crs

    @field_validator("bounds")
    @classmethod
    def _bounds_in_order(cls, bounds: tuple[float, float, float, float] | None) -> tuple[float, float, float, float] | None:
        if bounds is not None:
            west, south, east, north = bounds
            if not (all(map(math.isfinite, bounds)) and west < east and south < north):
                raise ValueError("west, south, east, north, finite, with west < east and south < north")
        return bounds


class HarmonizeSettings(BaseModel):
    """How bands of any sensor become one dataset on one grid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    grid: GridSettings = Field(default=GridSettings(), description="the grid that scenes are brought onto")
    refine: Refine = Field(default="bilinear", description="interpolation of bands coarser than the grid")
    refine_elevation: Refine = Field(default="cubic", description="interpolation of elevation coarser than the grid")
    nodata: Literal["any", "all"] = Field(
        default="any", description="a pixel is flagged nodata where 'any' or 'all' of its bands, terrain apart, are missing"
    )
    saturation: Literal["declared", "detect"] = Field(
        default="declared", description="trust the sensor's saturation level, or look for a spike at the maximum as well"
    )
    reseau: Literal["none", "fill"] = Field(
        default="fill", description="'fill' takes reseau crosses off film whose sensor declares them, and flags what it filled"
    )
    shadow: Literal["none", "gain", "affine"] = Field(
        default="none", description="flag cast shadow in near infrared by a test free of gain, or of gain and offset"
    )
    terrain: Literal["none", "derive"] = Field(
        default="derive", description="'derive' computes slope, aspect and relief where the scene or `dem` gives elevation"
    )
    relief_box_m: float = Field(
        default=1000.0, gt=0, description="side of the box whose mean elevation relief is measured from"
    )
    labels: Literal["layer", "everywhere"] = Field(
        default="layer", description="outside the extent of a vector layer labels are unknown, or background 'everywhere'"
    )
    chunk: int = Field(default=256, ge=16, description="side of a chunk of the cube, pixels")
    tile: int = Field(default=1024, ge=16, description="side of a tile that is read, computed and written at once, pixels")

    @model_validator(mode="after")
    def _tiles_keep_whole_chunks(self) -> HarmonizeSettings:
        if self.tile % self.chunk:
            raise ValueError(f"tile ({self.tile}) must be a multiple of chunk ({self.chunk})")
        return self
