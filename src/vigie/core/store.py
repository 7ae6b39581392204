"""Zarr stores made from a template first, then filled tile by tile, so that a killed run can go on.

A tile counts as done only when its marker file exists; the marker is written after its data, by an atomic rename. Tiles keep
whole chunks, so no two tiles ever write the same file and doing one twice leaves the same bytes.

Markers of `cube.zarr` live beside it in the hidden folder `.cube.zarr.done`: Zarr takes no foreign files inside a hierarchy.
"""

from __future__ import annotations

import errno
import json
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from vigie.core.errors import VigieError
from vigie.core.tiles import Tile

if TYPE_CHECKING:
    import zarr


def create(path: Path, template: xr.Dataset, chunks: Mapping[str, int], group: str = "") -> None:
    """Write a store's coordinates, attributes and empty arrays; filling comes later with `write`.

    What the group held before is gone, with everything below it and its markers.

    Parameters
    ----------
    path, group: the store and the group inside it.
    template: variables as they are stored (packed, if they are packed), with their attributes; data may be anything that has a
        shape (`empty` makes it cheaply). Of their encodings `_FillValue` is kept, what pixels hold that nobody wrote, and
        `compressors`, where Zarr's own would not do.
    chunks: chunk length of each dimension; tiles written later must keep whole chunks.
    """
    encoding = {
        str(name): {
            "chunks": tuple(max(1, min(chunks.get(str(d), n), n)) for d, n in zip(v.dims, v.shape, strict=True)),
            **{key: v.encoding["_FillValue"] for key in ("_FillValue", "fill_value") if "_FillValue" in v.encoding},
            **{key: v.encoding[key] for key in ("compressors",) if key in v.encoding},
        }
        for name, v in template.data_vars.items()
    }
    lazy = _portable_text(template).assign({name: v.variable.chunk(-1) for name, v in template.data_vars.items()})
    with disk(path):
        for folder in (markers(path, group), path / group):
            if folder.exists():
                shutil.rmtree(folder)
        lazy.to_zarr(path, group=group or None, mode="a", compute=False, encoding=encoding, consolidated=False, zarr_format=3)


def _portable_text(dataset: xr.Dataset) -> xr.Dataset:
    """Text of fixed width has no specification in Zarr 3; text of any length has."""
    text = {name: v.astype(np.dtypes.StringDType()) for name, v in dataset.variables.items() if v.dtype.kind == "U"}
    return dataset.assign_coords({name: v for name, v in text.items() if name in dataset.coords})


def empty(dims: Sequence[str], shape: Sequence[int], dtype: str, attrs: Mapping[str, object] | None = None) -> xr.Variable:
    """Make a variable of the right shape and type that takes no memory, for templates.

    Examples
    --------
    >>> empty(("y", "x"), (100_000, 100_000), "float32").shape
    (100000, 100000)
    """
    import dask.array

    # Left to itself, dask would name it by a digest that takes longer than all else here.
    lazy = dask.array.empty(tuple(shape), dtype=dtype, chunks=-1, name=f"empty-{uuid.uuid4().hex}")
    return xr.Variable(tuple(dims), lazy, dict(attrs or {}))


def write(path: Path, tile: Tile, data: xr.Dataset, group: str = "", content: Mapping[str, object] | None = None) -> None:
    """Write a tile's variables, as they are stored, into its kept window, then mark it done.

    Variables without any dimension of the tile, and all coordinates, belong to the template and are left alone.
    """
    import zarr

    with disk(path):
        arrays = zarr.open_group(path, path=group, mode="r+")
        for name, variable in data.data_vars.items():
            if set(map(str, variable.dims)) & set(tile.keep):
                region = tuple(tile.keep.get(str(dim), slice(None)) for dim in variable.dims)
                # Every chunk is written: comparing each with its fill value takes as long as compressing it.
                array = arrays[str(name)].with_config({"write_empty_chunks": True})
                _check_region(path, str(name), array, region, variable)
                array[region] = variable.values
        mark(path, tile.name, group, content)


