"""GeoPackage and GeoParquet files of vector tables, with their metadata, there whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import geopandas as gpd
import pyarrow.parquet as pq
import pyogrio

from vigie.core.errors import VigieError
from vigie.core.store import whole_file


def write_geopackage(path: Path, layers: Mapping[str, gpd.GeoDataFrame], metadata: Mapping[str, str]) -> None:
    """Write tables as the layers of a GeoPackage.

    Parameters
    ----------
    path: where the file goes; what was there is replaced at the end.
    layers: table by layer name, in the order a GIS will show them.
    metadata: text by name, kept with every layer (kept with the file, GDAL would copy it to a side file at each reading).

    Raises
    ------
    VigieError: a table has no CRS or an invalid geometry, or the disk is full. Nothing half-written is left.

    Examples
    --------
    >>> import tempfile
    >>> from shapely import box
    >>> lakes = gpd.GeoDataFrame({"lake_id": ["a"]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:32632")
    >>> path = Path(tempfile.mkdtemp()) / "lakes.gpkg"
    >>> write_geopackage(path, {"lakes": lakes}, {"licence": "CC-BY-4.0"})
    >>> gpd.read_file(path, layer="lakes")["lake_id"].tolist()
    ['a']
    """
    for name, table in layers.items():
        check_table(table, name)
    with whole_file(path) as draft, _ogr(path):
        for number, (name, table) in enumerate(layers.items()):
            pyogrio.write_dataframe(
                table,
                draft,
                layer=name,
                driver="GPKG",
                append=number > 0,
                layer_metadata=dict(metadata),
            )


def write_geoparquet(path: Path, table: gpd.GeoDataFrame, metadata: Mapping[str, str]) -> None:
    """Write a table as GeoParquet 1.1, with a bounding box beside each geometry so that readers can skip.

    Parameters
    ----------
    path: where the file goes; what was there is replaced at the end.
    table: any GeoDataFrame with a CRS.
    metadata: text by name, kept as JSON under the key `vigie` of the file's metadata.

    Raises
    ------
    VigieError: the table has no CRS or an invalid geometry, or the disk is full. Nothing half-written is left.

    Examples
    --------
    >>> import tempfile
    >>> from shapely import box
    >>> lakes = gpd.GeoDataFrame({"lake_id": ["a"]}, geometry=[box(0, 0, 1, 1)], crs="EPSG:32632")
    >>> path = Path(tempfile.mkdtemp()) / "lakes.parquet"
    >>> write_geoparquet(path, lakes, {"licence": "CC-BY-4.0"})
    >>> read_metadata(path)
    {'licence': 'CC-BY-4.0'}
    """
    check_table(table, path.stem)
    plain = io.BytesIO()
    table.to_parquet(plain, index=False, schema_version="1.1.0", write_covering_bbox=True)
    content = pq.read_table(plain)
    ours = {b"vigie": json.dumps(dict(metadata), sort_keys=True).encode()}
    with whole_file(path) as draft:
        pq.write_table(content.replace_schema_metadata({**content.schema.metadata, **ours}), draft, compression="zstd")


def read_metadata(path: Path) -> dict[str, str]:
    """Read back what `write_geoparquet` kept under `vigie`."""
    content: dict[str, str] = json.loads((pq.read_schema(path).metadata or {}).get(b"vigie", b"{}"))
    return content


def check_table(table: gpd.GeoDataFrame, name: str) -> None:
    """Refuse a table without CRS, or with missing or invalid geometries."""
    if table.crs is None:
        raise VigieError(f"table '{name}' has no CRS", expected="a CRS", do="set it with GeoDataFrame.set_crs")
    bad = table.geometry.isna() | table.geometry.is_empty | ~table.geometry.is_valid
    if bad.any():
        raise VigieError(
            f"table '{name}' has geometries that a GIS would refuse",
            found=f"{int(bad.sum())} missing, empty or invalid, first at row {table.index[bad][0]}",
            expected="valid geometries",
            do="repair them with shapely.make_valid and keep the polygons",
        )


@contextmanager
def _ogr(path: Path) -> Iterator[None]:
    """Failures of the vector driver, turned into ours."""
    try:
        yield
    except (pyogrio.errors.DataSourceError, pyogrio.errors.DataLayerError) as error:
        raise VigieError(
            f"cannot write {path}",
            found=error,
            expected="a writable disk with room, and column types that the format knows",
            do="free space or choose another folder with --out, then run the same command again",
        ) from error
