"""Engines give the same results; a lost scheduler is one clear line; Slurm's job script says what was asked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vigie.core.engine import Dask, Serial, Slurm, Threads
from vigie.core.errors import VigieError


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("engine", [Serial(), Threads(3)])
def test_engines_map_every_key(engine: Serial | Threads) -> None:
    assert sorted(engine.map(square, range(7))) == [n * n for n in range(7)]


def test_threads_raise_what_work_raises() -> None:
    def work(number: int) -> int:
        raise VigieError("bad tile", found=number)

    with pytest.raises(VigieError, match="bad tile"):
        list(Threads(2).map(work, [1, 2]))


def counting(folder: Path, error: Exception, times: int) -> Callable[[int], int]:
    """Make work that leaves a file for each attempt and fails so many times; a closure, since workers cannot import tests."""

    def work(key: int) -> int:
        attempts = len(list(folder.iterdir()))
        (folder / str(attempts)).touch()
        if attempts < times:
            raise error
        return key

    return work


def test_a_fault_that_would_come_again_is_not_tried_again(tmp_path: Path) -> None:
    with pytest.raises(VigieError, match="bad tile; found 3"):
        list(Dask(workers=1).map(counting(tmp_path, VigieError("bad tile", found=3), 9), [1]))
    assert len(list(tmp_path.iterdir())) == 1


def test_a_fault_of_the_disk_is_tried_again(tmp_path: Path) -> None:
    assert list(Dask(workers=1).map(counting(tmp_path, OSError("stale file handle"), 2), [7])) == [7]


def test_dask_scheduler_out_of_reach_is_one_clear_line() -> None:
    with pytest.raises(VigieError, match="scheduler cannot be reached"):
        list(Dask(address="tcp://127.0.0.1:9", timeout_s=1.0).map(square, [1]))


def test_slurm_job_script_says_what_was_asked() -> None:
    slurm = Slurm(
        queue="gpu",
        account="ice",
        cores=8,
        memory="32GiB",
        walltime="03:00:00",
        directives=("--gres=gpu:1",),
        prologue=("module load cuda",),
    )
    script = slurm.job_script()
    for line in (
        "#SBATCH -p gpu",
        "#SBATCH -A ice",
        "#SBATCH --cpus-per-task=8",
        "#SBATCH -t 03:00:00",
        "#SBATCH --gres=gpu:1",
        "module load cuda",
    ):
        assert line in script
    assert "32G" in script.split("--mem=")[1].split("\n")[0]
