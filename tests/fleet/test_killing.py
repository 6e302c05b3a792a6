"""A cluster of three nodes, of which one is killed in the middle, and a host on another."""

from __future__ import annotations

import json
import os
import signal
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ray.cluster_utils import Cluster

from pixart_fleet.host import HostFacts
from pixart_fleet.workflow import Place

from .conftest import OneServer
from .lists import jobs_for, prompts, small_workflow, write_workflow
from .processes import ancestors, hosts, wait_until
from .test_running import command, lines_in, start

ROWS = 60
COMPARED = 12


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Cluster, str]]:
    """Three nodes, and the mark by which their processes are found."""
    mark = uuid.uuid4().hex
    monkeypatch.setenv("PIXART_TEST_MARK", mark)
    small = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    made = Cluster(initialize_head=True, head_node_args=small)
    try:
        for _ in range(2):
            made.add_node(num_cpus=1, object_store_memory=100 * 2**20)
        yield made, mark
    finally:
        made.shutdown()


def test_a_node_and_a_host_that_are_killed_cost_no_row(
    facts: HostFacts, cluster: tuple[Cluster, str], tmp_path: Path, one_server: OneServer
) -> None:
    nodes, mark = cluster
    workflow, out = small_workflow(), tmp_path / "out"
    values: list[dict[Place, Any]] = [
        {("3", "text"): prompt, ("6", "seed"): seed} for seed, prompt in enumerate(prompts(ROWS))
    ]
    listed = "".join(
        json.dumps({"prompt": v[("3", "text")], "seed": v[("6", "seed")]}) + "\n" for v in values
    )
    (tmp_path / "list.jsonl").write_text(listed, encoding="utf-8")
    arguments = command(facts, write_workflow(workflow, tmp_path), tmp_path / "list.jsonl", out)
    more = ["--ray-address", nodes.address, "--workers", "3"]
    with start([*arguments, *more], mark) as run:
        wait_until(lambda: len(hosts(mark)) == 3, 60, "three hosts")
        wait_until(lambda: lines_in(out) >= 10 or run.poll() is not None, 120, "ten rows")
        kill_one_node_and_one_host(nodes, mark)
        _, said = run.communicate(timeout=180)
    assert run.returncode == 0, said
    lines = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines]
    jobs = jobs_for(workflow, values)
    assert Counter(entry["id"] for entry in entries) == {job.id: 1 for job in jobs}
    assert max(entry["tries"] for entry in entries) == 2, "something was under way when it died"
    wait_until(lambda: not hosts(mark), 20, "no host left")
    again = {entry["id"] for entry in entries if entry["tries"] > 1}
    for job in [*(job for job in jobs if job.id in again), *jobs[:COMPARED]]:
        wanted = one_server.picture(workflow.with_values(job.values))
        assert (out / f"{job.id}.png").read_bytes() == wanted


def kill_one_node_and_one_host(nodes: Cluster, mark: str) -> None:
    """Kill a node with all that Ray runs there, and see its host end; then a host elsewhere."""
    victim = next(iter(nodes.worker_nodes))
    raylet = victim.all_processes["raylet"][0].process.pid
    there = [pid for pid in hosts(mark) if raylet in ancestors(pid)]
    elsewhere = [pid for pid in hosts(mark) if pid not in there]
    assert len(there) == 1
    nodes.remove_node(victim, allow_graceful=False)
    wait_until(lambda: there[0] not in hosts(mark), 20, "the host of the dead node ended")
    os.kill(elsewhere[0], signal.SIGKILL)
