"""Sensors are declared in TOML, never subclassed: bands, and for each product how files become bands and masks.

A sensor file holds the bands an instrument has and a list of products (ways its images are delivered). A product names its
files by regular expressions: `id` is what all files of one scene share, `files` says which token of a file name (`layer`)
holds which bands, `masks` which token holds which quality flags. Radiometry (units, scale, offset, nodata, saturated) is looked
up in the file entry, then the product, then the band. A new sensor is a new TOML file and no code.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cached_property
from importlib.metadata import entry_points
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vigie.acquire.files import read_text
from vigie.core.cube import FLAGS
from vigie.core.errors import VigieError, nearest
from vigie.core.mistakes import explain
from vigie.core.scene import KINDS, Reseau

ENTRY_POINTS = "vigie.sensors"
"""Third parties add sensors with this entry point group: each name points at the path of a TOML file."""

MetadataReader = Literal["sentinel-2-safe", "sentinel-2-stac", "landsat-mtl"]
"""Where a product's own metadata decides its radiometry: see `vigie.acquire.metadata`."""

FlagName = Annotated[str, Field(pattern="^(" + "|".join(FLAGS) + ")$")]


GUIDE = "docs/howto/sensor.md"
"""What tells the keys of a sensor file."""


def _not_zero(scale: float) -> float:
    if scale == 0:
        raise ValueError("a number other than 0, which would make all stored numbers one")
    return scale


def _regular(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"a regular expression ({error.msg})") from error
    return pattern


def _names_the_scene(pattern: str) -> str:
    if "scene" not in re.compile(_regular(pattern.replace("{id}", "(?P<scene>)"))).groupindex:
        raise ValueError("{id} in it, or a named group 'scene': what all files of one scene share")
    return pattern


