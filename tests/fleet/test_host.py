"""A worker and its host, without Ray: pictures, sentences, deaths."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from devtools.inprocess import import_pack
from devtools.models import demo_models
from pixart_fleet.errors import FleetError
from pixart_fleet.host import Host, HostFacts
from pixart_fleet.merging import merged
from pixart_fleet.worker import Drawn, NotDrawn, Task, Worker
from pixart_fleet.workflow import Graph, Place, Workflow

from .conftest import OneServer
from .lists import jobs_for, prompts, small_workflow

ROWS: list[dict[Place, Any]] = [
    {("3", "text"): prompt, ("6", "seed"): 40 + number, ("4", "text"): "blurry" if number else ""}
    for number, prompt in enumerate([*prompts(2), "a star"])
]


class Owner:
    """A worker in an event loop of its own."""

    def __init__(self, task: Task) -> None:
        self._loop = asyncio.Runner()
        self.worker = Worker(task)

    def __getattr__(self, name: str) -> Any:
        return lambda *given: self._loop.run(getattr(self.worker, name)(*given))

    def together(self, *groups: Any) -> list[Any]:
        """Have several groups drawn at once."""

        async def draw() -> list[Any]:
            return await asyncio.gather(*(self.worker.draw(group) for group in groups))

        return self._loop.run(draw())

    def close(self) -> None:
        self.stop()
        self._loop.close()


@pytest.fixture(scope="module")
def workflow() -> Workflow:
    return small_workflow()


@pytest.fixture(scope="module", autouse=True)
def _demo_let_go() -> Iterator[None]:
    """Drop the demo model in the end: the host's objects do not bear to outlive its modules."""
    yield
    demo.cache_clear()
    gc.collect()


@pytest.fixture(scope="module")
def owner(facts: HostFacts, workflow: Workflow) -> Iterator[Owner]:
    made = Owner(Task(facts, workflow, job_seconds=60))
    made.ready()
    yield made
    made.close()


def test_pictures_are_those_of_one_server_to_the_bit(
    owner: Owner, workflow: Workflow, one_server: OneServer
) -> None:
    jobs = jobs_for(workflow, ROWS)
    drawn = [owner.draw([job]) for job in jobs]
    for job, one in zip(jobs, drawn, strict=True):
        assert isinstance(one, Drawn)
        ((file,),) = one.files
        assert file.name == f"{job.id}.png"
        assert file.content == one_server.picture(workflow.with_values(job.values))
    again = owner.draw(jobs[:1])
    assert again.files == drawn[0].files, "a host that has drawn it before gives it again"
    assert not [path for path in owner.worker.host.output.rglob("*") if path.is_file()]


def test_rows_of_a_batch_come_back_each_as_its_own_picture(
    owner: Owner, workflow: Workflow
) -> None:
    jobs = jobs_for(workflow, ROWS[1:])
    together = owner.draw(jobs)
    assert len(together.files) == len(jobs)
    for job, (file,) in zip(jobs, together.files, strict=True):
        ((alone,),) = owner.draw([job]).files
        assert file.name == alone.name
        pictures = [Image.open(io.BytesIO(one.content or b"")) for one in (file, alone)]
        arrays = [np.asarray(picture, np.int16) for picture in pictures]
        assert np.abs(arrays[0] - arrays[1]).max() <= 1, "less than what rounding to 8 bits hides"
        assert pictures[0].info["prompt"] == pictures[1].info["prompt"]


@pytest.mark.parametrize("solver", ["DPM-Solver++", "IDDPM", "SA-Solver"])
def test_merged_latents_are_those_of_each_row_alone(solver: str, workflow: Workflow) -> None:
    jobs = jobs_for(workflow, ROWS[1:])
    together = latents_of(merged(jobs, workflow), solver)
    assert len(together) == len(jobs)
    assert (together[0] - together[1]).abs().mean() > 0.1
    for job, latent in zip(jobs, together, strict=True):
        alone = latents_of(merged([job], workflow), solver)
        assert (latent - alone[0]).norm() <= 1e-4 * alone.norm()


@cache
def demo() -> tuple[Any, Any]:
    """MODEL and CLIP of the demo model, in this process."""
    import_pack()
    from pixart_pack.nodes.host import loading, text_encoder

    files = {kind: paths[0] for kind, paths in demo_models().items()}
    model = loading.load_model(files["diffusion_models"], "auto", "fp32").patcher
    return model, text_encoder.load_text_encoder(files["text_encoders"], "fp32", "cpu")


