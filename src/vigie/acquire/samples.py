"""Small real samples: fetched from their public URLs and checked, or taken from a folder that mirrors them.

`samples.csv` lists each file with its URL (pinned to a commit) and sha256. A sample whose `derivation` is empty is fetched as
it is; one that is a lossless repack is made from its source; one that was derived by a longer procedure comes only from the
folder that the environment variable VIGIE_SAMPLES names.
"""

from __future__ import annotations

import csv
import gzip
import os
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path

import pooch

from vigie.acquire.files import digests
from vigie.core.errors import VigieError, nearest
from vigie.core.store import whole_file

SCHEME = "sample:"
FOLDER_VARIABLE = "VIGIE_SAMPLES"


@dataclass(frozen=True)
class Sample:
    """One line of the registry; `derivation` says how the file was made from what the URL gives ('' when it is that)."""

    path: str
    bytes: int
    sha256: str
    url: str
    source_sha256: str
    derivation: str
    licence: str


def registry() -> dict[str, Sample]:
    """Read the registry: samples by path.

    Examples
    --------
    >>> registry()["glaciers/rgi/rgi7c_hef.shp"].bytes
    239848
    """
    text = files("vigie.acquire").joinpath("samples.csv").read_text(encoding="utf-8")
    return {
        row["path"]: Sample(
            path=row["path"],
            bytes=int(row["bytes"]),
            sha256=row["sha256"],
            url=row["url"],
            source_sha256=row["source_sha256"],
            derivation=row["derivation"],
            licence=row["licence"],
        )
        for row in csv.DictReader(text.splitlines())
    }


def fetch(path: str) -> Path:
    """Give a sample's file: from the VIGIE_SAMPLES folder if that is set, else from the user's cache or its URL.

    Raises
    ------
    VigieError: the sample is unknown, its file is not the registered one, the network is closed, or the sample cannot be made
    from its URL.
    """
    known = registry()
    if path not in known:
        raise VigieError(f"sample '{path}' is unknown", do=nearest(path, list(known)) or "see vigie/acquire/samples.csv")
    folder = os.environ.get(FOLDER_VARIABLE)
    return _from_folder(known[path], Path(folder)) if folder else _from_network(known[path])


def resolve(pattern: str) -> list[Path]:
    """Fetch every sample that a pattern such as 'sample:glaciers/rgi/*.shp' names, with the files a shapefile needs.

    Raises
    ------
    VigieError: nothing matches (the nearest known path is named), or a sample cannot be had.
    """
    wanted = pattern.removeprefix(SCHEME)
    known = sorted(registry())
    matching = [path for path in known if fnmatchcase(path, wanted)]
    if not matching:
        raise VigieError(
            f"no sample matches '{wanted}'", do=nearest(wanted, known) or "see the paths in vigie/acquire/samples.csv"
        )
    for path in matching:
        if path.endswith(".shp"):
            for part in (p for p in known if p.startswith(path.removesuffix("shp")) and p != path):
                fetch(part)
    return [fetch(path) for path in matching]


def cache_folder() -> Path:
    """Where fetched samples are kept."""
    return Path(pooch.os_cache("vigie"))


def _from_folder(sample: Sample, folder: Path) -> Path:
    file = folder / sample.path
    if not file.is_file():
        raise VigieError(
            f"sample {sample.path} is not in the samples folder",
            found=f"{FOLDER_VARIABLE}={folder}",
            do=f"complete the folder, or unset {FOLDER_VARIABLE} to fetch it from {sample.url}",
        )
    found = digests([file.as_posix()])[file.as_posix()]
    if found != sample.sha256:
        raise VigieError(
            f"{file} is not the registered sample",
            found=f"sha256 {found}, {file.stat().st_size} bytes",
            expected=f"sha256 {sample.sha256}, {sample.bytes} bytes",
            do="replace the file",
        )
    return file


def _from_network(sample: Sample) -> Path:
    target = cache_folder() / sample.path
    make = _makers().get(sample.derivation)
    if make is None:
        raise VigieError(
            f"sample {sample.path} cannot be fetched",
            found=f"it is derived from its source ({sample.derivation})",
            do=f"set {FOLDER_VARIABLE} to a folder that holds it",
        )
    source = _download(sample, target)
    return make(source, target)


def _makers() -> dict[str, Callable[[Path, Path], Path]]:
    """How to make a sample from the file its URL gives, by the registry's words.

    A losslessly recompressed image holds the pixels of its source, so the source itself serves.
    """
    return {
        "": lambda source, _: source,
        "lossless re-compression (deflate+predictor), pixels/geotransform asserted identical": lambda source, _: source,
        "gzip of the original": _compress,
    }


def _compress(source: Path, target: Path) -> Path:
    with whole_file(target) as draft:
        draft.write_bytes(gzip.compress(source.read_bytes(), mtime=0))
    return target


def _download(sample: Sample, target: Path) -> Path:
    name = target.name if sample.derivation != "gzip of the original" else target.name.removesuffix(".gz")
    try:
        return Path(
            pooch.retrieve(
                url=sample.url,
                known_hash=f"sha256:{sample.source_sha256 or sample.sha256}",
                fname=name,
                path=target.parent,
                downloader=pooch.HTTPDownloader(timeout=20),
            )
        )
    except ValueError as error:
        raise VigieError(
            f"what {sample.url} gives is not the registered sample", found=error, do="report it: the source has changed"
        ) from error
    except OSError as error:
        raise VigieError(
            f"sample {sample.path} cannot be fetched",
            found=f"no network, or the address has gone ({type(error).__name__})",
            expected=sample.url,
            do=f"connect, or set {FOLDER_VARIABLE} to a folder that mirrors the samples",
        ) from error
