"""Engines run the same work here, in threads, or on a Dask cluster; results do not depend on which."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

from vigie.core.errors import VigieError

log = logging.getLogger("vigie")

ANY_PORT = ":0"
"""Where schedulers show their state: two runs on one machine, or on a login node, would quarrel over Dask's own port."""
WITHOUT_WORKERS_S = 600.0
"""How long work goes on without any worker: a nanny needs seconds, an adaptive cluster minutes to start the next."""

K = TypeVar("K")
V = TypeVar("V")


class Engine(Protocol):
    """Anything that maps work over keys and yields results as they come, in any order."""

    def map(self, work: Callable[[K], V], keys: Iterable[K]) -> Iterator[V]:
        """Yield work(key) for every key."""
        ...


@dataclass(frozen=True)
class Serial:
    """A plain loop.

    Examples
    --------
    >>> list(Serial().map(abs, [-1, 2]))
    [1, 2]
    """

    def map(self, work: Callable[[K], V], keys: Iterable[K]) -> Iterator[V]:
        """Yield work(key) for every key, in order."""
        for key in keys:
            yield work(key)


@dataclass(frozen=True)
class Threads:
    """A pool of threads, for work that waits on disks and networks."""

    workers: int = 4

    def map(self, work: Callable[[K], V], keys: Iterable[K]) -> Iterator[V]:
        """Yield work(key) for every key as results come; a failure cancels what has not started."""
        from concurrent.futures import ThreadPoolExecutor, as_completed

        with ThreadPoolExecutor(self.workers) as pool:
            futures = [pool.submit(work, key) for key in keys]
            try:
                for future in as_completed(futures):
                    yield future.result()
            finally:
                for future in futures:
                    future.cancel()


@dataclass(frozen=True)
class Slurm:
    """One Slurm job of a Dask cluster, in the words of `sbatch`."""

    queue: str
    account: str | None = None
    cores: int = 4
    memory: str = "16GiB"
    walltime: str = "02:00:00"
    jobs: int = 1
    directives: tuple[str, ...] = ()
    prologue: tuple[str, ...] = ()

    def cluster(self) -> Any:
        """Build the dask-jobqueue cluster, with no job submitted yet."""
        from dask_jobqueue import SLURMCluster

        return SLURMCluster(
            queue=self.queue,
            account=self.account,
            cores=self.cores,
            processes=1,
            memory=self.memory,
            walltime=self.walltime,
            job_extra_directives=list(self.directives),
            job_script_prologue=list(self.prologue),
            scheduler_options={"dashboard_address": ANY_PORT},
        )

    def job_script(self) -> str:
        """Write the job script that one worker would be submitted with."""
        with self.cluster() as cluster:
            return str(cluster.job_script())


POLL_S = 5.0
"""How often a cluster that gives no result is asked for its workers, at most."""

Outcome = tuple[str, Any]
"""What a worker gives back: 'done' and the value, 'failed' and an error that would come again, or 'unpacking' and its words."""


def attempt(work: bytes) -> Callable[[bytes], Outcome]:
    """Make what workers call with a packed key: an OSError is raised, since a disk may do better next time; other faults are
    given back.

    It is a closure, which travels whole, and its work and keys are bytes that it unpacks itself: a worker that lacks a package
    says so, where it would otherwise die of the message that brings the work.

    Examples
    --------
    >>> from distributed.protocol.pickle import dumps
    >>> attempt(dumps(lambda key: 1 / key))(dumps(0))
    ('failed', ZeroDivisionError('division by zero'))
    """

    def outcome(key: bytes) -> Outcome:
        import traceback

        from distributed.protocol.pickle import loads

        try:
            do, with_what = loads(work), loads(key)
        except Exception as error:
            return "unpacking", f"{type(error).__name__}: {error}"
        try:
            return "done", do(with_what)
        except OSError:
            raise
        except Exception as error:
            error.add_note(traceback.format_exc())
            return "failed", error

    return outcome


