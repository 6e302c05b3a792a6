"""``python -m pixart_fleet serve``: pictures over HTTP, until it is stopped."""

from __future__ import annotations

import signal
import sys
import time
from types import FrameType

from pixart_fleet.cluster import import_ray, joined
from pixart_fleet.conditions import check_listening, check_places, check_saving
from pixart_fleet.options import ServeOptions
from pixart_fleet.worker import Task
from pixart_fleet.workflow import read_workflow

_KEEP_ALIVE_SECONDS = 65


def serve(options: ServeOptions) -> int:
    """Serve until Ctrl-C or SIGTERM. Raises FleetError where it cannot start."""
    workflow = read_workflow(options.workflow)
    check_saving(workflow, options.workflow)
    check_places(options)
    check_listening(options)
    import_ray()
    from pixart_fleet.page import PageFacts
    from pixart_fleet.service import NAME, Scale, service

    scale = Scale(
        options.least_workers,
        options.most_workers,
        options.share,
        options.batch,
        options.batch_wait_seconds,
    )
    facts = PageFacts(workflow, options.queue, options.wait_seconds, options.key, options.limits)
    app = service(Task(options.facts, workflow, options.job_seconds), scale, facts)
    signal.signal(signal.SIGTERM, _leave)
    with joined(options.ray_address, options.most_workers, options.share):
        from ray import serve as ray_serve

        http = {
            "host": options.host,
            "port": options.port,
            "keep_alive_timeout_s": _KEEP_ALIVE_SECONDS,
        }
        try:
            ray_serve.start(http_options=http)
            ray_serve.run(app, name=NAME, route_prefix="/")
            sys.stderr.write(f"listening on http://{options.host}:{options.port}\n")
            sys.stderr.flush()
            while True:
                time.sleep(3600)
        finally:
            ray_serve.shutdown()


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
