"""What stands before the service, each part by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from fastapi import FastAPI, Request
from pydantic import ValidationError

from pixart_fleet.batching import Batcher, Painted
from pixart_fleet.guard import Admission, Full, Guard
from pixart_fleet.jobs import Job
from pixart_fleet.limits import Limits
from pixart_fleet.waiting import Ticket, Tickets
from pixart_fleet.wishes import job_of, seed_of, wish_model
from pixart_fleet.worker import Drawn, DrawnFile, NotDrawn

from .lists import jobs_for, small_workflow

KEY = "a key with spaces"
PROMPT, SEED = ("3", "text"), ("6", "seed")


async def count(request: Request) -> dict[str, int]:
    return {"came": len(await request.body())}


@pytest.fixture
def guarded() -> httpx.AsyncClient:
    """An application that counts, behind the guard."""
    app = FastAPI()
    app.add_api_route("/count", count, methods=["POST"])
    app.add_api_route("/health", count, methods=["GET"])
    app.add_middleware(Guard, key=KEY, most_bytes=1000)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service")


async def ask(client: httpx.AsyncClient, content: Any, key: str = KEY) -> httpx.Response:
    return await client.post("/count", content=content, headers={"Authorization": f"Bearer {key}"})


def test_only_who_has_the_key_comes_in(guarded: httpx.AsyncClient) -> None:
    async def talk() -> None:
        assert (await ask(guarded, b"x")).json() == {"came": 1}
        for wrong in ("", "another", KEY[:-1], KEY + "x"):
            refused = await ask(guarded, b"x" * 2000, wrong)
            assert refused.status_code == 401
            assert refused.headers["www-authenticate"] == "Bearer"
        assert (await guarded.post("/count")).status_code == 401
        basic = {"Authorization": f"Basic {KEY}"}
        assert (await guarded.post("/count", headers=basic)).status_code == 401
        assert (await guarded.get("/health")).status_code == 200

    asyncio.run(talk())


def test_a_long_body_is_refused_said_or_not(guarded: httpx.AsyncClient) -> None:
    async def parts(number: int) -> Any:
        for _ in range(number):
            yield b"x" * 100

    async def talk() -> None:
        assert (await ask(guarded, b"x" * 1000)).json() == {"came": 1000}
        assert (await ask(guarded, parts(10))).json() == {"came": 1000}
        for content in (b"x" * 1001, parts(11)):
            refused = await ask(guarded, content)
            assert refused.status_code == 413
            assert refused.json() == {"detail": "The request is longer than 1000 bytes."}

    asyncio.run(talk())


def test_admission_counts_those_inside() -> None:
    admission = Admission(2)
    with admission.one():
        with admission.one(), pytest.raises(Full), admission.one():
            pass
        assert admission.count == 1
        with admission.one():
            pass
    assert admission.count == 0


def test_finished_jobs_are_forgotten_by_size_and_by_age() -> None:
    tickets = Tickets(most_bytes=10, seconds=0.2)
    made = [tickets.new() for _ in range(4)]
    for ticket in made[:3]:
        ticket.picture = b"12345"
        tickets.end(ticket)
    assert [tickets.find(ticket.id) for ticket in made] == [None, *made[1:]]
    assert [ticket.status for ticket in made] == ["done", "done", "done", "waiting"]
    time.sleep(0.25)
    assert [tickets.find(ticket.id) for ticket in made] == [None, None, None, made[3]]
    failed = Ticket(error="no", code=502)
    assert failed.status == "failed"


def test_a_wish_is_what_the_workflow_has_within_limits() -> None:
    workflow = small_workflow()
    model = wish_model(workflow, Limits(letters=20, side=64, steps=3))
    assert set(model.model_fields) == {
        *("prompt", "negative", "seed", "width", "height", "steps", "guidance")
    }
    described = model.model_json_schema()["properties"]
    assert described["height"].items() >= {"minimum": 16, "maximum": 128, "multipleOf": 16}.items()
    assert described["steps"].items() >= {"type": "integer", "minimum": 1, "maximum": 3}.items()
    seed, nothing = described["seed"]["anyOf"]
    assert (seed["minimum"], seed["maximum"], nothing) == (0, 2**53 - 1, {"type": "null"})
    job = job_of(model(prompt="a star", seed=7, steps=3), workflow)
    assert job == jobs_for(workflow, [{PROMPT: "a star", SEED: 7, ("6", "steps"): 3}])[0]
    lots = {seed_of(job_of(model(prompt="a"), workflow), workflow) for _ in range(20)}
    assert len(lots) == 20
    assert model(prompt="a", width=128.0) == model(prompt="a"), "as the workflow itself"
    for wrong in (
        {},
        {"prompt": "x" * 21},
        {"prompt": 5},
        {"prompt": "a", "steps": 4},
        {"prompt": "a", "steps": "2"},
        {"prompt": "a", "steps": 1.5},
        {"prompt": "a", "steps": True},
        {"prompt": "a", "width": 144},
        {"prompt": "a", "height": 100},
        {"prompt": "a", "seed": -1},
        {"prompt": "a", "seed": 2**53},
        {"prompt": "a", "guidance": float("nan")},
        {"prompt": "a", "colour": "red"},
    ):
        with pytest.raises(ValidationError):
            model(**wrong)


class Brush:
    """Notes what it is asked to draw, and refuses what has the seed 13."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []

    async def draw(self, jobs: Sequence[Job]) -> Drawn | NotDrawn:
        seeds = [job.values[SEED] for job in jobs]
        self.groups.append(seeds)
        await asyncio.sleep(0.02)
        if 13 in seeds:
            return NotDrawn("unlucky")
        files = tuple((DrawnFile(f"{seed}.png", b"%d" % seed),) for seed in seeds)
        return Drawn(files, 0.02, "here")


