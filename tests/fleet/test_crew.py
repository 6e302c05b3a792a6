"""The crew on a real Ray, with workers that have no host."""

from __future__ import annotations

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import ray

from pixart_fleet.cluster import Share, dismiss, joined
from pixart_fleet.crew import DEPTH, MOST_TRIES, Crew, Ended
from pixart_fleet.errors import FleetError
from pixart_fleet.jobs import Job
from tests.fleet.clerk import DO, Clerk

WORKERS = 3


@pytest.fixture(scope="module")
def hire() -> Iterator[Callable[..., Any]]:
    """Hires clerks on this machine."""
    with joined(None, WORKERS, Share(1.0, 0.0)):
        yield ray.remote(Clerk).options(num_cpus=1).remote


def jobs_that(*wishes: Any) -> list[Job]:
    return [Job(str(number), {DO: wish}, (number,)) for number, wish in enumerate(wishes)]


def work(crew: Crew, groups: Any) -> dict[str, Ended]:
    """All that ended, by job; each job must end once."""
    ended = [one for burst in crew.work(groups) for one in burst]
    counts = Counter(one.job.id for one in ended)
    assert set(counts.values()) <= {1}
    return {one.job.id: one for one in ended}


def test_all_is_drawn_once_and_little_is_under_way(hire: Callable[..., Any]) -> None:
    jobs = jobs_that(*[0.01] * 200)
    ended: list[Ended] = []
    most = 0

    def source() -> Iterator[list[Job]]:
        nonlocal most
        for number, job in enumerate(jobs, 1):
            most = max(most, number - len(ended))
            yield [job]

    with Crew(hire, dismiss, WORKERS) as crew:
        while crew.ready < WORKERS:
            work(crew, [jobs_that(0.01)])
        for burst in crew.work(source()):
            ended += burst
    assert sorted(one.job.lines for one in ended) == [job.lines for job in jobs]
    assert {one.files[0].content for one in ended} == {job.id.encode() for job in jobs}
    shares = Counter(one.node for one in ended)
    assert len(shares) == WORKERS
    assert min(shares.values()) > 200 / WORKERS / 3
    bursts_at_most = 2 * WORKERS * DEPTH
    assert most <= WORKERS * DEPTH + 1 + bursts_at_most


def test_a_row_that_fails_is_recorded_and_spoils_no_other(hire: Callable[..., Any]) -> None:
    jobs = jobs_that(0, "fail", 0, 0, 0, 0)
    with Crew(hire, dismiss, WORKERS) as crew:
        ended = work(crew, [jobs[:4], jobs[4:]])
    assert ended["1"] == Ended(jobs[1], error="a sentence of the host", tries=MOST_TRIES)
    assert {name: (one.error, one.tries, one.batch) for name, one in ended.items()} == {
        **dict.fromkeys(("0", "2", "3"), ("", 2, 1)),
        "1": ("a sentence of the host", 3, 1),
        **dict.fromkeys(("4", "5"), ("", 1, 2)),
    }


def test_workers_that_die_are_replaced(hire: Callable[..., Any]) -> None:
    jobs = jobs_that(*[0.02] * 20, "die", *[0.02] * 20)
    with Crew(hire, dismiss, WORKERS) as crew:
        ended = work(crew, [[job] for job in jobs])
        assert len(crew.members) == WORKERS
    assert len(ended) == len(jobs)
    assert [name for name, one in ended.items() if one.error] == ["20"]
    assert ended["20"].tries == MOST_TRIES
    assert ended["20"].error.startswith("its worker ended: ")


def test_a_worker_killed_from_outside_costs_no_row(hire: Callable[..., Any]) -> None:
    jobs = jobs_that(*[0.05] * 60)
    ended: list[Ended] = []
    with Crew(hire, dismiss, WORKERS) as crew:
        killed = False
        for burst in crew.work([job] for job in jobs):
            ended += burst
            if len(ended) >= 10 and not killed:
                os.kill(int(ended[-1].node), signal.SIGKILL)
                killed = True
    assert killed
    assert sorted(int(one.job.id) for one in ended) == list(range(60))
    assert not any(one.error for one in ended)
    assert max(one.tries for one in ended) <= 2


def test_no_worker_that_starts_is_a_sentence(hire: Callable[..., Any]) -> None:
    said = "Could not start any worker: found .*Could not start: found no card"
    with (
        Crew(lambda: hire(can_start=False), dismiss, 1) as crew,
        pytest.raises(FleetError, match=said),
    ):
        work(crew, [jobs_that(0)])
