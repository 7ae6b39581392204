"""The stage's one entry: what an experiment says about its images, turned into scenes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date as Day
from datetime import datetime as Moment
from glob import has_magic
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator
from shapely.geometry import shape

from vigie.acquire.clear import with_clear_pixels
from vigie.acquire.elevation import metres
from vigie.acquire.files import digests, list_files
from vigie.acquire.groups import group_by_distance
from vigie.acquire.local import find_scenes, parse_date
from vigie.acquire.offsets import Offsets
from vigie.acquire.raster import footprint, read_header
from vigie.acquire.samples import SCHEME, resolve
from vigie.acquire.search import StacSettings, search_scenes
from vigie.acquire.sensor import Sensor, all_sensors, load_sensor
from vigie.acquire.truth import counterpart, read_truth
from vigie.acquire.vectors import sidecars
from vigie.core.errors import VigieError
from vigie.core.scene import Band, Scene

AUTO = "auto"


class SourceSettings(BaseModel):
    """One source of images: local files or samples (`images`), or a STAC catalogue (`stac`)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    images: Annotated[tuple[str, ...], Field(description="paths, folders, archives, globs or sample: patterns")] = ()
    sensor: Annotated[str, Field(description="name of a sensor, path of a sensor .toml, or auto")] = AUTO
    bands: Annotated[tuple[str, ...] | None, Field(description="use only these bands")] = None
    truth: Annotated[str | None, Field(description="label file; * stands for what it stood for in images")] = None
    legend: Annotated[str | None, Field(description="label legend of the truth")] = None
    burn: Annotated[int | None, Field(ge=0, le=254, description="code of what lies inside vector labels")] = None
    layer: Annotated[str | None, Field(description="layer of the truth where its file holds several with polygons")] = None
    epoch: Annotated[str | None, Field(description="date of the labels where it differs from the image's")] = None
    date: Annotated[str | None, Field(description="date of the images, over what names and tags say")] = None
    region: Annotated[str, Field(description="region, for scores by region")] = ""
    group: Annotated[str | None, Field(description="fold group; {scene} for one a scene; left out: by distance")] = None
    dem: Annotated[str | None, Field(description="elevation raster, in metres unless it names another unit")] = None
    offsets: Annotated[
        Offsets, Field(description="Sentinel-2 offsets of the metadata: checked against the pixels, or trusted")
    ] = "checked"
    stac: Annotated[StacSettings | None, Field(description="a STAC catalogue, instead of images")] = None

    @field_validator("images", mode="before")
    @classmethod
    def _one_or_many(cls, images: Any) -> Any:
        return (images,) if isinstance(images, str) else images

    @field_validator("date", "epoch", mode="before")
    @classmethod
    def _iso(cls, moment: Any) -> Any:
        if isinstance(moment, Day | Moment):
            moment = moment.isoformat()
        return parse_date(moment) if isinstance(moment, str) else moment

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if bool(self.images) == bool(self.stac):
            raise ValueError("either images or stac, and not both")
        if self.stac and self.date:
            raise ValueError("no date beside stac: the items of a STAC catalogue carry their own")
        if self.stac and self.truth and "*" in self.truth:
            raise ValueError("a truth that names its scene by {scene}, with stac, not by *")
        if self.truth and not self.legend:
            raise ValueError("a legend beside truth: the name of the label legend its codes follow")
        if (self.burn is not None or self.layer or self.epoch or self.legend) and not self.truth:
            raise ValueError("a truth beside burn, layer, epoch and legend: the labels that they describe")
        if self.layer and self.burn is None:
            raise ValueError("burn beside layer: the code of what lies inside vector labels")
        return self


def gather(sources: Sequence[SourceSettings], base: Path = Path()) -> list[Scene]:
    """Find the scenes of every source, with their labels, elevation and groups.

    Parameters
    ----------
    sources: what the experiment says.
    base: folder that relative paths start from.

    Raises
    ------
    VigieError: nothing found, a file of no known sensor, two scenes of one name, none with a clear pixel, or bad input of any
    kind, with what to do.
    """
    scenes = with_clear_pixels([scene for source in sources for scene in gather_one(source, base)])
    names = [scene.id for scene in scenes]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise VigieError("scenes have the same name", found=", ".join(twice), do="give each image once, or rename the files")
    return group_by_distance(scenes)


def gather_one(source: SourceSettings, base: Path) -> list[Scene]:
    """Find the scenes of one source, in the order of their names; fold groups are given only where the source names them."""
    finished = []
    for scene, pattern, path in _local_scenes(source, base) if source.images else _stac_scenes(source, base):
        labelled = _with_truth(scene, source, pattern, path, base)
        complete = _with_elevation(labelled, source, base) if source.dem else labelled
        group = source.group.replace("{scene}", scene.id) if source.group is not None else scene.group
        finished.append(replace(complete, region=source.region or scene.region, group=group))
    return finished


def sensor_files(sources: Sequence[SourceSettings], base: Path = Path()) -> list[Path]:
    """Sensor files of the user's own that the sources name: what scenes hold depends on them, too."""
    return [base / at_home(source.sensor) for source in sources if _is_file(source.sensor)]


