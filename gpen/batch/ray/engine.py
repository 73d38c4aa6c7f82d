"""The Ray engine: spreads the photos of a run over the machines of a Ray cluster.

Photos are the rows of a Ray dataset, and each worker is an actor with its own network. Only paths and results are sent
between machines; pictures stay in files on a shared file system.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import os
import re
import secrets
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import GpenError, OptionError
from ...faces.tracking.texture import LOOK_BACK
from ...restoration.networks import title_by_size
from ...restoration.pipeline import OnProgress
from ...restoration.upscaler import OnTile
from ...threads import thread_variables
from ...weights.checkpoint import inspect
from ...wording import count, first_line, pip_install
from ..config import RunConfig
from ..plan import Job
from ..report import PhotoResult
from ..stages import exists
from .journal import Journal
from .worker import Worker, as_row

_ADDRESS = re.compile(r"[^:/]+:\d{1,5}")
_CONNECTING = 20  # seconds
_MOST_CPUS = 4  # per worker: a network gains little from more, another worker gains more
_MOST_ROWS = 16  # per Ray task: few enough to report results soon, enough to overlap reading and writing
_FRAMES = 4 * LOOK_BACK, 16 * LOOK_BACK
"""The least and the most of them where each task begins with frames that others restore too."""


@dataclass(frozen=True)
class Pool:
    """The workers of a run."""

    workers: int
    """Number of workers."""
    cpus: int
    """CPUs per worker."""
    device: str
    """The device of their networks, "cpu" or "cuda"."""

    @property
    def title(self) -> str:
        """For users: how many workers, and what each has."""
        return f"{count(self.workers, 'Ray worker')}, each on {self.device} with {count(self.cpus, 'CPU')}"


class RayEngine:
    """Runs a batch on a Ray cluster: the one at RAY_ADDRESS, else the one running on this machine, else a new one.

    results: the folder of all results. workers, cpus: the number of workers, and of CPUs for each; None for what the
    cluster has. GpenError if the run cannot start, because Ray or a model is missing for example.
    """

    def __init__(self, config: RunConfig, results: Path, workers: int | None, cpus: int | None) -> None:
        config.check()  # fail now rather than once for every photo
        config = config.with_mask_chosen()  # every worker has to choose the same
        self._ray, self._pool = join_cluster(config.device, workers, cpus)
        self._config = dataclasses.replace(config, device=self._pool.device).absolute()
        self._journal = Journal(results.absolute(), secrets.token_hex(6))
        specs = [inspect(weights).spec for weights in (config.weights, *(config.other_weights or ()))]
        networks = f"{specs[0].title} ({config.weights.name})"
        if config.other_weights:
            networks = title_by_size(spec.out_size for spec in specs)
        self.title = f"{networks} on {self._pool.title}"
        if not config.task.is_aligned(config.aligned):
            self.title += f", faces from {config.faces or config.options.detector}"
            if config.needs.mask is not None:
                self.title += f", {config.options.mask} mask"
        if config.background is not None:
            self.title += f", background from {config.background.name}"

    def run(
        self,
        jobs: Sequence[Job],
        starts: Callable[[Job], OnProgress],
        ends: Callable[[PhotoResult], None],
        on_tile: OnTile | None = None,
    ) -> None:
        """Process the photos that have no result yet; ``ends`` is called as results arrive, in any order.

        starts, on_tile: never called, because photos are processed elsewhere. GpenError if the cluster fails; finished
        results stay, and running the same again does the rest.
        """
        self._journal.open()
        try:
            todo = []
            for number, job in enumerate(jobs):
                if job.has_result and not self._config.output.overwrite:
                    ends(exists(job))
                else:
                    todo.append((number, job))
            for number, content in self._results(todo):
                ends(PhotoResult.from_json(jobs[number], content))
        except self._ray.exceptions.RayError as error:
            raise GpenError(
                f"The Ray cluster failed ({first_line(error)}). Finished results stay; run it again to do the rest."
            ) from error
        finally:
            self._ray.shutdown()

    def known(self, jobs: Sequence[Job]) -> dict[str, dict[str, Any]]:
        """See :class:`~gpen.batch.engine.Engine`."""
        if not self._journal.folder.is_dir():
            return {}
        pairs = ((job, self._journal.done(_absolute(job), earlier=True)) for job in jobs)
        return {
            str(job.photo.path): dataclasses.replace(entry, job=job).as_json()
            for job, entry in pairs
            if entry is not None
        }

    def reported(self) -> None:
        """See :class:`~gpen.batch.engine.Engine`: the journal is needed until the run is finished."""

    def close(self) -> None:
        """Remove the journal, which only an unfinished run needs."""
        self._journal.remove()

    def _results(self, todo: Sequence[tuple[int, Job]]) -> Iterator[tuple[int, dict[str, Any]]]:
        if not todo:
            return
        from ray import data

        least, most = _FRAMES if self._config.has_steady_texture else (1, _MOST_ROWS)
        rows = max(least, min(most, math.ceil(len(todo) / (4 * self._pool.workers))))
        tasks = math.ceil(len(todo) / rows)
        dataset = data.from_items([as_row(*job) for job in todo], override_num_blocks=tasks).map_batches(
            Worker,
            batch_size=None,
            compute=data.ActorPoolStrategy(size=min(self._pool.workers, tasks), max_tasks_in_flight_per_actor=2),
            fn_constructor_args=(self._config, self._journal, self._pool.cpus),
            num_cpus=self._pool.cpus,
            num_gpus=1 if self._pool.device == "cuda" else 0,
        )
        for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0):
            for number, text in zip(batch["number"], batch["entry"], strict=True):
                yield int(number), json.loads(text)


def join_cluster(device: str, workers: int | None, cpus: int | None) -> tuple[Any, Pool]:
    """The module ray, connected as :func:`connected`, and the workers of a run there; arguments as :class:`RayEngine`.

    GpenError, and nothing connected, where there is no cluster or no worker could ever start.
    """
    ray = connected()
    try:
        return ray, plan_pool(ray.nodes(), device, workers, cpus)
    except BaseException:
        ray.shutdown()
        raise


def plan_pool(nodes: Sequence[dict[str, Any]], device: str, workers: int | None, cpus: int | None) -> Pool:
    """Choose the workers for the nodes of a cluster (from ``ray.nodes()``); GpenError if no worker could ever start."""
    machines = [(int(r.get("CPU", 0)), int(r.get("GPU", 0))) for r in (n["Resources"] for n in nodes if n["Alive"])]
    if device not in ("auto", "cpu", "cuda"):
        raise OptionError(
            f"The device is {device!r}; on a Ray cluster it has to be auto, cpu or cuda: Ray chooses among the GPUs."
        )
    with_gpu = [machine for machine in machines if machine[1]]
    if device == "cuda" and not with_gpu:
        raise GpenError("No machine of the Ray cluster has a GPU. Use auto or cpu.")
    if with_gpu and device != "cpu":
        device = "cuda"
        cpus = cpus or min(_MOST_CPUS, *(max(1, cores // gpus) for cores, gpus in with_gpu))
        room = sum(min(gpus, cores // cpus) for cores, gpus in with_gpu)
        largest = max(cores for cores, _ in with_gpu)
    else:
        device = "cpu"
        largest = max((cores for cores, _ in machines), default=0)
        cpus = cpus or min([_MOST_CPUS, *(cores for cores, _ in machines if cores)])
        room = sum(cores // cpus for cores, _ in machines)
    if not room:
        raise GpenError(
            f"No machine of the Ray cluster has {count(cpus, 'CPU')} for a worker; the largest has {largest}. "
            "Ask for fewer CPUs per worker, or start a larger machine with `ray start`."
        )
    return Pool(workers or room, cpus, device)


def connected() -> Any:
    """The module ray, connected to the cluster at RAY_ADDRESS, or one on this machine; GpenError where that fails."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise GpenError(f"The Ray engine needs Ray ({first_line(error)}). Install it: {pip_install('ray')}") from error
    where = os.environ.get("RAY_ADDRESS", "")
    try:
        if _ADDRESS.fullmatch(where):  # Ray itself would retry for minutes
            host, _, port = where.rpartition(":")
            socket.create_connection((host, int(port)), timeout=_CONNECTING).close()
        ray.init(
            include_dashboard=False,
            logging_level=logging.ERROR,
            log_to_driver=False,
            # Workers may run on other machines, and import PyTorch before any code of ours.
            runtime_env={"env_vars": thread_variables()},
        )
    except Exception as error:  # from the operating system, gRPC or Ray
        what = f"The Ray cluster at {where} (RAY_ADDRESS) cannot be reached" if where else "Ray cannot be started"
        raise GpenError(f"{what}: {first_line(error)}.") from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    # One photo may take an hour, and a machine may take as long to join.
    context.execution_no_progress_timeout_s = -1
    context.wait_for_min_actors_s = -1
    return ray


def _absolute(job: Job) -> Job:
    photo = dataclasses.replace(job.photo, path=job.photo.path.absolute())
    return dataclasses.replace(job, photo=photo, target=job.target.absolute())
