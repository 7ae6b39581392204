"""Engines give the same results; Dask survives what kills a worker; Slurm's job script says what was asked."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from vigie.core.engine import Dask, Serial, Slurm, Threads
from vigie.core.errors import VigieError


def square(number: int) -> int:
    return number * number


def die_once(folder: Path, number: int) -> int:
    """Kill the worker's process the first time number 3 comes."""
    mark = folder / "died"
    if number == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return number


class DieOnce:
    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, number: int) -> int:
        return die_once(self.folder, number)


@pytest.mark.parametrize("engine", [Serial(), Threads(3)])
def test_engines_map_every_key(engine: Serial | Threads) -> None:
    assert sorted(engine.map(square, range(7))) == [n * n for n in range(7)]


def test_threads_raise_what_work_raises() -> None:
    def work(number: int) -> int:
        raise VigieError("bad tile", found=number)

    with pytest.raises(VigieError, match="bad tile"):
        list(Threads(2).map(work, [1, 2]))


@pytest.mark.filterwarnings("ignore")
def test_dask_does_the_work_of_a_killed_worker_again(tmp_path: Path) -> None:
    assert sorted(Dask(workers=2).map(DieOnce(tmp_path), range(6))) == list(range(6))
    assert (tmp_path / "died").exists()


def test_dask_scheduler_out_of_reach_is_one_clear_line() -> None:
    with pytest.raises(VigieError, match="scheduler cannot be reached"):
        list(Dask(address="tcp://127.0.0.1:9", timeout_s=1.0).map(square, [1]))


def test_slurm_job_script_says_what_was_asked() -> None:
    slurm = Slurm(
        queue="gpu", account="ice", cores=8, memory="32GiB", walltime="03:00:00",
        directives=("--gres=gpu:1",), prologue=("module load cuda",),
    )
    script = slurm.job_script()
    for line in ("#SBATCH -p gpu", "#SBATCH -A ice", "#SBATCH --cpus-per-task=8", "#SBATCH -t 03:00:00", "#SBATCH --gres=gpu:1",
                 "module load cuda"):
        assert line in script
    assert "32G" in script.split("--mem=")[1].split("\n")[0]
