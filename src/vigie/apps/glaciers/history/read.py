"""Annual outlines in one file, and the small text files that say when each year's image was taken."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path

import geopandas as gpd

from vigie.core.errors import VigieError


def read_dates(path: Path) -> dict[int, date]:
    """Read lines `YYYY: DD-MM-YYYY` into {year: date}.

    Raises
    ------
    VigieError
        When a line reads otherwise.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "dates.txt"
    >>> _ = path.write_text("1985: 05-08-1985")
    >>> read_dates(path)
    {1985: datetime.date(1985, 8, 5)}
    """
    dates = dict[int, date]()
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            year, text = line.split(":")
            dates[int(year)] = datetime.strptime(text.strip(), "%d-%m-%Y").date()
        except ValueError as error:
            raise VigieError(f"{path.name} line {number} is no date", found=line, expected="1985: 05-08-1985") from error
    return dates


def read_epochs(
    path: Path, year_column: str, dates: Mapping[int, date], undated: tuple[int, int]
) -> dict[date, gpd.GeoDataFrame]:
    """Read outlines of many years from one vector file, one epoch a year.

    Parameters
    ----------
    path: a vector file with one row an outline.
    year_column: the column that holds the year.
    dates: image dates that are known, by year.
    undated: (month, day) taken for years whose image date nobody knows; such epochs carry `attrs["dated"] = False`.

    Raises
    ------
    VigieError
        When the file has no such column.
    """
    outlines = gpd.read_file(path)
    if year_column not in outlines:
        raise VigieError(f"{path.name} has no column '{year_column}'", found=", ".join(outlines.columns))
    epochs = dict[date, gpd.GeoDataFrame]()
    for year, frame in outlines.groupby(year_column):
        when = dates.get(int(year))
        epoch = frame.reset_index(drop=True)
        epoch.attrs["dated"] = when is not None
        epochs[when or date(int(year), *undated)] = epoch
    return epochs
