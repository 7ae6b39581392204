"""Engines give the same results; lost schedulers and workers are one clear line; Slurm's job script says what was asked."""

from __future__ import annotations

import gc
import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import suppress
from pathlib import Path

import cloudpickle
import pytest
from distributed import LocalCluster

from vigie.core import engine
from vigie.core.engine import Dask, Serial, Slurm, Threads, Watch, clear_errors
from vigie.core.errors import VigieError

# Dask leaves the sockets of failed connections to the garbage.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def square(number: int) -> int:
    return number * number


@pytest.mark.parametrize("plain", [Serial(), Threads(3)])
def test_engines_map_every_key(plain: Serial | Threads) -> None:
    assert sorted(plain.map(square, range(7))) == [n * n for n in range(7)]


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


class Unwelcome:
    """What no worker can unpack: it raises there, or takes the whole process with it."""

    def __init__(self, home: int, how: str) -> None:
        self.home, self.how = home, how

    def __reduce__(self) -> tuple[object, ...]:
        return unpacked, (self.home, self.how)

    def __call__(self, key: object) -> object:
        return key


def unpacked(home: int, how: str) -> Unwelcome:
    """Be unpacked by the process that packed it, and by no other."""
    if os.getpid() == home:
        return Unwelcome(home, how)
    if how == "die":
        os._exit(3)
    raise ModuleNotFoundError("No module named 'theirs'")


@pytest.fixture(autouse=True)
def travels_whole() -> Iterator[None]:
    """Workers cannot import tests, and each test takes its garbage away."""
    here = sys.modules[__name__]
    cloudpickle.register_pickle_by_value(here)
    yield
    cloudpickle.unregister_pickle_by_value(here)
    gc.collect()


@pytest.mark.parametrize("place", ["work", "key"])
def test_work_that_no_worker_can_unpack_ends_at_once(place: str) -> None:
    strange = Unwelcome(os.getpid(), "raise")
    work, key = (strange, 1) if place == "work" else (repr, strange)
    with pytest.raises(VigieError, match="cannot unpack the work; found ModuleNotFoundError: No module named 'theirs'"):
        list(Dask(workers=1).map(work, [key]))


def test_work_that_kills_its_workers_ends() -> None:
    # A worker that dies before its nanny knows that it lives is not started again: then there are none left.
    told = "kills every worker that does it; found 4 workers lost|has lost all of its workers; found none for 2 s"
    with pytest.raises(VigieError, match=told):
        list(Dask(workers=1, without_workers_s=2.0).map(Unwelcome(os.getpid(), "die"), [1, 2]))


def test_a_worker_that_is_killed_once_is_started_again(tmp_path: Path) -> None:
    def work(key: int) -> int:
        if not (tmp_path / "killed").exists():
            (tmp_path / "killed").touch()
            os._exit(9)
        return key

    assert sorted(Dask(workers=1).map(work, [1, 2, 3])) == [1, 2, 3]


def test_work_ends_when_all_workers_have_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    # Workers that cannot unpack a message close for good, nannies and all.
    monkeypatch.setattr(engine, "attempt", lambda work: Unwelcome(os.getpid(), "raise"))
    with pytest.raises(VigieError, match=r"lost all of its workers; found none for 0.2 s, with 2 piece\(s\) of work left"):
        list(Dask(workers=2, without_workers_s=0.2).map(square, [1, 2]))


def test_a_cluster_may_be_slow_to_start_and_its_workers_may_come_back(caplog: pytest.LogCaptureFixture) -> None:
    now, workers, arrived = [0.0], [0], [0]
    watch = Watch(lambda: workers[0], lambda: arrived[0], 600.0, lambda: now[0])
    with caplog.at_level("INFO", "vigie"):
        for now[0] in (0.0, 3600.0, 86_400.0):
            watch.look(left=3)
    assert caplog.messages == ["engine: the cluster has no worker yet, waiting for the first one"]
    workers[0] = arrived[0] = 1
    watch.look(left=3)
    for now[0], workers[0] in ((90_000.0, 0), (90_599.0, 0), (90_600.0, 1), (91_000.0, 0), (91_599.0, 0)):
        watch.look(left=3)
    now[0] = 91_600.0
    with pytest.raises(VigieError, match="none for 600 s, with 3"):
        watch.look(left=3)


def test_a_cluster_without_workers_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    class Start(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            cluster.scale(1)

    start = Start()
    logging.getLogger("vigie").addHandler(start)
    try:
        with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address=":0") as cluster:
            caplog.set_level("INFO", "vigie")
            late = Dask(address=cluster.scheduler_address, without_workers_s=0.1)
            assert sorted(late.map(square, [2, 3])) == [4, 9]
    finally:
        logging.getLogger("vigie").removeHandler(start)


def test_another_run_on_this_machine_is_no_trouble() -> None:
    """Dask's own port may be taken: warnings are errors here."""
    with LocalCluster(n_workers=0, dashboard_address=":0"), socket.socket() as taken:
        with suppress(OSError):  # by somebody else already
            taken.bind(("", 8787))
            taken.listen()
        assert list(Dask(workers=1).map(square, [3])) == [9]
        assert "#SBATCH" in Slurm(queue="q", cores=1, memory="1GB", walltime="00:10:00").job_script()


def test_a_scheduler_that_is_lost_at_work_is_one_clear_line() -> None:
    with pytest.raises(VigieError, match="the Dask scheduler is lost; found scheduler-connection-lost"), clear_errors():
        raise CancelledError("scheduler-connection-lost")


def test_a_worker_that_came_and_went_unseen_was_there() -> None:
    now = [0.0]
    watch = Watch(lambda: 0, lambda: 1, 600.0, lambda: now[0])
    watch.look(left=1)
    now[0] = 601.0
    with pytest.raises(VigieError, match="lost all of its workers"):
        watch.look(left=1)


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