class _Declared(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Radiometry(_Declared):
    """How stored numbers become physical units; what is left out is looked up one level higher."""

    units: str | None = None
    scale: Annotated[float, Field(allow_inf_nan=False), AfterValidator(_not_zero)] | None = None
    offset: Annotated[float, Field(allow_inf_nan=False)] | None = None
    nodata: float | None = None
    saturated: float | None = None


class SensorBand(Radiometry):
    """One band of an instrument; `gsd_m` left out means: the pixel size of the file."""

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    kind: str
    wavelength_um: Annotated[float, Field(gt=0)] | None = None
    bandwidth_um: Annotated[float, Field(gt=0)] | None = None
    gsd_m: Annotated[float, Field(gt=0)] | None = None

    @field_validator("kind")
    @classmethod
    def _known_kind(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError("; ".join(filter(None, [f"one of {', '.join(KINDS)}", nearest(kind, KINDS)])))
        return kind


class BandFile(Radiometry):
    """Which bands a file holds, from raster band `index` on; `layer` is the token in its name ('' when there is none)."""

    layer: str = ""
    bands: Annotated[tuple[str, ...], Field(min_length=1)]
    index: Annotated[int, Field(ge=1)] = 1
    optional: bool = False


class MaskFile(_Declared):
    """A quality raster: flag name -> bit numbers, or flag name -> values."""

    layer: str = ""
    index: Annotated[int, Field(ge=1)] = 1
    bits: Mapping[FlagName, tuple[Annotated[int, Field(ge=0, le=63)], ...]] = Field(default_factory=dict)
    values: Mapping[FlagName, tuple[int, ...]] = Field(default_factory=dict)
    optional: bool = False


class Metadata(_Declared):
    """The file that decides a product's radiometry, and what reads it."""

    pattern: Annotated[str, AfterValidator(_names_the_scene)]
    reader: MetadataReader


class Product(Radiometry):
    """One way the images of a sensor are delivered.

    `id` is a regular expression of the scene's name, with optional named groups `date` (parsed with `date_format`), `tile`,
    `path`, `row` ...; `pattern` is one of a file's path from its end, where `{id}` stands for the former and the named group
    `layer` tells files of one scene apart. `recognised = false` means: only when the user names the sensor.
    """

    name: str
    id: Annotated[str, AfterValidator(_regular)]
    pattern: Annotated[str, AfterValidator(_names_the_scene)]
    date_format: str | None = None
    recognised: bool = True
    files: Annotated[tuple[BandFile, ...], Field(min_length=1)]
    masks: tuple[MaskFile, ...] = ()
    metadata: Metadata | None = None

    @model_validator(mode="after")
    def _patterns_compile(self) -> Self:
        for pattern in [self.pattern] + ([self.metadata.pattern] if self.metadata else []):
            try:
                self._compile(pattern)
            except re.error as error:
                raise ValueError(f"an id and patterns that make one regular expression ({error.msg}: {pattern})") from error
        if ("date" in self.matcher.groupindex) != (self.date_format is not None):
            raise ValueError("a named group 'date' and date_format together, or neither")
        return self

    def _compile(self, pattern: str) -> re.Pattern[str]:
        return re.compile("(?:^|/)" + pattern.replace("{id}", f"(?P<scene>{self.id})") + "$", re.IGNORECASE)

    @cached_property
    def matcher(self) -> re.Pattern[str]:
        """What finds this product's rasters by their path."""
        return self._compile(self.pattern)

    @cached_property
    def metadata_matcher(self) -> re.Pattern[str] | None:
        """What finds this product's metadata by its path."""
        return self._compile(self.metadata.pattern) if self.metadata else None


class Sensor(_Declared):
    """A sensor: its bands, the products that hold them, and the reseau that lies on its film (bands of kind 'pan').

    Examples
    --------
    >>> load_sensor("landsat-7").band("green").wavelength_um
    0.565
    """

    name: Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]*$")]
    title: str
    source: str
    licence: str = ""
    bands: Annotated[tuple[SensorBand, ...], Field(min_length=1)]
    products: Annotated[tuple[Product, ...], Field(min_length=1)]
    reseau: Reseau | None = None

    @model_validator(mode="after")
    def _bands_are_declared(self) -> Self:
        known = [band.name for band in self.bands]
        if len(set(known)) != len(known):
            raise ValueError(f"each band declared once, and not {', '.join(known)}")
        for product in self.products:
            named = [name for entry in product.files for name in entry.bands]
            for name in named:
                if name not in known:
                    hint = nearest(name, known) or f"there are {', '.join(known)}"
                    raise ValueError(f"declared bands in product '{product.name}', and not '{name}'; {hint}")
            if len(set(named)) != len(named):
                raise ValueError(f"each band once in product '{product.name}', and not {', '.join(named)}")
            for entry in product.files:
                for name in entry.bands:
                    if (entry.units or product.units or self.band(name).units) is None:
                        raise ValueError(f"units with every band; in product '{product.name}' band '{name}' has no units")
        return self

    def band(self, name: str) -> SensorBand:
        """Find a band by name; an unknown one is refused with the nearest known one."""
        for band in self.bands:
            if band.name == name:
                return band
        known = [band.name for band in self.bands]
        raise VigieError(f"sensor '{self.name}' has no band '{name}'", expected=", ".join(known), do=nearest(name, known))


def load_sensor(name_or_path: str | Path) -> Sensor:
    """Load a sensor by its name, or from a TOML file of your own.

    Raises
    ------
    VigieError: the name is unknown (the nearest known one is named), or the file is not a valid sensor (the key is named).

    Examples
    --------
    >>> [band.name for band in load_sensor("hexagon-kh9").bands]
    ['pan']
    """
    if str(name_or_path).endswith(".toml"):
        path = Path(name_or_path)
        if not path.is_file():
            raise VigieError(f"sensor file {path} does not exist", do="check the path")
        return parse_sensor(read_text(str(path)), str(path))
    shelf = _shelf()
    if str(name_or_path) not in shelf:
        known = sorted(shelf)
        raise VigieError(
            f"sensor '{name_or_path}' is unknown",
            expected=", ".join(known),
            do=nearest(str(name_or_path), known) or "name a known sensor, or the path of a .toml file that declares yours",
        )
    resource = shelf[str(name_or_path)]
    return parse_sensor(resource.read_text(encoding="utf-8"), resource.name)


def all_sensors() -> list[Sensor]:
    """Load every known sensor, in the order of their names.

    Examples
    --------
    >>> len(all_sensors()) == len(known_sensors())
    True
    """
    return [parse_sensor(entry.read_text(encoding="utf-8"), entry.name) for _, entry in sorted(_shelf().items())]


def known_sensors() -> tuple[str, ...]:
    """Name every sensor that `load_sensor` finds, those of third parties too.

    Examples
    --------
    >>> "sentinel-2" in known_sensors()
    True
    """
    return tuple(sorted(_shelf()))


def parse_sensor(text: str, origin: str) -> Sensor:
    """Validate the text of a sensor file; `origin` is its name in error messages."""
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise VigieError(f"{origin} is not TOML", found=error, do="mend the line that is named") from error
    try:
        return Sensor.model_validate(content)
    except ValidationError as error:
        raise explain(error, origin, Sensor, content, GUIDE) from error


def _shelf() -> dict[str, Traversable]:
    """Every sensor file by name: ours, then third parties'; one name in two places is refused."""
    shelf: dict[str, Traversable] = {
        entry.name.removesuffix(".toml"): entry
        for entry in files("vigie.acquire").joinpath("sensors").iterdir()
        if entry.name.endswith(".toml")
    }
    for point in entry_points(group=ENTRY_POINTS):
        if point.name in shelf:
            raise VigieError(
                f"sensor '{point.name}' is declared twice",
                found=f"{point.value} and {shelf[point.name]}",
                expected="one declaration a name",
                do="uninstall or rename one of them",
            )
        loaded = point.load()
        shelf[point.name] = Path(loaded) if isinstance(loaded, str) else loaded
    return shelf