def expand(pattern: str, base: Path) -> list[Path]:
    """Turn a path, glob or sample: pattern into paths that exist.

    Raises
    ------
    VigieError: nothing is there.
    """
    if pattern.startswith(SCHEME):
        return resolve(pattern)
    pattern = at_home(pattern)
    full = (base / pattern).absolute()
    if full.exists() or not has_magic(pattern):
        if not full.exists():
            raise VigieError(f"{full} does not exist", do=f"check the path; relative ones start from {base.absolute()}")
        return [full]
    root = Path(full.anchor) if Path(pattern).is_absolute() else base.absolute()
    found = sorted(root.glob(str(full.relative_to(root))))
    if not found:
        raise VigieError(f"nothing matches '{pattern}'", found=f"no file under {base.absolute()}", do="check the pattern")
    return found


def at_home(path: str) -> str:
    """Read a leading ~ as a shell does.

    Raises
    ------
    VigieError: there is no such user.
    """
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError as error:
        raise VigieError(f"{path} names a home that is not there", found=error, do="write the path out") from error


def _local_scenes(source: SourceSettings, base: Path) -> Iterator[tuple[Scene, str, Path]]:
    """Scenes of local files, each with the pattern and the path that led to it."""
    labels = set(_truth_files(source, base))
    origins: dict[str, tuple[str, Path]] = {}
    for pattern in map(at_home, source.images):
        for path in expand(pattern, base):
            if path not in labels:
                origins |= dict.fromkeys(list_files(path), (pattern, path))
    scenes = find_scenes(
        list(origins), _sensors(source, base), source.sensor != AUTO, source.date, source.bands, source.offsets
    )
    _refuse_unclaimed(source, origins, scenes)
    for scene in scenes:
        yield scene, *next(origins[band.href] for band in scene.bands)


def _stac_scenes(source: SourceSettings, base: Path) -> Iterator[tuple[Scene, str, Path]]:
    if source.stac is not None:
        for scene in search_scenes(source.stac, _sensors(source, base), base, source.bands, source.offsets):
            yield scene, source.stac.url, Path(scene.id)


def _sensors(source: SourceSettings, base: Path) -> list[Sensor]:
    if source.sensor == AUTO:
        return all_sensors()
    return [load_sensor(base / at_home(source.sensor) if _is_file(source.sensor) else source.sensor)]


def _is_file(sensor: str) -> bool:
    return sensor.endswith(".toml")


def _truth_files(source: SourceSettings, base: Path) -> list[Path]:
    """Label files that the truth pattern names, so that a wide images pattern does not take them for images."""
    return expand(source.truth.replace("{scene}", "*"), base) if source.truth else []


def _refuse_unclaimed(source: SourceSettings, origins: dict[str, tuple[str, Path]], scenes: Sequence[Scene]) -> None:
    """Files found by a folder or glob may be anything; one that was named, or a source without any scene, is refused."""
    used = {href for scene in scenes for href in scene.sha256}
    strange = [h for h, (p, path) in origins.items() if h not in used and h == path.as_posix() and not has_magic(p)]
    if scenes and not strange:
        return
    raise VigieError(
        f"no product of {'any known sensor' if source.sensor == AUTO else source.sensor} is named like this",
        found=", ".join(strange or list(origins)[:3]) or "no file",
        expected="the producers' file names",
        do="name the sensor (`sensor`, or --sensor of `vigie apply`), or declare the files in a sensor .toml of your own",
    )


def _with_truth(scene: Scene, source: SourceSettings, pattern: str, path: Path, base: Path) -> Scene:
    if source.truth is None or source.legend is None:
        return scene
    wanted = counterpart(path.as_posix(), pattern.removeprefix(SCHEME), source.truth, scene.id)
    file = expand(wanted, base)[0]
    truth = read_truth(file, source.legend, source.burn, source.epoch, scene.footprint, source.layer)
    return replace(scene, truth=truth, sha256={**scene.sha256, **digests(p.absolute().as_posix() for p in sidecars(file))})


def _with_elevation(scene: Scene, source: SourceSettings, base: Path) -> Scene:
    """Add the band 'elevation' from a DEM of any grid and CRS."""
    file = expand(source.dem or "", base)[0].absolute().as_posix()
    if any(band.name == "elevation" for band in scene.bands):
        raise VigieError(f"scene '{scene.id}' has elevation already", found=f"dem = {file}", do="leave out the DEM")
    header = read_header(file)
    if not shape(footprint(header)).intersects(shape(dict(scene.footprint))):
        raise VigieError(f"the DEM {file} does not touch scene '{scene.id}'", do="give a DEM of the same place")
    scale, offset = metres(header)
    band = Band("elevation", "terrain", file, 1, header.gsd_m, "m", scale=scale, offset=offset, nodata=header.nodata[0])
    return replace(scene, bands=(*scene.bands, band), sha256={**scene.sha256, **digests([file])})
