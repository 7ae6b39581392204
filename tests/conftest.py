"""Fixtures shared by all tests."""

from __future__ import annotations

import importlib.util
import logging
import os
import sys
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import ModuleType

import h5py
import numpy as np
import pytest

from vigie.cli import main

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"


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
def load_benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """A function that loads a script of `benchmarks/` by its name; a script that imports another needs that one before."""

    def load(name: str) -> ModuleType:
        spec = importlib.util.spec_from_file_location(name, BENCHMARKS / f"{name}.py")
        assert spec and spec.loader
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture
def run_verb(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int | None, str]]:
    """A function that runs a verb on an experiment's text in a folder: exit code, and what was said on standard error."""

    def command(verb: str, content: str, folder: Path, log: bool = False) -> tuple[int | None, str]:
        (folder / "experiment.toml").write_text(content)
        words = [verb, str(folder / "experiment.toml"), "--out", str(folder.parent / "runs")]
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(words if log else [*words, "--quiet"])
        out, err = capsys.readouterr()
        assert log or not out
        return left.value.code, err

    return command


@pytest.fixture
def refused() -> Callable[..., None]:
    """A function that asks for one line with some words, and exit code 2."""

    def check(told: tuple[int | None, str], *words: str) -> None:
        code, err = told
        assert code == 2, err
        assert err.startswith("vigie: ")
        assert err.count("\n") == 1
        assert "to mend it: " in err
        for word in words:
            assert word in err

    return check


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
