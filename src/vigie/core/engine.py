"""Engines run the same work here, in threads, or on a Dask cluster; results do not depend on which."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from vigie.core.errors import VigieError

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
        )

    def job_script(self) -> str:
        """Write the job script that one worker would be submitted with."""
        with self.cluster() as cluster:
            return str(cluster.job_script())


@dataclass(frozen=True)
class Failed:
    """What a worker gives back of work that failed and would fail again."""

    error: Exception


@dataclass(frozen=True)
class Attempt(Generic[K, V]):
    """Work as a worker does it: an OSError is raised, since a disk may do better next time; other faults are given back.

    Examples
    --------
    >>> Attempt(lambda key: 1 / key)(0)
    Failed(error=ZeroDivisionError('division by zero'))
    """

    work: Callable[[K], V]

    def __call__(self, key: K) -> V | Failed:
        """Do one piece."""
        try:
            return self.work(key)
        except OSError:
            raise
        except Exception as error:
            error.add_note(traceback.format_exc())
            return Failed(error)


@dataclass(frozen=True)
class Dask:
    """A Dask cluster: one that runs already (`address`), one on this machine (`workers`), or Slurm jobs (`slurm`).

    A worker that dies has its tiles done again by another, and an OSError is tried again, up to `retries` times: work must be
    idempotent. Any other fault would come again, and ends the work at once.
    """

    address: str | None = None
    workers: int = 2
    slurm: Slurm | None = None
    retries: int = 3
    timeout_s: float = field(default=30.0)

    def map(self, work: Callable[[K], V], keys: Iterable[K]) -> Iterator[V]:
        """Yield work(key) for every key as workers finish."""
        from distributed import as_completed

        with self._client() as client:
            futures = client.map(Attempt(work), list(keys), retries=self.retries, pure=False)
            for _, result in as_completed(futures, with_results=True):
                if isinstance(result, Failed):
                    raise result.error
                yield result

    def _client(self) -> Any:
        from contextlib import ExitStack, contextmanager

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
                        LocalCluster(n_workers=self.workers, threads_per_worker=1, dashboard_address=None)
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
