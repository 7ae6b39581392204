"""Find scenes in local files: match names against the sensors' products, read headers, and resolve bands and masks."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from vigie.acquire.elevation import metres
from vigie.acquire.files import digests, is_remote
from vigie.acquire.metadata import Coefficients, read_coefficients
from vigie.acquire.offsets import Offsets, check_offset
from vigie.acquire.raster import Header, band_count_error, footprint, read_header
from vigie.acquire.sensor import BandFile, Product, Radiometry, Sensor, SensorBand
from vigie.core.errors import VigieError, nearest
from vigie.core.scene import Band, QualityMask, Scene

DATE_TAGS = ("DATE", "ACQUISITION_DATE", "ACQUISITIONDATETIME")
"""Raster tags that hold the date of acquisition; TIFFTAG_DATETIME is not one: software writes the file's date there."""
WITHOUT = "leave its bands out: bands = [...] in an experiment's source, a sensor .toml of your own for `vigie apply`"
"""How to do without a file."""


@dataclass(frozen=True)
class Recognised:
    """The files of one scene, recognised by name: hrefs by layer, and what the name says."""

    sensor: Sensor
    product: Product
    scene: str
    words: Mapping[str, str]
    layers: dict[str, str] = field(default_factory=dict)
    metadata: list[str] = field(default_factory=list)


def find_scenes(
    hrefs: Sequence[str],
    sensors: Sequence[Sensor],
    named: bool,
    date: str | None = None,
    bands: Sequence[str] | None = None,
    offsets: Offsets = "checked",
) -> list[Scene]:
    """Find the scenes that files hold, in the order of their names.

    Parameters
    ----------
    hrefs: files as `vigie.acquire.files.list_files` gives them; files no product claims are left aside.
    sensors: the sensors to look for.
    named: whether the user named the sensor, so that products that no name gives away count too.
    date: ISO 8601, where the user knows better than name and tags.
    bands: names of the bands to keep; None keeps all that the product has.
    offsets: see `vigie.acquire.offsets.check_offset`.

    Raises
    ------
    VigieError: a file is claimed by two sensors, a band's file is missing, or a raster is refused by `read_header`.
    """
    found = recognise(hrefs, sensors, named)
    return [build_scene(entry, date, bands, offsets=offsets) for entry in found]


def recognise(hrefs: Sequence[str], sensors: Sequence[Sensor], named: bool) -> list[Recognised]:
    """Group files into scenes by the products' patterns; a scene delivered in two ways counts as the product listed first."""
    scenes: dict[str, Recognised] = {}
    for sensor in sensors:
        claimed: dict[str, Recognised] = {}
        taken: set[str] = set()
        for product in sensor.products:
            if product.recognised or named:
                for name, entry in _claims([h for h in hrefs if h not in taken], sensor, product).items():
                    if claimed.setdefault(name, entry) is entry:
                        taken.update(entry.layers.values())
        for name, entry in claimed.items():
            if name in scenes:
                raise VigieError(
                    f"scene '{name}' could be of two sensors",
                    found=f"{scenes[name].sensor.name}, {sensor.name}",
                    do="name the sensor (`sensor`, or --sensor of `vigie apply`)",
                )
            scenes[name] = entry
    return [scenes[name] for name in sorted(scenes, key=_natural)]


def _claims(hrefs: Sequence[str], sensor: Sensor, product: Product) -> dict[str, Recognised]:
    """Scenes that one product makes of the files; those without any band are none."""
    entries: dict[str, Recognised] = {}
    band_layers = {entry.layer for entry in product.files}
    known = {layer.casefold(): layer for layer in band_layers | {mask.layer for mask in product.masks}}
    metadata: dict[str, list[str]] = {}
    for href in hrefs:
        match = product.matcher.search(href)
        layer = known.get((match.groupdict().get("layer") or "").casefold()) if match else None
        if match and layer is not None:
            words = {key: value for key, value in match.groupdict().items() if value}
            entry = entries.setdefault(match["scene"], Recognised(sensor, product, match["scene"], words))
            if layer in entry.layers:
                raise VigieError(
                    f"scene '{entry.scene}' is there twice", found=f"{entry.layers[layer]} and {href}", do="give one of them"
                )
            entry.layers[layer] = href
        elif product.metadata_matcher and (match := product.metadata_matcher.search(href)):
            metadata.setdefault(match["scene"], []).append(href)
    for name, entry in entries.items():
        entry.metadata.extend(metadata.get(name, []))
    return {name: entry for name, entry in entries.items() if band_layers & set(entry.layers)}


