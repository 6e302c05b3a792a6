"""``python -m pixart_fleet run``: every row of a list, once."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from types import FrameType

from tqdm import tqdm

from pixart_fleet.cluster import dismiss, hiring, joined
from pixart_fleet.conditions import check_places, check_saving
from pixart_fleet.crew import Crew, Ended
from pixart_fleet.errors import FleetError
from pixart_fleet.jobs import Job, make_jobs
from pixart_fleet.manifest import DONE, FAILED, Entry, Manifest, sync_folder, write_whole
from pixart_fleet.merging import groups
from pixart_fleet.options import RunOptions
from pixart_fleet.rows import read_rows
from pixart_fleet.worker import Task
from pixart_fleet.workflow import Workflow, read_workflow


def run(options: RunOptions) -> int:
    """Draw what is not drawn yet; return 0, or 1 where a row failed. Raises FleetError."""
    workflow = read_workflow(options.workflow)
    check_saving(workflow, options.workflow)
    rows = read_rows(options.prompts, workflow)
    check_places(options)
    jobs = make_jobs(rows, workflow)
    signal.signal(signal.SIGTERM, _leave)
    with Manifest(options.out) as manifest:
        todo = _todo(jobs, manifest, options.resume)
        _say(f"{len(rows)} rows, {len(jobs)} of them different, {len(todo)} to draw")
        with Record(manifest, len(jobs), len(jobs) - len(todo)) as record:
            if todo:
                _draw(todo, workflow, options, record)
        failed = record.failed
    _say(f"{len(jobs) - failed} done, {failed} failed; see {manifest.path}")
    return int(failed > 0)


class Record:
    """Writes what has ended, and shows how far the run is; a context manager."""

    def __init__(self, manifest: Manifest, total: int, done: int) -> None:
        self.manifest = manifest
        self.failed = 0
        self._bar: tqdm[None] = tqdm(total=total, initial=done, unit="row", smoothing=0.1)
        self._bar.set_postfix(failed=0, workers=0)

    def __enter__(self) -> Record:
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def add(self, burst: Sequence[Ended], workers: int) -> None:
        """Write pictures first and then their lines, so that a line never lies."""
        written = [file for ended in burst for file in ended.files if file.content is not None]
        for file in written:
            write_whole(self.manifest.folder / file.name, file.content or b"")
        if burst:
            if any(ended.files for ended in burst):
                sync_folder(self.manifest.folder)
            self.manifest.append(map(entry_of, burst))
        self.failed += sum(bool(ended.error) for ended in burst)
        self._bar.set_postfix(failed=self.failed, workers=workers, refresh=False)
        self._bar.update(len(burst))


def entry_of(ended: Ended) -> Entry:
    """Return the line of the manifest for a job that has ended."""
    return Entry(
        id=ended.job.id,
        status=FAILED if ended.error else DONE,
        lines=ended.job.lines,
        files=tuple(file.name for file in ended.files),
        error=ended.error,
        tries=ended.tries,
        seconds=round(ended.seconds, 4),
        batch=ended.batch,
        node=ended.node,
    )


def _draw(jobs: Sequence[Job], workflow: Workflow, options: RunOptions, record: Record) -> None:
    shared = options.out if options.shared else None
    task = Task(options.facts, workflow, options.job_seconds, shared)
    with (
        joined(options.ray_address, options.workers, options.share),
        Crew(hiring(task, options.share), dismiss, options.workers) as crew,
    ):
        for burst in crew.work(groups(jobs, workflow, options.batch)):
            record.add(burst, crew.ready)


def _todo(jobs: Sequence[Job], manifest: Manifest, resume: bool) -> list[Job]:
    if not resume and manifest.entries():
        raise FleetError(
            f"Could not begin a run in {manifest.folder}",
            found="the manifest of an earlier one",
            expected="an empty folder",
            do="add --resume to draw only what is missing, or give another folder with --out",
        )
    done = manifest.done()
    return [job for job in jobs if job.id not in done]


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def _leave(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
