"""The service as a Ray Serve application: painters that own a host, and a page before them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ray import serve

from pixart_fleet.batching import Batcher, Painted
from pixart_fleet.cluster import Share
from pixart_fleet.jobs import Job
from pixart_fleet.page import Page, PageFacts, application
from pixart_fleet.worker import NotDrawn, Task, Worker

NAME = "pixart"
_PAINTER = "Painter"


@dataclass(frozen=True)
class Scale:
    """How many painters, and what each does at once."""

    least: int
    most: int
    share: Share
    batch: int
    batch_seconds: float


class Painter:
    """A replica: one worker, and the requests that wait for it."""

    async def __init__(self, task: Task, scale: Scale) -> None:  # type: ignore[misc]
        self._worker = Worker(task)
        await self._worker.ready()
        self._batcher = Batcher(self._worker.draw, task.workflow, scale.batch, scale.batch_seconds)

    async def draw(self, job: Job) -> Painted | NotDrawn:
        """Draw a job, with others where they fit."""
        return await self._batcher.draw(job)

    async def check(self) -> bool:
        """Tell whether the host answers."""
        return await self._worker.check()

    async def __del__(self) -> None:
        """End the host; Serve calls this when it takes a replica away."""
        await self._worker.stop()


def service(task: Task, scale: Scale, facts: PageFacts) -> Any:
    """Return the application, for ``serve.run``."""
    painter = serve.deployment(
        name=_PAINTER,
        max_ongoing_requests=max(2 * scale.batch, 2),
        ray_actor_options={"num_cpus": scale.share.cpus, "num_gpus": scale.share.gpus},
        **_replicas(scale),
    )(Painter)

    def build() -> Any:
        """Make the page, in the replica that serves it."""
        handle = serve.get_deployment_handle(_PAINTER, app_name=NAME)
        page = Page(facts, handle.draw.remote, handle.check.remote)
        return application(page, facts)

    # One, because its jobs are kept in its memory. It only passes on.
    page = serve.deployment(
        name="Page",
        num_replicas=1,
        max_ongoing_requests=4 * facts.queue + 64,
        ray_actor_options={"num_cpus": 0},
    )(serve.ingress(build)())
    return page.bind(painter.bind(task, scale))


def _replicas(scale: Scale) -> dict[str, Any]:
    if scale.least == scale.most:
        return {"num_replicas": scale.least}
    bounds = {
        "min_replicas": scale.least,
        "initial_replicas": scale.least,
        "max_replicas": scale.most,
        "target_ongoing_requests": scale.batch,
    }
    return {"autoscaling_config": bounds}
