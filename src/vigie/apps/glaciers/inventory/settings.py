"""What a person may choose about an inventory, checked before any work."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

ISO_DATE = r"^\d{4}(-\d{2}(-\d{2}(T\d{2}:\d{2}:\d{2})?)?)?$"


class InventorySettings(BaseModel):
    """Rules of an inventory; every value is written beside the products.

    Examples
    --------
    >>> InventorySettings(o1region="15", o2region="15-02", date="2000-10-30").min_glacier_km2
    0.01
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    collection: str = Field("VIGIE-v1", pattern=r"^[A-Za-z0-9.\-]+$", description="first part of new identifiers")
    o1region: str = Field("00", pattern=r"^\d{2}$", description="RGI first-order region; 00 where none applies")
    o2region: str = Field("00-00", pattern=r"^\d{2}-\d{2}$", description="RGI second-order region; 00-00 where none applies")
    date: str | None = Field(None, pattern=ISO_DATE, description="image date, ISO 8601")
    source: str = Field("", description="images the map was made from")
    dem_source: str | None = Field(None, description="name of the DEM; left out, that of its file")
    submission_id: int = Field(0, ge=0, description="GLIMS submission; 0 while not submitted")

    clean: str = Field("clean ice", description="name of the clean-ice class in the legend")
    debris: str = Field("debris-covered ice", description="name of the debris class in the legend")
    water: str = Field("water", description="name of the water class in the legend")

    min_glacier_km2: float = Field(0.01, gt=0, description="smallest glacier kept (RGI: 0.01)")
    min_nunatak_px: int = Field(1, ge=1, description="holes under this many pixels are filled with ice")
    outline: Literal["cut corners", "stairs"] = Field("cut corners", description="through or along pixel edges")
    simplify_px: float = Field(0.0, ge=0, le=0.5, description="coverage simplification tolerance, in pixels")

    divide_relief_m: float = Field(100.0, ge=0, description="a glacier's terminus lies at least this far below its lowest pass")
    divide_area_km2: float = Field(0.05, ge=0, description="basins of the DEM under this area join their neighbour")
    divide_smoothing_m: float = Field(90.0, ge=0, description="Gaussian smoothing (sigma) of the DEM before flow is traced")

    min_lake_px: int = Field(5, ge=1, description="smallest lake kept, in pixels (Lesi 2022: 5)")
    supraglacial_contact: float = Field(0.9, gt=0, le=1, description="share of the shore on ice that makes a lake supraglacial")
    contact_px: float = Field(1.5, gt=0, description="lake and ice closer than this many pixels touch")
    glacier_fed_m: float = Field(10_000.0, ge=0, description="lakes farther from any glacier are not glacier-fed (Wang 2020)")
    min_lake_at_terminus_km2: float = Field(0.01, ge=0, description="smaller lakes make no lake-terminating glacier")
    terminus_relief_m: float = Field(50.0, gt=0, description="the terminus is the outline within this height of the lowest ice")

    clean_buffer_px: float = Field(0.5, gt=0, description="outline error on clean ice, in pixels")
    debris_buffer_px: float = Field(1.0, gt=0, description="outline error on debris, in pixels")
    zone_px: float = Field(5.0, ge=0, description="probabilities this far outside an outline count for its glacier, in pixels")
    correlation_px: float = Field(3.0, ge=0, description="correlation length of classification errors, in pixels")
