"""The service's HTTP side: a FastAPI application around something that draws."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Query, Response, Security
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST
from pydantic import BaseModel

from pixart_fleet.batching import Painted
from pixart_fleet.crew import MOST_TRIES, first_line
from pixart_fleet.gauges import Gauges
from pixart_fleet.guard import Admission, Full, Guard
from pixart_fleet.jobs import Job
from pixart_fleet.limits import Limits
from pixart_fleet.waiting import Status, Ticket, Tickets
from pixart_fleet.wishes import Wish, job_of, seed_of, wish_model
from pixart_fleet.worker import NotDrawn
from pixart_fleet.workflow import Workflow

_MOST_BYTES = 64 * 1024
_MEDIA = {".png": "image/png", ".webp": "image/webp", ".jpg": "image/jpeg"}
_READY_SECONDS = 5.0


@dataclass(frozen=True)
class PageFacts:
    """What the HTTP side is told."""

    workflow: Workflow
    queue: int
    """Requests under way at once."""
    seconds: float
    """How long one may take."""
    key: str = ""
    limits: Limits = field(default_factory=Limits)


class JobState(BaseModel):
    """Where a job stands."""

    id: str
    status: Status
    error: str = ""


class Problem(BaseModel):
    """Why there is no picture."""

    detail: str


class State(BaseModel):
    """Whether the service is well."""

    status: str


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The body is no text in UTF-8."},
    401: {"model": Problem, "description": "The key is missing or wrong."},
    404: {"model": Problem, "description": "There is no such job, or it is forgotten."},
    409: {"model": Problem, "description": "The picture is not there yet."},
    413: {"model": Problem, "description": "The request is too long."},
    429: {"model": Problem, "description": "Too many requests are under way."},
    502: {"model": Problem, "description": "ComfyUI could not draw it; the text is what it said."},
    503: {"model": Problem, "description": "No worker can draw now."},
    504: {"model": Problem, "description": "It took too long."},
}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The picture.",
        "content": {"image/png": {"schema": {"type": "string", "format": "binary"}}},
        "headers": {
            "X-PixArt-Seed": {"description": "What draws it again.", "schema": {"type": "string"}}
        },
    }
}
_JOB: dict[int | str, dict[str, Any]] = {
    202: {"model": JobState, "description": "The job, where `wait` is false."}
}


class Page:
    """Answers requests by ``draw``; ``is_ready`` tells whether a worker could."""

    def __init__(
        self,
        facts: PageFacts,
        draw: Callable[[Job], Awaitable[Painted | NotDrawn]],
        is_ready: Callable[[], Awaitable[bool]],
    ) -> None:
        self._facts, self._draw, self._is_ready = facts, draw, is_ready
        self._admission = Admission(facts.queue)
        self._gauges = Gauges(self._admission)
        self._tickets = Tickets()
        self._tasks: set[asyncio.Task[None]] = set()

    async def picture(self, wish: Wish, wait: bool) -> Response:
        """Draw a picture, or take a job."""
        job = job_of(wish, self._facts.workflow)
        try:
            if not wait:
                return self._take_job(job)
            with self._admission.one():
                ticket = Ticket()
                await self._fill(ticket, job)
        except Full:
            self._gauges.requests.labels(429).inc()
            detail = f"{self._admission.most} requests are under way, which is the most."
            raise HTTPException(429, detail, {"Retry-After": "1"}) from None
        return _picture_of(ticket, seed_of(job, self._facts.workflow))

    async def job(self, name: str) -> JobState:
        """Tell where a job stands."""
        ticket = self._find(name)
        return JobState(id=ticket.id, status=ticket.status, error=ticket.error)

    async def job_picture(self, name: str) -> Response:
        """Give the picture of a job."""
        ticket = self._find(name)
        if ticket.status == "waiting":
            raise HTTPException(409, "The picture is not there yet.")
        return _picture_of(ticket, None)

    async def health(self) -> State:
        """Tell that this process answers."""
        return State(status="ok")

    async def ready(self) -> State:
        """Tell whether a worker could draw."""
        try:
            is_ready = await asyncio.wait_for(self._is_ready(), _READY_SECONDS)
        except Exception as error:  # whatever keeps the workers from answering
            raise HTTPException(503, f"No worker answers ({type(error).__name__}).") from error
        if not is_ready:
            raise HTTPException(503, "The worker's ComfyUI does not answer.")
        return State(status="ready")

    async def metrics(self) -> Response:
        """Tell Prometheus."""
        return Response(self._gauges.text(), media_type=CONTENT_TYPE_LATEST)

    def _take_job(self, job: Job) -> Response:
        admitted = self._admission.one()
        admitted.__enter__()
        ticket = self._tickets.new()

        async def fill() -> None:
            try:
                await self._fill(ticket, job)
            finally:
                self._tickets.end(ticket)
                admitted.__exit__(None, None, None)

        task = asyncio.create_task(fill())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        body = JobState(id=ticket.id, status="waiting").model_dump_json()
        return Response(body, 202, media_type="application/json")

    async def _fill(self, ticket: Ticket, job: Job) -> None:
        """Have a job drawn, and put the picture or the error into its ticket."""
        began = time.monotonic()
        try:
            painted = await asyncio.wait_for(self._try(job), self._facts.seconds)
        except TimeoutError:
            ticket.code, ticket.error = 504, f"Not drawn within {self._facts.seconds:g} s."
        except Exception as error:  # a worker ended, or none can be started
            ticket.code, ticket.error = 503, f"No worker could draw it: {first_line(error)}"
        else:
            if isinstance(painted, NotDrawn):
                ticket.code, ticket.error = 502, painted.reason
            else:
                self._keep(ticket, painted, time.monotonic() - began)
        self._gauges.requests.labels(ticket.code or 200).inc()

    async def _try(self, job: Job) -> Painted | NotDrawn:
        """Draw; again where the host ended, which may have been another request's doing."""
        for _ in range(MOST_TRIES - 1):
            painted = await self._draw(job)
            if isinstance(painted, Painted) or painted.is_final:
                return painted
        return await self._draw(job)

    def _keep(self, ticket: Ticket, painted: Painted, seconds: float) -> None:
        file = painted.files[0]
        ticket.picture = file.content or b""
        ticket.media = _MEDIA.get(Path(file.name).suffix, "application/octet-stream")
        self._gauges.seconds.observe(seconds)
        self._gauges.batch.observe(painted.batch)

    def _find(self, name: str) -> Ticket:
        ticket = self._tickets.find(name)
        if ticket is None:
            raise HTTPException(404, "There is no such job, or it is forgotten.")
        return ticket


