"""Files as GDAL names them, on disk and inside archives: listing, reading a text, digests. Nothing is ever unpacked."""

from __future__ import annotations

import hashlib
import re
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vigie.core.errors import VigieError

ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz")
TEXT_LIMIT_BYTES = 64 * 2**20
"""Product metadata is a few hundred kB; anything above this is not metadata."""

_MEMBER = re.compile(r"^/vsi(?:zip|tar)/(?P<archive>.+?\.(?:zip|tar|tgz|tar\.gz))/(?P<member>.+)$", re.IGNORECASE)
_BLOCK_BYTES = 2**20


def list_files(path: Path) -> list[str]:
    """List the files that a file, folder or archive stands for, as hrefs that GDAL opens.

    Raises
    ------
    VigieError: nothing is there, the archive is damaged, or a member's name leads out of the archive.
    """
    if not path.exists():
        raise VigieError(f"{path} does not exist", expected="a file, a folder or a .zip/.tar archive", do="check the path")
    if path.is_dir():
        entries = sorted(entry for entry in path.rglob("*") if entry.is_file())
        if not entries:
            raise VigieError(f"{path} is an empty folder", expected="images", do="put images there, or correct the path")
        return [href for entry in entries for href in list_files(entry)]
    if path.name.lower().endswith(ARCHIVES):
        driver = "vsizip" if path.name.lower().endswith(".zip") else "vsitar"
        return [f"/{driver}/{path.absolute().as_posix()}/{member}" for member in _members(path)]
    return [path.absolute().as_posix()]


def read_text(href: str) -> str:
    """Read a small text file, on disk or inside an archive."""
    archive, member = _split(href)
    if member:
        raw = b"".join(_limited(stream, href) for _, stream in _streams(Path(archive), {member: href}))
    else:
        with Path(archive).open("rb") as file:
            raw = _limited(file, href)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise VigieError(f"{href} is not text", found=error, expected="UTF-8", do="save or download it again") from error


def digests(hrefs: Iterable[str]) -> dict[str, str]:
    """Compute the sha256 of files by streaming them once, members of archives by one pass over their archive.

    Remote hrefs (with a scheme such as https) have no digest here and are left out.
    """
    found: dict[str, str] = {}
    wanted: dict[str, dict[str, str]] = {}
    for href in dict.fromkeys(hrefs):
        if is_remote(href):
            continue
        archive, member = _split(href)
        if member:
            wanted.setdefault(archive, {})[member] = href
        else:
            with Path(archive).open("rb") as file:
                found[href] = _digest(file)
    for archive, members in wanted.items():
        for name, stream in _streams(Path(archive), members):
            found[members[name]] = _digest(stream)
    return found


def local_path(href: str) -> Path | None:
    """The file on disk that an href lies in: itself, or its archive; None for a remote one.

    Examples
    --------
    >>> local_path("/vsizip//data/images.zip/B04.tif"), local_path("https://example.org/B04.tif")
    (PosixPath('/data/images.zip'), None)
    """
    return None if is_remote(href) else Path(_split(href)[0])


def is_remote(href: str) -> bool:
    """Say whether an href is a URL (or GDAL's remote file systems).

    Examples
    --------
    >>> is_remote("https://example.org/B04.tif"), is_remote("/data/B04.tif")
    (True, False)
    """
    return re.match(r"^(?:[a-z0-9+.-]+://|/vsi(?:curl|s3|gs|az|swift)/)", href, re.IGNORECASE) is not None


def _split(href: str) -> tuple[str, str]:
    match = _MEMBER.match(href)
    return (match["archive"], match["member"]) if match else (href, "")


@contextmanager
def _damaged(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, tarfile.TarError, EOFError) as error:
        raise VigieError(
            f"{path} cannot be read", found=error, expected="a whole .zip or .tar archive", do="download it again"
        ) from error


def _members(path: Path) -> list[str]:
    with _damaged(path):
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as zipped:
                names = [entry.filename for entry in zipped.infolist() if not entry.is_dir()]
                strange = []
        else:
            with tarfile.open(path) as tarred:
                entries = [entry for entry in tarred if not entry.isdir()]
                names = [entry.name.removeprefix("./") for entry in entries]
                strange = [entry.name for entry in entries if not entry.isfile()]
    strange += [name for name in names if ".." in re.split(r"[/\\]", name) or re.match(r"^(?:[/\\]|[A-Za-z]:)", name)]
    if strange:
        raise VigieError(
            f"{path} holds a member that is a link or leads out of the archive",
            found=strange[0],
            expected="plain files inside the archive",
            do="do not use this archive; get it again from its producer",
        )
    return sorted(names)


def _streams(archive: Path, members: dict[str, str]) -> Iterator[tuple[str, IO[bytes]]]:
    with _damaged(archive):
        if archive.name.lower().endswith(".zip"):
            with zipfile.ZipFile(archive) as zipped:
                for name in members:
                    with zipped.open(name) as stream:
                        yield name, stream
        else:
            with tarfile.open(archive) as tarred:
                for entry in tarred:
                    name = entry.name.removeprefix("./")
                    stream_or_none = tarred.extractfile(entry) if name in members else None
                    if stream_or_none is not None:
                        yield name, stream_or_none


def _digest(stream: IO[bytes]) -> str:
    digest = hashlib.sha256()
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()


def _limited(stream: IO[bytes], href: str) -> bytes:
    raw = stream.read(TEXT_LIMIT_BYTES + 1)
    if len(raw) > TEXT_LIMIT_BYTES:
        raise VigieError(
            f"{href} is too large for metadata",
            expected=f"at most {TEXT_LIMIT_BYTES} bytes",
            do="see whether another file bears the name of the metadata; else download the product again",
        )
    return raw