@dataclass
class Watch:
    """Sees whether a cluster has lost its workers for good.

    The first worker may take as long as it likes, for jobs queue for hours. Once there was one, a nanny starts it again within
    seconds, and an adaptive cluster another within minutes: none for `limit_s` means that none will come.

    workers, arrived: how many there are, and how many there have been since the work began.
    """

    workers: Callable[[], int]
    arrived: Callable[[], int]
    limit_s: float
    clock: Callable[[], float] = time.monotonic
    lost_since: float | None = None
    waiting: bool = False

    def next_of(self, done: SimpleQueue[Any], left: int) -> Any:
        """Wait for the next future that is done, and look at the cluster while none comes."""
        while True:
            try:
                return done.get(timeout=min(POLL_S, self.limit_s))
            except Empty:
                self.look(left)

    def result_of(self, future: Any, left: int) -> Any:
        """Fetch what a future holds; it is done again when the worker that holds it dies before."""
        while True:
            try:
                return future.result(timeout=min(POLL_S, self.limit_s))
            except TimeoutError:
                if future.status == "error":
                    raise
                self.look(left)

    def look(self, left: int) -> None:
        """Look at the cluster, with so many pieces of work left.

        Raises
        ------
        VigieError: there were workers, and there has been none for `limit_s`.
        """
        if self.workers():
            self.lost_since = None
        elif not self.arrived():
            if not self.waiting:
                log.info("engine: the cluster has no worker yet, waiting for the first one")
            self.waiting = True
        elif self.lost_since is None:
            self.lost_since = self.clock()
        elif self.clock() - self.lost_since >= self.limit_s:
            raise VigieError(
                "the Dask cluster has lost all of its workers",
                found=f"none for {self.limit_s:g} s, with {left} piece(s) of work left",
                expected="workers that come back, or others in their place",
                do="read their logs (out of memory, out of time, other packages than here?), mend that and run again: what is "
                "done is kept; where workers queue for long, raise engine.without_workers_s",
            )


@dataclass(frozen=True)
class Dask:
    """A Dask cluster: one that runs already (`address`), one on this machine (`workers`), or Slurm jobs (`slurm`).

    A worker that dies has its tiles done again by another, and an OSError is tried again, up to `retries` times: work must be
    idempotent. Any other fault would come again, and ends the work at once. So does a cluster that had workers and is without
    any for `without_workers_s`.
    """

    address: str | None = None
    workers: int = 2
    slurm: Slurm | None = None
    retries: int = 3
    timeout_s: float = 30.0
    without_workers_s: float = WITHOUT_WORKERS_S

    def map(self, work: Callable[[K], V], keys: Iterable[K]) -> Iterator[V]:
        """Yield work(key) for every key as workers finish."""
        from distributed.protocol.pickle import dumps

        with self._client() as client:
            watch, done = self._watch(client), SimpleQueue[Any]()
            packed = [dumps(key) for key in keys]
            futures = client.map(attempt(dumps(work)), packed, retries=self.retries, pure=False)
            for future in futures:
                future.add_done_callback(done.put)
            for left in range(len(futures), 0, -1):
                with clear_errors():
                    told, value = watch.result_of(watch.next_of(done, left), left)
                yield _value(told, value)

    def _watch(self, client: Any) -> Watch:
        """Watch the workers that a scheduler has, and has had since now."""

        def workers() -> int:
            with clear_errors(OSError):
                return len(client.nthreads())

        def arrivals() -> int:
            with clear_errors(OSError):
                return sum(event.get("action") == "add-worker" for _, event in client.get_events("all"))

        before, present = arrivals(), workers()
        return Watch(workers, lambda: present + arrivals() - before, self.without_workers_s)

    def _client(self) -> Any:
        from distributed import Client, LocalCluster

        @contextmanager
        def connect() -> Iterator[Any]:
            with ExitStack() as stack:
                target: Any = self.address
                if self.slurm is not None:
                    target = stack.enter_context(self.slurm.cluster())
                    target.scale(jobs=self.slurm.jobs)
                elif target is None:
                    target = stack.enter_context(
                        LocalCluster(n_workers=self.workers, threads_per_worker=1, dashboard_address=ANY_PORT)
                    )
                try:
                    client = stack.enter_context(Client(target, timeout=self.timeout_s))
                except OSError as error:
                    raise VigieError(
                        "the Dask scheduler cannot be reached",
                        found=f"{self.address} ({error})",
                        expected="a running scheduler",
                        do="start one with `dask scheduler`, or leave the address out to use this machine",
                    ) from error
                yield client

        return connect()


@contextmanager
def clear_errors(lost: type[Exception] = CancelledError) -> Iterator[None]:
    """Tell in our words of work that takes its workers with it, and of a scheduler that is lost."""
    from distributed import KilledWorker

    try:
        yield
    except lost as error:
        raise VigieError(
            "the Dask scheduler is lost",
            found=error,
            expected="a scheduler that runs until the work is done",
            do="start it again and run once more: what is done is kept",
        ) from error
    except KilledWorker as error:
        raise VigieError(
            "a piece of work kills every worker that does it",
            found=f"{error.allowed_failures + 1} workers lost, the last one at {error.last_worker.address}",
            expected="workers with the memory that it needs",
            do="read the workers' logs; make tiles smaller, or workers larger",
        ) from error


def _value(told: str, value: Any) -> Any:
    """What work gave, or its error."""
    if told == "failed":
        raise value
    if told == "unpacking":
        raise VigieError(
            "the workers of the Dask cluster cannot unpack the work",
            found=value,
            expected="the packages that are installed here, in the same versions",
            do="start the workers in the environment of this process",
        )
    return value
