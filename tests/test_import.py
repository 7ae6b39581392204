"""`import vigie` brings nothing heavy along, and `vigie --help` no torch: benchmarks/import_time.py tells the seconds."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"torch", "rasterio", "xarray", "numpy", "pandas", "dask", "distributed", "zarr", "sklearn", "matplotlib", "geopandas"}


def imported(module: str) -> set[str]:
    code = f"import sys, {module}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_the_package_imports_nothing_heavy() -> None:
    assert imported("vigie") & HEAVY == set()


@pytest.mark.parametrize("module", ["vigie.cli", "vigie.core.engine", "vigie.core.cube", "vigie.core.store"])
def test_the_command_line_and_the_core_import_no_torch_and_no_rasterio(module: str) -> None:
    assert imported(module) & {"torch", "rasterio", "sklearn", "matplotlib", "geopandas", "distributed"} == set()
