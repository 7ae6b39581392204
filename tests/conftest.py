"""Fixtures shared by all tests."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
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


@pytest.fixture(autouse=True)
def _loud_again() -> Iterator[None]:
    """Undo what a command with --quiet does to the log: in one process with other tests, it would silence their warnings."""
    loggers = [logging.getLogger(name) for name in ("", "vigie")]
    before = [logger.level for logger in loggers]
    yield
    for logger, level in zip(loggers, before, strict=True):
        logger.setLevel(level)