def application(page: Page, facts: PageFacts) -> FastAPI:
    """Return the ASGI application of a page."""
    app = FastAPI(
        title="PixArt fleet",
        version="1",
        description="Draws pictures from prompts.",
        docs_url=None,  # they load scripts from elsewhere
        redoc_url=None,
    )
    model = wish_model(facts.workflow, facts.limits)

    async def picture(wish: Any, wait: bool) -> Response:
        return await page.picture(wish, wait)

    picture.__annotations__ |= {"wish": model, "wait": bool}
    picture.__defaults__ = (Query(True, description="False gives a job to ask for later."),)
    locked = {"dependencies": [Security(HTTPBearer(auto_error=False))]} if facts.key else {}
    _add(
        app,
        "POST",
        "/v1/pictures",
        picture,
        responses=_PICTURE | _JOB | _some(400, 401, 413, 429, 502, 503, 504),
        response_class=Response,
        **locked,
    )
    _add(app, "GET", "/v1/jobs/{name}", page.job, responses=_some(401, 404), **locked)
    _add(
        app,
        "GET",
        "/v1/jobs/{name}/picture",
        page.job_picture,
        responses=_PICTURE | _some(401, 404, 409, 502, 503, 504),
        response_class=Response,
        **locked,
    )
    text: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {}}}}
    _add(
        app,
        "GET",
        "/metrics",
        page.metrics,
        responses=text | _some(401),
        response_class=Response,
        **locked,
    )
    _add(app, "GET", "/health", page.health)
    _add(app, "GET", "/ready", page.ready, responses=_some(503))
    app.add_middleware(Guard, key=facts.key, most_bytes=_MOST_BYTES)
    return app


def _add(app: FastAPI, method: str, path: str, answer: Any, **more: Any) -> None:
    app.add_api_route(path, answer, methods=[method], **more)


def _some(*codes: int) -> dict[int | str, dict[str, Any]]:
    return {code: _PROBLEMS[code] for code in codes}


def _picture_of(ticket: Ticket, seed: int | None) -> Response:
    if ticket.error:
        raise HTTPException(ticket.code, ticket.error)
    headers = {} if seed is None else {"X-PixArt-Seed": str(seed)}
    return Response(ticket.picture, media_type=ticket.media, headers=headers)
