"""The way into Ray: a cluster by its address, or one of our own on this machine."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pixart_fleet.errors import FleetError
from pixart_fleet.worker import Task, Worker

_STORE_BYTES = 256 * 2**20
"""For Ray's object store on this machine; pictures pass through it and do not stay."""

_VARIABLES = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Its own default is 15, which starves a host beside anything else that computes.
    "RAY_worker_niceness": "0",
    # On a busy machine Serve else ends its proxy before it has started, again and again.
    "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "60",
    "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "60",
}


@dataclass(frozen=True)
class Share:
    """What each worker gets of a machine."""

    cpus: float
    gpus: float


def start_ray(address: str | None, workers: int, share: Share) -> None:
    """Join the cluster at ``address``, or start one here that is large enough.

    Raises FleetError where there is no Ray, or none at the address.
    """
    ray = import_ray()
    for name, value in _VARIABLES.items():
        os.environ.setdefault(name, value)
    if address is None:
        cpus = max(os.cpu_count() or 1, round(workers * share.cpus + 0.5))
        ray.init(
            address="local",
            num_cpus=cpus,
            include_dashboard=False,
            object_store_memory=_STORE_BYTES,
            log_to_driver=False,
        )
        return
    try:
        package = str(Path(__file__).parent)
        ray.init(address=address, runtime_env={"py_modules": [package]}, log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise FleetError(
            f"Could not join the Ray cluster at {address}",
            found=str(error).strip().splitlines()[0],
            expected="a cluster that answers",
            do="start one with `ray start --head`, or leave --ray-address out to use this machine",
        ) from error


@contextlib.contextmanager
def joined(address: str | None, workers: int, share: Share) -> Iterator[None]:
    """Be in a cluster for the length of a block."""
    start_ray(address, workers, share)
    try:
        yield
    finally:
        import_ray().shutdown()


def hiring(task: Task, share: Share) -> Callable[[], Any]:
    """Return what hires a worker for a task."""
    ray = import_ray()
    actor = ray.remote(Worker).options(num_cpus=share.cpus, num_gpus=share.gpus, max_restarts=0)
    told = ray.put(task)
    return lambda: actor.remote(told)


def dismiss(handles: Sequence[Any], seconds: float) -> None:
    """End workers, after ``seconds`` to put things in order; their hosts end with them."""
    ray = import_ray()
    if seconds:
        stopping = [handle.stop.remote() for handle in handles]
        ray.wait(stopping, num_returns=len(stopping), timeout=seconds)
    for handle in handles:
        ray.kill(handle)


def import_ray() -> Any:
    """Return Ray's module. Raises FleetError where it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise FleetError(
            "Could not start the fleet",
            found=f"no Ray ({error})",
            expected="what requirements-fleet.txt lists",
            do="run `python -m pip install -r requirements-fleet.txt`",
        ) from error
    return ray
