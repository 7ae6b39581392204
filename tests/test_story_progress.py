"""What a person reads while work goes on: our own log, and of libraries errors only."""

import logging
import subprocess
import sys

import pytest

from vigie.story.progress import LogLines


@pytest.mark.parametrize(
    ("name", "level", "told"),
    [
        ("vigie", logging.INFO, True),
        ("vigie.story", logging.INFO, True),
        ("vigies", logging.INFO, False),
        ("distributed.scheduler", logging.INFO, False),
        ("distributed.scheduler", logging.WARNING, False),
        ("distributed.scheduler", logging.ERROR, True),
    ],
)
def test_libraries_tell_errors_only(capsys, name, level, told):
    logger = logging.Logger(name, logging.INFO)
    logger.addHandler(LogLines())
    logger.log(level, "a worker came")
    assert (capsys.readouterr().err == "a worker came\n") is told


def test_lightning_keeps_quiet_about_precision():
    """In a process of its own: Lightning's handlers write to the standard error that there was when it was imported."""
    code = (
        "from vigie.cli import _progress; _progress(quiet=True)\n"
        "from vigie.learn.fit import FitSettings, connect; connect(FitSettings(precision='bf16-mixed'), 'cpu')"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stderr == done.stdout == ""