def _check_region(path: Path, name: str, array: zarr.Array, region: tuple[slice, ...], variable: xr.DataArray) -> None:
    """Refuse what would spoil a neighbour's chunk or be cast in silence."""
    whole = all(
        part == slice(None) or (part.start % chunk == 0 and (part.stop % chunk == 0 or part.stop == size))
        for part, chunk, size in zip(region, array.chunks, array.shape, strict=True)
    )
    shape = tuple(len(range(*part.indices(size))) for part, size in zip(region, array.shape, strict=True))
    if not whole or shape != variable.shape or array.dtype != variable.dtype:
        raise VigieError(
            f"a tile does not fit variable '{name}' of {path.name}",
            found=f"{variable.dtype} {variable.shape} into {region}",
            expected=f"{array.dtype} {shape} on whole chunks of {array.chunks}",
        )


def markers(path: Path, group: str = "") -> Path:
    """Give the folder that holds the done-markers of a group."""
    return path.with_name(f".{path.name}.done") / group


def mark(path: Path, name: str, group: str = "", content: Mapping[str, object] | None = None) -> None:
    """Write a done-marker atomically; it may carry a small JSON content."""
    write_text(markers(path, group) / name, json.dumps(content or {}, sort_keys=True))


def marked(path: Path, name: str, group: str = "") -> bool:
    """Say whether a marker exists."""
    return (markers(path, group) / name).is_file()


def marker(path: Path, name: str, group: str = "") -> dict[str, Any]:
    """Read the content of a marker."""
    return dict(json.loads((markers(path, group) / name).read_text(encoding="utf-8")))


def pending(path: Path, todo: Sequence[Tile], group: str = "") -> list[Tile]:
    """Keep only the tiles that still have to be done."""
    folder = markers(path, group)
    done = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return [tile for tile in todo if tile.name not in done]


def write_text(path: Path, text: str) -> None:
    """Write a text file so that it is there whole or not at all."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8")


def check_folder(path: Path) -> None:
    """Refuse a path that is not, and cannot become, a folder.

    Raises
    ------
    VigieError: it, or what it lies in, is a file.
    """
    for place in (path, *path.parents):
        if place.exists():
            if not place.is_dir():
                raise VigieError(f"{path} cannot be a folder", found=f"{place} is a file", do="choose another folder for --out")
            return


def make_folder(path: Path) -> None:
    """Make a folder, and those it lies in.

    Raises
    ------
    VigieError: it cannot be made: what it lies in takes none, or is a file.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise VigieError(
            f"cannot make the folder {path}",
            found=error.strerror,
            expected="a place that takes folders",
            do="choose another folder with --out, or free space",
        ) from error


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a draft path to write to, and rename it into place only when the block succeeded.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "scores.txt"
    >>> with whole_file(target) as draft:
    ...     _ = draft.write_text("0.61")
    >>> target.read_text()
    '0.61'
    """
    make_folder(path.parent)
    draft = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    try:
        with disk(path):
            yield draft
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Give a draft folder to fill, and move it into place only when the block succeeded."""
    draft = path.with_name(f".{uuid.uuid4().hex}.{path.name}")
    make_folder(draft)
    try:
        with disk(path):
            yield draft
            shutil.rmtree(path, ignore_errors=True)
            draft.replace(path)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Turn a full, failing or read-only disk into an error that says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO):
            raise
        raise VigieError(
            f"cannot write {path}",
            found=error.strerror,
            expected="a writable disk with room",
            do="free space or choose another folder with --out, then run the same command again: finished tiles are kept",
        ) from error


def fill_value(dtype: np.dtype[np.generic]) -> float | int:
    """The value that means 'nothing here' for a type: NaN for floats, the largest value for unsigned integers.

    Examples
    --------
    >>> fill_value(np.dtype("uint16"))
    65535
    """
    return float("nan") if np.issubdtype(dtype, np.floating) else int(np.iinfo(dtype.name).max)
