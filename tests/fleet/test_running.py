"""``python -m pixart_fleet run`` as a person starts it, interrupts it, kills it, and resumes it."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest

from devtools.environment import ROOT
from pixart_fleet.__main__ import main
from pixart_fleet.host import HostFacts
from pixart_fleet.manifest import Manifest
from pixart_fleet.rows import read_rows
from pixart_fleet.workflow import Workflow

from .conftest import OneServer
from .lists import jobs_for, prompts, small_workflow, write_workflow
from .processes import hosts, marked, wait_until

BAD_LINE = 4


@pytest.fixture
def prompt_list(tmp_path: Path) -> Path:
    """Ten rows; one has a size that the host refuses, and one comes twice."""
    path = tmp_path / "list.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["prompt", "seed", "width", "6.steps"])
        rows = [[prompt, seed, 128, 2] for seed, prompt in enumerate(prompts(9))]
        rows[BAD_LINE - 2][2] = 100
        writer.writerows([*rows, rows[0]])
    return path


def command(facts: HostFacts, workflow: Path, prompt_list: Path, out: Path) -> list[str]:
    """The command line of a run."""
    return [
        *("run", "--workflow", str(workflow), "--prompts", str(prompt_list), "--out", str(out)),
        *("--comfyui", str(facts.comfyui), "--python", str(facts.python)),
        *("--models", str(facts.models), "--pack", str(facts.pack)),
    ]


def start(arguments: Sequence[str], mark: str) -> subprocess.Popen[str]:
    """Start a run whose processes can all be found by ``mark``."""
    return subprocess.Popen(
        [sys.executable, "-m", "pixart_fleet", *arguments],
        cwd=ROOT,
        env={**os.environ, "PIXART_TEST_MARK": mark},
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def lines_in(out: Path) -> int:
    path = out / "manifest.jsonl"
    return path.read_bytes().count(b"\n") if path.is_file() else 0


def end_in_the_middle(arguments: list[str], out: Path, ending: signal.Signals, mark: str) -> int:
    """Start a run, send a signal to the driver once two more rows have ended; its exit code."""
    before = lines_in(out)
    with start(arguments, mark) as run:
        wait_until(lambda: lines_in(out) >= before + 2 or run.poll() is not None, 120, "two rows")
        assert len(hosts(mark)) == 1
        os.kill(run.pid, ending)
        wait_until(lambda: not hosts(mark), 20, "no host left")
        return run.wait()


def test_interrupted_killed_and_resumed_every_row_is_drawn_once(
    facts: HostFacts,
    prompt_list: Path,
    tmp_path: Path,
    one_server: OneServer,
    gone_at_the_end: list[str],
) -> None:
    workflow, out = small_workflow(), tmp_path / "out"
    arguments = command(facts, write_workflow(workflow, tmp_path), prompt_list, out)
    killed, interrupted = uuid.uuid4().hex, uuid.uuid4().hex
    assert end_in_the_middle(arguments, out, signal.SIGKILL, killed) == -signal.SIGKILL
    gone_at_the_end.append(killed)
    assert main(arguments) == 1, "without --resume an earlier run is not gone on with"
    arguments.append("--resume")
    assert end_in_the_middle(arguments, out, signal.SIGINT, interrupted) == 130
    wait_until(lambda: not marked(interrupted), 20, "no process left")
    early = lines_in(out)
    assert 4 <= early < 9
    with start(arguments, "") as run:
        _, said = run.communicate(timeout=120)
    assert run.returncode == 1
    assert f"10 rows, 9 of them different, {9 - done_in(out, early)} to draw" in said
    assert "8 done, 1 failed" in said
    check_result(out, prompt_list, workflow, one_server)


def done_in(out: Path, early: int) -> int:
    """How many of the first lines of a manifest are of rows that were done."""
    lines = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()[:early]
    return sum(json.loads(line)["status"] == "done" for line in lines)


def check_result(out: Path, prompt_list: Path, workflow: Workflow, one_server: OneServer) -> None:
    """Each row is done once, with one server's picture, and the bad one has its sentence."""
    jobs = jobs_for(workflow, [row.values for row in read_rows(prompt_list, workflow)])
    lines = (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    done = Counter(e["id"] for e in map(json.loads, lines) if e["status"] == "done")
    good = [job for job in jobs if BAD_LINE not in job.lines]
    assert done == {job.id: 1 for job in good}
    with Manifest(out) as manifest:
        entries = {entry.id: entry for entry in manifest.entries()}
    (failed,) = (entry for entry in entries.values() if entry.error)
    assert (failed.lines, failed.tries) == ((BAD_LINE,), 3)
    assert "The picture cannot have this size: found a width of 100" in failed.error
    assert entries[good[0].id].lines == (2, 11)
    assert {path.name for path in out.glob("*.png")} == {f"{job.id}.png" for job in good}
    for job in good:
        wanted = one_server.picture(workflow.with_values(job.values))
        assert (out / f"{job.id}.png").read_bytes() == wanted


def test_what_is_wrong_is_said_before_anything_starts(
    facts: HostFacts, prompt_list: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    prompt_list.write_text("prompt,colour\na,red\n", encoding="utf-8")
    out = tmp_path / "out"
    workflow = write_workflow(small_workflow(), tmp_path)
    assert main(command(facts, workflow, prompt_list, out)) == 1
    assert "Could not use line 1" in capfd.readouterr().err
    assert not out.exists()
