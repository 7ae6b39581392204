"""How long does `import vigie` take, and which heavy packages does it bring? The bar: under 0.3 s, and none.

`python benchmarks/import_time.py` starts a fresh Python several times, with and without the import, and prints the median
seconds of both; what vigie costs is their difference.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time

HEAVY = ("torch", "rasterio", "xarray", "numpy", "pandas", "dask", "distributed", "zarr", "sklearn", "matplotlib", "geopandas")
"""Packages whose import takes a tenth of a second or more."""


def main() -> None:
    """Print what the import costs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--module", default="vigie")
    wanted = parser.parse_args()
    seconds: dict[str, list[float]] = {"python": [], wanted.module: []}
    for _ in range(wanted.repeats):
        seconds["python"].append(took("pass"))
        seconds[wanted.module].append(took(f"import {wanted.module}"))
    middle = {name: statistics.median(values) for name, values in seconds.items()}
    told = {
        "import": wanted.module,
        "seconds": round(middle[wanted.module] - middle["python"], 4),
        "best_seconds": round(min(seconds[wanted.module]) - min(seconds["python"]), 4),
        "bare_python_seconds": round(middle["python"], 4),
        "heavy_packages": heavy(wanted.module),
    }
    print(json.dumps(told, indent=1))


def took(code: str) -> float:
    """Seconds that a fresh Python takes for a line of code."""
    begin = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - begin


def heavy(module: str) -> list[str]:
    """Heavy packages that an import brings along."""
    code = f"import sys, {module}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()


if __name__ == "__main__":
    main()
