"""The demo model in a folder that hosts share, and one plain server to compare with."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from devtools.client import HostClient
from devtools.environment import ROOT, host_folder
from devtools.models import demo_models
from devtools.server import HostServer
from pixart_fleet.host import HostFacts, default_python
from pixart_fleet.workflow import Graph

from .processes import marked, wait_until

# Ray puts its own words into the titles of processes, which this sandbox's kernel may refuse.
os.environ.setdefault("SPT_NOENV", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_worker_niceness", "0")


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models that no test may change."""
    folder = tmp_path_factory.mktemp("models")
    for kind, files in demo_models().items():
        (folder / kind).mkdir()
        for file in files:
            (folder / kind / file.name).symlink_to(file)
    return folder


@pytest.fixture(scope="session")
def facts(models: Path) -> HostFacts:
    """A host with the demo model."""
    return HostFacts(host_folder(), default_python(), models, ROOT)


class OneServer:
    """What one ComfyUI, without any fleet, makes of a graph."""

    def __init__(self, server: HostServer) -> None:
        self._client = HostClient(server.address)

    def picture(self, graph: Graph) -> bytes:
        """Return the file of the only picture."""
        (image,) = self._client.run(graph).images()
        return self._client.image(image)


@pytest.fixture(scope="session")
def one_server() -> Iterator[OneServer]:
    """A server that all tests of this folder share, with as many threads as Ray gives a worker."""
    with HostServer(demo_models(), variables={"OMP_NUM_THREADS": "1"}) as server:
        yield OneServer(server)


@pytest.fixture(scope="session")
def gone_at_the_end() -> Iterator[list[str]]:
    """Marks of runs whose driver was killed; of their processes none may be left in the end.

    The hosts end at once. Two processes of Ray itself wait a minute for its dead server, during
    which the other tests run.
    """
    marks: list[str] = []
    yield marks
    wait_until(lambda: not any(map(marked, marks)), 75, "no process left of a killed run")
