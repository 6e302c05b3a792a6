"""``python -m pixart_fleet serve``, as its clients and Prometheus see it."""

from __future__ import annotations

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import requests
from PIL import Image

from devtools.environment import ROOT
from devtools.server import free_port
from pixart_fleet.batching import Painted
from pixart_fleet.host import HostFacts
from pixart_fleet.jobs import Job
from pixart_fleet.options import KEY_VARIABLE
from pixart_fleet.page import Page, PageFacts, application
from pixart_fleet.worker import DrawnFile, NotDrawn

from .conftest import OneServer
from .lists import jobs_for, prompts, small_workflow, write_workflow
from .processes import hosts, marked, wait_until

KEY = "the-key-of-this-test"
QUEUE = 10
SIZE = {"width": 64, "height": 64}


@dataclass(frozen=True)
class Service:
    """A service that runs, and the mark of its processes."""

    address: str
    mark: str
    process: subprocess.Popen[bytes]

    def get(self, path: str, **more: Any) -> requests.Response:
        return requests.get(self.address + path, headers=_headers(), timeout=150, **more)

    def draw(self, wish: dict[str, Any], **more: Any) -> requests.Response:
        url = f"{self.address}/v1/pictures"
        return requests.post(url, json=wish, headers=_headers(), timeout=150, **more)

    def together(self, wishes: list[dict[str, Any]]) -> list[requests.Response]:
        with ThreadPoolExecutor(len(wishes)) as pool:
            return list(pool.map(self.draw, wishes))

    def metric(self, name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        return float(found[1]) if found else 0.0

    def is_ready(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError("the service has ended by itself")
        try:
            return requests.get(f"{self.address}/ready", timeout=10).status_code == 200
        except requests.RequestException:
            return False


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {KEY}"}


@pytest.fixture(scope="module")
def service(facts: HostFacts, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One worker, batches of four; it is stopped by Ctrl-C and must leave nothing behind."""
    folder, port, mark = tmp_path_factory.mktemp("service"), free_port(), uuid.uuid4().hex
    command = [
        *(sys.executable, "-m", "pixart_fleet", "serve", "--port", str(port), "--batch", "4"),
        *("--workflow", str(write_workflow(small_workflow(), folder))),
        *("--comfyui", str(facts.comfyui), "--python", str(facts.python)),
        *("--models", str(facts.models), "--pack", str(facts.pack)),
        *("--queue", str(QUEUE), "--longest-side", "64", "--most-steps", "2"),
    ]
    variables = {**os.environ, KEY_VARIABLE: KEY, "PIXART_TEST_MARK": mark}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=variables, stderr=log, start_new_session=True
        )
    running = Service(f"http://127.0.0.1:{port}", mark, process)
    try:
        wait_until(running.is_ready, 240, "ready")
        yield running
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
        wait_until(lambda: not marked(mark), 20, "no process left of a service")
    finally:
        process.kill()
        process.wait()


def test_a_picture_is_one_servers(service: Service, one_server: OneServer) -> None:
    workflow = small_workflow()
    wish = {"prompt": "a red star", "negative": "blurry", "seed": 2**53 - 1}
    places = {("3", "text"): "a red star", ("4", "text"): "blurry", ("6", "seed"): 2**53 - 1}
    wanted = one_server.picture(workflow.with_values(places))
    answer = service.draw(wish)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert answer.headers["x-pixart-seed"] == str(2**53 - 1)
    assert answer.content == wanted


def test_requests_that_come_together_are_drawn_together(
    service: Service, one_server: OneServer
) -> None:
    wishes = [{"prompt": p, "seed": n, **SIZE} for n, p in enumerate(prompts(8))]
    before = [service.metric(f"pixart_batch_size_{part}") for part in ("sum", "count")]
    answers = service.together(wishes)
    assert [answer.status_code for answer in answers] == [200] * 8
    after = [service.metric(f"pixart_batch_size_{part}") for part in ("sum", "count")]
    mean = (after[0] - before[0]) / (after[1] - before[1])
    assert mean > 1.5, "most were drawn with others"
    workflow = small_workflow()
    names = {"prompt": ("3", "text"), "seed": ("6", "seed")}
    names |= {name: ("5", name) for name in SIZE}
    for wish, answer in zip(wishes, answers, strict=True):
        (job,) = jobs_for(workflow, [{names[name]: value for name, value in wish.items()}])
        alone = one_server.picture(workflow.with_values(job.values))
        pair = [
            np.asarray(Image.open(io.BytesIO(one)), np.int16) for one in (alone, answer.content)
        ]
        assert np.abs(pair[0] - pair[1]).max() <= 1


def test_more_than_the_queue_holds_is_turned_away(service: Service) -> None:
    wishes = [{"prompt": f"star {number}", "seed": number, **SIZE} for number in range(4 * QUEUE)]
    answers = service.together(wishes)
    codes = [answer.status_code for answer in answers]
    assert set(codes) == {200, 429}
    assert codes.count(200) >= QUEUE
    turned_away = answers[codes.index(429)]
    assert turned_away.headers["retry-after"] == "1"
    assert turned_away.json() == {"detail": "10 requests are under way, which is the most."}
    assert service.metric('pixart_requests_total{status="429"}') == codes.count(429)
    assert service.metric("pixart_waiting") == 0
    assert service.draw(wishes[0]).status_code == 200


def test_a_job_is_fetched_later(service: Service) -> None:
    taken = service.draw({"prompt": "a green square", "seed": 3}, params={"wait": "false"})
    assert taken.status_code == 202
    path = f"/v1/jobs/{taken.json()['id']}"
    early = service.get(f"{path}/picture").status_code
    assert early in (200, 409)
    wait_until(lambda: service.get(path).json()["status"] == "done", 30, "done")
    at_once = service.draw({"prompt": "a green square", "seed": 3})
    assert service.get(f"{path}/picture").content == at_once.content
    assert service.get("/v1/jobs/none").status_code == 404


def test_a_host_that_dies_costs_no_request(service: Service) -> None:
    (host,) = hosts(service.mark)
    wishes = [{"prompt": p, "seed": n, **SIZE} for n, p in enumerate(prompts(8))]
    with ThreadPoolExecutor(1) as pool:
        answers = pool.submit(service.together, wishes)
        os.kill(host, signal.SIGKILL)
        assert [answer.status_code for answer in answers.result()] == [200] * 8
    assert hosts(service.mark) != [host]
    assert service.is_ready()


def test_it_is_what_its_description_says(service: Service, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{service.address}/openapi.json"),
        *("--header", f"Authorization: Bearer {KEY}", "--max-examples", "6", "--seed", "1"),
        *("--request-timeout", "60", "--workers", "1", "--no-color"),
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    described = service.get("/openapi.json").json()
    assert described["components"]["securitySchemes"]["HTTPBearer"]["scheme"] == "bearer"


async def _ready() -> bool:
    return False


def answer_of(draw: Callable[[Job], Awaitable[Painted | NotDrawn]]) -> tuple[int, Any, int]:
    """What a page says whose drawing is ``draw``, and how often it was called."""
    calls = 0

    async def counted(job: Job) -> Painted | NotDrawn:
        nonlocal calls
        calls += 1
        return await draw(job)

    async def ask() -> tuple[int, Any]:
        facts = PageFacts(small_workflow(), queue=1, seconds=0.2)
        app = application(Page(facts, counted, _ready), facts)
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://page") as client:
            assert (await client.get("/ready")).status_code == 503
            said = await client.post("/v1/pictures", json={"prompt": "a"})
            is_json = said.headers["content-type"] == "application/json"
            return said.status_code, said.json()["detail"] if is_json else said.content

    return (*asyncio.run(ask()), calls)


def test_what_goes_wrong_behind_the_page_is_said() -> None:
    fate: list[NotDrawn | Exception] = []

    async def draw(job: Job) -> Painted | NotDrawn:
        one = fate.pop(0) if fate else Painted((DrawnFile("a.png", b"png"),), 0.1, 1)
        if isinstance(one, Exception):
            raise one
        return one

    async def sleep(job: Job) -> Painted | NotDrawn:
        await asyncio.sleep(5)
        raise AssertionError("nobody waits any more")

    assert answer_of(draw) == (200, b"png", 1)
    fate += [NotDrawn("ComfyUI ended"), NotDrawn("ComfyUI ended")]
    assert answer_of(draw) == (200, b"png", 3)
    fate += [NotDrawn("ended")] * 3
    assert answer_of(draw) == (502, "ended", 3)
    fate[:] = [NotDrawn("KSampler: no", is_final=True)]
    assert answer_of(draw) == (502, "KSampler: no", 1)
    fate[:] = [RuntimeError("the actor\ndied")]
    assert answer_of(draw) == (503, "No worker could draw it: the actor", 1)
    assert answer_of(sleep) == (504, "Not drawn within 0.2 s.", 1)