def drawn(size: int, rows: list[dict[Any, Any]]) -> tuple[list[Any], list[list[int]]]:
    """What each request gets, and the groups that were drawn for it."""
    workflow, brush = small_workflow(), Brush()

    async def ask_all() -> list[Any]:
        batcher = Batcher(brush.draw, workflow, size, 0.01)
        jobs = [jobs_for(workflow, [row])[0] for row in rows]
        return await asyncio.gather(*map(batcher.draw, jobs))

    return asyncio.run(ask_all()), brush.groups


def test_requests_that_fit_are_drawn_together_and_the_same_ones_once() -> None:
    rows = [{PROMPT: f"a {seed}", SEED: seed} for seed in (1, 2, 3)]
    apart = {PROMPT: "b", SEED: 4, ("6", "steps"): 3}
    results, groups = drawn(2, [rows[0], apart, rows[1], rows[0], rows[2]])
    assert groups == [[1, 2], [4], [3]]
    assert [(one.files[0].content, one.batch) for one in results] == [
        *((b"1", 2), (b"4", 1), (b"2", 2), (b"1", 2), (b"3", 1))
    ]


def test_one_that_is_refused_spoils_no_other() -> None:
    results, groups = drawn(4, [{PROMPT: f"a {seed}", SEED: seed} for seed in (11, 13, 17)])
    assert groups == [[11, 13, 17], [11], [13], [17]]
    assert [isinstance(one, Painted) for one in results] == [True, False, True]
    assert results[1] == NotDrawn("unlucky")


def test_what_nobody_waits_for_is_not_drawn() -> None:
    workflow, brush = small_workflow(), Brush()

    async def leave() -> None:
        batcher = Batcher(brush.draw, workflow, 1, 0.01)
        jobs = jobs_for(workflow, [{SEED: seed} for seed in (1, 2, 3)])
        first, second, third = (asyncio.create_task(batcher.draw(job)) for job in jobs)
        await asyncio.sleep(0.005)
        second.cancel()
        await asyncio.gather(first, third)

    asyncio.run(leave())
    assert brush.groups == [[1], [3]]