def build_scene(
    found: Recognised,
    date: str | None = None,
    bands: Sequence[str] | None = None,
    coefficients: Coefficients | None = None,
    header_of: Callable[[str], Header] = read_header,
    offsets: Offsets = "checked",
) -> Scene:
    """Resolve the files of one scene into bands and masks with units, and its grid, date, footprint and digests.

    Parameters
    ----------
    found, date, bands, offsets: as in `find_scenes`.
    coefficients: radiometry by layer, where the product's metadata file is not the one to ask.
    header_of: where headers come from: the files themselves, or a STAC item that describes them.
    """
    wanted = _wanted(found, bands)
    coefficients = _coefficients(found) if coefficients is None else coefficients
    headers: dict[str, Header] = {}
    resolved: list[Band] = []
    for entry in wanted:
        href = _file(found, entry.layer, entry.bands)
        header = headers.setdefault(href, header_of(href))
        if header.count < entry.index + len(entry.bands) - 1:
            raise band_count_error(href, header.count, [name for e in wanted if e.layer == entry.layer for name in e.bands])
        kept = [(i, name) for i, name in enumerate(entry.bands, start=entry.index) if bands is None or name in bands]
        resolved += [_band(found, entry, name, index, header, coefficients) for index, name in kept]
    masks = _masks(found, header_of)
    check_offset(found.scene, resolved, found.product.metadata, offsets)
    finest = min((headers[band.href] for band in resolved), key=lambda header: header.gsd_m)
    return Scene(
        id=found.scene,
        sensor=found.sensor.name,
        datetime=date or _date(found, finest),
        bands=tuple(resolved),
        crs=finest.crs,
        transform=finest.transform,
        shape=finest.shape,
        footprint=footprint(finest),
        masks=masks,
        licence=found.sensor.licence,
        sha256=digests([*headers, *(mask.href for mask in masks), *found.metadata]),
    )


def iso_datetime(moment: datetime, has_time: bool) -> str:
    """Write a moment as ISO 8601: the day alone where no more is known, else UTC to the second.

    Examples
    --------
    >>> iso_datetime(datetime(2000, 10, 30), False), iso_datetime(datetime(2000, 10, 30, 5, 1), True)
    ('2000-10-30', '2000-10-30T05:01:00Z')
    """
    if not has_time:
        return moment.date().isoformat()
    moment = moment.astimezone(UTC) if moment.tzinfo else moment
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_date(text: str) -> str:
    """Write an ISO 8601 date or time, or one as EXIF writes it (2000:10:30 05:00:00), in the one form that scenes use.

    Raises
    ------
    VigieError: the text is neither.

    Examples
    --------
    >>> parse_date("2000-10-30"), parse_date("2000-10-30T06:00:00+01:00")
    ('2000-10-30', '2000-10-30T05:00:00Z')
    """
    plain = re.sub(r"^(\d{4}):(\d{2}):(\d{2})", r"\1-\2-\3", text.strip())
    try:
        return iso_datetime(datetime.fromisoformat(plain), len(plain) > 10)
    except ValueError as error:
        raise VigieError(
            f"'{text}' is not a date", expected="ISO 8601, for instance 2000-10-30", do="write year, month and day like this"
        ) from error


def _wanted(found: Recognised, bands: Sequence[str] | None) -> list[BandFile]:
    """The file entries to read: those with a band that is asked for, and that are there unless they are optional."""
    known = [name for entry in found.product.files for name in entry.bands]
    for name in bands or ():
        if name not in known:
            raise VigieError(
                f"product '{found.product.name}' of {found.sensor.name} has no band '{name}'",
                expected=", ".join(known),
                do=nearest(name, known),
            )
    return [
        entry
        for entry in found.product.files
        if (bands is None or set(bands) & set(entry.bands))
        and (entry.layer in found.layers or not entry.optional or (bands is not None))
    ]


def _file(found: Recognised, layer: str, bands: Sequence[str]) -> str:
    if layer in found.layers:
        return found.layers[layer]
    known = [band for entry in found.product.files if entry.layer in found.layers for band in entry.bands]
    raise VigieError(
        f"scene '{found.scene}' ({found.sensor.name}, {found.product.name}) lacks the file of {', '.join(bands)}",
        found=f"files of {', '.join(known)}",
        expected=f"a file named ...{layer}...",
        do=f"add the file, or {WITHOUT}",
    )


