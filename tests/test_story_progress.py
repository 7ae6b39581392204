"""What a person reads while work goes on: our own log, and of libraries errors only."""

import logging

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
