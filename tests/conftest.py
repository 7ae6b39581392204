"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def samples() -> Path:
    """The folder of real samples; tests that need it are marked `realdata`."""
    default = Path(__file__).resolve().parents[1].parent / "shared" / "data"
    folder = Path(os.environ.get("VIGIE_SAMPLES", default))
    if not (folder / "manifest.csv").is_file():
        pytest.skip(f"real samples: nothing at {folder}; set VIGIE_SAMPLES to a folder that mirrors them")
    return folder