def _coefficients(found: Recognised) -> Coefficients:
    source = found.product.metadata
    if source is None:
        return {}
    if len(found.metadata) != 1:
        raise VigieError(
            f"scene '{found.scene}': its metadata decides the radiometry, and there is not one such file",
            found=found.metadata or "none",
            expected=f"one file that matches {source.pattern}",
            do="give the product's whole folder or archive",
        )
    return read_coefficients(found.metadata[0], source.reader)


def _band(found: Recognised, entry: BandFile, name: str, index: int, header: Header, coefficients: Coefficients) -> Band:
    declared = found.sensor.band(name)
    levels = (entry, found.product, declared)
    scale, offset = _scale_offset(found, entry, levels, coefficients) or _in_file(declared, header, index)
    in_file = header.nodata[index - 1]
    return Band(
        name=name,
        kind=declared.kind,
        href=header.href,
        index=index,
        gsd_m=declared.gsd_m or header.gsd_m,
        units=next(level.units for level in levels if level.units is not None),
        wavelength_um=declared.wavelength_um,
        bandwidth_um=declared.bandwidth_um,
        scale=scale,
        offset=offset,
        nodata=in_file if in_file is not None else next((v.nodata for v in levels if v.nodata is not None), None),
        saturated=next((level.saturated for level in levels if level.saturated is not None), None),
        reseau=found.sensor.reseau if declared.kind == "pan" else None,
    )


def _scale_offset(
    found: Recognised, entry: BandFile, levels: Sequence[Radiometry], coefficients: Coefficients
) -> tuple[float, float] | None:
    """What the product's metadata says of a layer, else what the sensor file declares; None where neither says a word."""
    layer = re.sub(r"_\d+m$", "", entry.layer)
    if layer in coefficients:
        return coefficients[layer]
    scale = next((level.scale for level in levels if level.scale is not None), None)
    if scale is None and found.product.metadata is not None:
        raise VigieError(
            f"scene '{found.scene}': its metadata gives no coefficients for {entry.layer}",
            found=", ".join(coefficients) or "none",
            do=f"use another product, or {WITHOUT}",
        )
    offset = next((level.offset for level in levels if level.offset is not None), None)
    return None if scale is None and offset is None else (1.0 if scale is None else scale, offset or 0.0)


def _in_file(declared: SensorBand, header: Header, index: int) -> tuple[float, float]:
    """What the raster itself declares, where nobody else does; elevation becomes metres."""
    if declared.kind == "terrain" and declared.name == "elevation":
        return metres(header, index)
    return header.scale_offset(index) or (1.0, 0.0)


def _masks(found: Recognised, header_of: Callable[[str], Header]) -> tuple[QualityMask, ...]:
    for mask in found.product.masks:
        if mask.layer not in found.layers and not mask.optional:
            raise VigieError(
                f"scene '{found.scene}' ({found.sensor.name}, {found.product.name}) lacks its quality mask {mask.layer}",
                found=f"files {', '.join(sorted(found.layers))}",
                expected="the masks of the product, without which clouds pass for ice",
                do="add the file",
            )
    present = [mask for mask in found.product.masks if mask.layer in found.layers]
    for mask in present:
        header_of(found.layers[mask.layer])
    return tuple(QualityMask(found.layers[mask.layer], mask.index, dict(mask.bits), dict(mask.values)) for mask in present)


def _date(found: Recognised, header: Header) -> str | None:
    """The date in the file's name, else in its tags, else nobody knows."""
    text, form = found.words.get("date"), found.product.date_format
    if text and form:
        try:
            return iso_datetime(datetime.strptime(text, form), "%H" in form)
        except ValueError as error:
            raise VigieError(
                f"scene '{found.scene}': its name holds no date",
                found=text,
                expected=form,
                do="rename the file, or correct date_format in a sensor .toml of your own",
            ) from error
    tagged = next((tag for tag in DATE_TAGS if header.tags.get(tag, "").strip(" :0")), None)
    if tagged is None or is_remote(header.href):
        return None
    try:
        return parse_date(header.tags[tagged])
    except VigieError as error:
        raise VigieError(
            f"{header.href}: its tag {tagged} holds no date",
            found=header.tags[tagged],
            expected="ISO 8601, for instance 2000-10-30",
            do="mend the tag, or say the date (`date`, or --date of `vigie apply`)",
        ) from error


def _natural(name: str) -> tuple[tuple[int, str], ...]:
    """Sort key under which image3 comes before image126."""
    return tuple((int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", name))
