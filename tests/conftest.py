"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import h5py
import numpy as np
import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real samples; tests that need it are marked `realdata`."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("VIGIE_SAMPLES", default))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"real samples: nothing at {folder}; set VIGIE_SAMPLES to a folder that mirrors them")
    return folder


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    """Undo what a command with --quiet does to the log: in one process with other tests, it would silence their warnings."""
    loggers = [logging.getLogger(name) for name in ("", "vigie")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)


@pytest.fixture
def write_granule(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes an HDF5 granule as the PPS does: header in bytes, data sets by path, fills and dimension names."""

    def write(
        name: str, header: dict[str, str], content: dict[str, np.ndarray], attributes: dict[str, str] | None = None
    ) -> Path:
        said = {"GranuleNumber": "000123", "EmptyGranule": "NOT_EMPTY", "ProductVersion": "V07A", **header}
        path = tmp_path / name
        with h5py.File(path, "w") as file:
            file.attrs["FileHeader"] = np.bytes_("".join(f"{key}={value};\n" for key, value in said.items()))
            for place, values in content.items():
                file[place] = values
            for place, value in (attributes or {}).items():
                place, _, key = place.partition("@")
                file[place].attrs[key] = np.bytes_(value)
        return path

    return write


@pytest.fixture
def scan_times() -> Callable[..., dict[str, np.ndarray]]:
    """A function that gives the data sets of a swath's `ScanTime`, two seconds a scan from a start."""

    def times(group: str, count: int, start: str = "2014-12-31T23:59:50") -> dict[str, np.ndarray]:
        moments = [datetime.fromisoformat(start) + timedelta(seconds=2 * scan) for scan in range(count)]
        parts = {
            "Year": ([m.year for m in moments], np.int16),
            "Month": ([m.month for m in moments], np.int8),
            "DayOfMonth": ([m.day for m in moments], np.int8),
            "Hour": ([m.hour for m in moments], np.int8),
            "Minute": ([m.minute for m in moments], np.int8),
            "Second": ([m.second for m in moments], np.int8),
            "MilliSecond": ([250] * count, np.int16),
        }
        return {f"{group}/ScanTime/{name}": np.array(values, dtype) for name, (values, dtype) in parts.items()}

    return times
