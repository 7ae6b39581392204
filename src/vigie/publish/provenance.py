"""Where a product comes from: software, experiment, catalogue, model and inputs, in one record that travels inside it."""

from __future__ import annotations

import hashlib
import json
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import vigie
from vigie.core.errors import VigieError
from vigie.core.scene import Scene

LIBRARIES = ("numpy", "xarray", "zarr", "torch", "rasterio", "geopandas", "shapely", "pyproj", "sklearn")
"""Libraries whose version is recorded when the process has imported them."""


def provenance(
    experiment: str,
    *,
    created: datetime,
    catalogue: Path | None = None,
    model: Path | None = None,
    scenes: Sequence[Scene] = (),
    licence: str = "",
) -> dict[str, Any]:
    """Record where a product comes from.

    Parameters
    ----------
    experiment: the whole validated experiment as JSON.
    created: when the product is made; it must know its time zone.
    catalogue, model: file or folder to hash.
    scenes: the inputs; their ids, dates, licences and the sha256 of their files are recorded.
    licence: licence of the product itself.

    Raises
    ------
    VigieError: the experiment is no JSON, the time has no zone, or a path does not exist.

    Examples
    --------
    >>> record = provenance('{"name": "demo"}', created=datetime(2026, 1, 2, tzinfo=UTC))
    >>> record["created"], record["software"]["name"], record["experiment"]["name"]
    ('2026-01-02T00:00:00Z', 'vigie', 'demo')
    """
    if created.tzinfo is None:
        raise VigieError("the time of a product has no zone", found=created, expected="a datetime with tzinfo", do="pass UTC")
    try:
        settings = json.loads(experiment)
    except json.JSONDecodeError as error:
        raise VigieError("the experiment is not JSON", found=error, expected="what story.experiment.to_json gives") from error
    record: dict[str, Any] = {
        "created": created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "software": {"name": "vigie", "version": vigie.__version__, "python": platform.python_version()},
        "libraries": library_versions(),
        "experiment": settings,
        "inputs": [_input(scene) for scene in scenes],
    }
    hashes = {"catalogue_sha256": catalogue, "model_sha256": model}
    record |= {name: sha256(path) for name, path in hashes.items() if path is not None}
    return record | ({"licence": licence} if licence else {})


def library_versions() -> dict[str, str]:
    """Versions of the libraries this process has imported, GDAL's among them; nothing is imported for it."""
    found = {name: str(sys.modules[name].__version__) for name in LIBRARIES if name in sys.modules}
    rasterio = sys.modules.get("rasterio")
    return found | ({"gdal": str(rasterio.__gdal_version__)} if rasterio is not None else {})


def sha256(path: Path) -> str:
    """Hash a file, or a folder as the sorted list of its files' paths and hashes; memory stays small.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> _ = (folder / "a.txt").write_text("abc")
    >>> sha256(folder / "a.txt")[:12]
    'ba7816bf8f01'
    >>> sha256(folder) == sha256(folder / "a.txt")
    False
    """
    if path.is_dir():
        files = sorted(entry for entry in path.rglob("*") if entry.is_file())
        listing = "".join(f"{entry.relative_to(path).as_posix()}\0{sha256(entry)}\n" for entry in files)
        return hashlib.sha256(listing.encode()).hexdigest()
    if not path.is_file():
        raise VigieError(f"there is nothing to hash at {path}", expected="a file or a folder")
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flat(record: Mapping[str, Any], prefix: str = "VIGIE") -> dict[str, str]:
    """Flatten a record to text tags for a GeoTIFF: nested names are joined, lists and the experiment become JSON.

    Examples
    --------
    >>> flat({"software": {"name": "vigie"}, "inputs": [{"id": "a"}], "licence": None})
    {'VIGIE_SOFTWARE_NAME': 'vigie', 'VIGIE_INPUTS': '[{"id": "a"}]'}
    """
    tags: dict[str, str] = {}
    for key, value in record.items():
        name = f"{prefix}_{key}".upper().replace("-", "_").replace(" ", "_")
        if isinstance(value, Mapping) and key != "experiment":
            tags |= flat(value, name)
        elif isinstance(value, list | tuple | Mapping):
            tags[name] = json.dumps(value, sort_keys=True)
        elif value is not None:
            tags[name] = str(value)
    return tags


def _input(scene: Scene) -> dict[str, Any]:
    return {
        "id": scene.id,
        "sensor": scene.sensor,
        "datetime": scene.datetime,
        "licence": scene.licence,
        "sha256": dict(scene.sha256),
    }