def latents_of(graph: Graph, solver: str) -> torch.Tensor:
    """What the nodes of a graph draw, in this process."""
    model, clip = demo()
    from pixart_pack.nodes.host import conditioning
    from pixart_pack.nodes.host.sampler import Settings, sample

    sides = [graph[node]["inputs"] for node in ("3", "4")]
    texts = [side["texts"].splitlines() if "texts" in side else [side["text"]] for side in sides]
    size, settings = graph["5"]["inputs"], graph["6"]["inputs"]
    empty = torch.zeros(size["batch_size"], 4, size["height"] // 8, size["width"] // 8)
    encoded = [
        conditioning.encode_prompts(clip, text, "auto", model).conditioning for text in texts
    ]
    chosen = Settings(settings["seed"], 8, 4.5, solver, 1.0, settings.get("seeds", ""))
    with torch.inference_mode():
        out, _ = sample(model, *encoded, {"samples": empty}, chosen)
    found: torch.Tensor = out["samples"]
    return found


def test_a_refusal_is_the_hosts_sentence(owner: Owner, workflow: Workflow) -> None:
    (odd,) = jobs_for(workflow, [{("5", "width"): 100}])
    assert owner.draw([odd]) == NotDrawn(
        "PixArtResolution: The picture cannot have this size: found a width of 100, expected a "
        "multiple of 16 from 16 to 8192. Set it to 96.",
        is_final=True,
    )
    (gone,) = jobs_for(workflow, [{("7", "vae_name"): "none.safetensors"}])
    assert "VAELoader: Value not in list: vae_name: 'none.safetensors'" in owner.draw([gone]).reason


def test_a_host_that_dies_is_replaced_and_what_waited_is_no_try(
    owner: Owner, workflow: Workflow
) -> None:
    rows = [{("6", "seed"): n, ("6", "steps"): 999 if n == 0 else 2} for n in range(2)]
    long, short = jobs_for(workflow, rows)
    dead, base = owner.host_pid(), owner.worker.host.base

    async def kill() -> None:
        await asyncio.sleep(1.5)
        os.killpg(dead, signal.SIGKILL)

    async def both() -> list[Any]:
        drawing = asyncio.gather(owner.worker.draw([long]), owner.worker.draw([short]))
        await kill()
        return list(await drawing)

    drawn = owner._loop.run(both())
    assert [one.counts for one in drawn] == [True, False]
    assert "ComfyUI ended while it drew this" in drawn[0].reason
    assert isinstance(owner.draw([short]), Drawn)
    assert owner.host_pid() not in (0, dead)
    assert not base.exists()


def test_a_host_that_does_not_end_is_ended(owner: Owner) -> None:
    workflow = small_workflow(steps=999)
    (job,) = jobs_for(workflow, [{}])
    owner.worker.task = replace(owner.worker.task, workflow=workflow, job_seconds=2)
    dead = owner.host_pid()
    drawn = owner.draw([job])
    assert drawn == NotDrawn("ComfyUI had not drawn it after 2 s")
    assert owner.host_pid() == 0
    with pytest.raises(ProcessLookupError):
        os.killpg(dead, 0)


def test_a_comfyui_that_cannot_start_tells_why(facts: HostFacts, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("raise SystemExit('no such card')", encoding="utf-8")
    host = Host(replace(facts, comfyui=tmp_path))
    with pytest.raises(FleetError, match=r"its process ended after 0 s(.|\n)*no such card"):
        asyncio.run(host.start())
    assert not host.running()
    assert host.base == Path()


_OWNER = """
import asyncio, sys, time
from pathlib import Path
from pixart_fleet.host import Host, HostFacts
host = Host(HostFacts(*map(Path, sys.argv[1:5])))
async def keep():
    task = asyncio.create_task(host.start())
    while not (host.base / "child").is_file():
        await asyncio.sleep(0.05)
    print(host.pid, (host.base / "child").read_text(), host.base, flush=True)
    await asyncio.sleep(100)
asyncio.run(keep())
"""
_FAMILY = """
import pathlib, subprocess, sys
base = pathlib.Path(sys.argv[sys.argv.index("--base-directory") + 1])
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"])
(base / "part").write_text(str(child.pid))
(base / "part").rename(base / "child")
child.wait()
"""


def test_kill_9_of_the_owner_ends_the_host_and_its_children(
    facts: HostFacts, tmp_path: Path
) -> None:
    (tmp_path / "main.py").write_text(_FAMILY, encoding="utf-8")
    places = [tmp_path, facts.python, facts.models, facts.pack]
    command = [sys.executable, "-c", _OWNER, *map(str, places)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        host, child, base = process.stdout.readline().split()
        os.kill(process.pid, signal.SIGKILL)
    ended = time.monotonic() + 10
    while is_alive(int(host)) or is_alive(int(child)):
        assert time.monotonic() < ended
        time.sleep(0.05)
    assert not Path(base).exists()


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended and waits to be collected does not."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def test_models_are_only_read(models: Path) -> None:
    """After all the tests above."""
    names = {path.relative_to(models).as_posix() for path in models.rglob("*")}
    wanted = {f"{kind}/{file.name}" for kind, files in demo_models().items() for file in files}
    assert names == wanted | set(demo_models())
    assert all(stat.S_ISLNK(path.lstat().st_mode) for path in models.glob("*/*"))
