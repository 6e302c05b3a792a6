"""What may happen to a server: kills, missing memory, files that change, another server beside."""

from __future__ import annotations

import os
import re
import resource
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from devtools.client import Event, ExecutionFailed, HostClient, Interrupted, Rejected
from devtools.failure import Failure
from devtools.models import demo_models
from devtools.server import HostServer
from pixart_core.text.t5 import T5Shape, tensor_shapes

from .graphs import Graph, text_to_image
from .test_prompt_nodes import from_files, picture_bytes, saving_prompt

MODEL = "model.safetensors"


def small(seed: int, **inputs: dict[str, object]) -> Graph:
    size = {"width": 128, "height": 128}
    return text_to_image(PixArtResolution=size, PixArtSampler={"steps": 2, "seed": seed}, **inputs)


def picture(client: HostClient, graph: Graph) -> bytes:
    (content,) = picture_bytes(client, client.run(graph))
    return content


@pytest.fixture(scope="module")
def reference(client: HostClient) -> bytes:
    return picture(client, small(3))


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[HostServer, HostClient, Path]]:
    """A server of its own whose model file may be changed."""
    path = tmp_path / MODEL
    shutil.copy(demo_models()["diffusion_models"][0], path)
    with HostServer({**demo_models(), "diffusion_models": [path]}) as server:
        yield server, HostClient(server.address, timeout=60), path


def with_own_model(graph: Graph) -> Graph:
    graph["1"]["inputs"]["file"] = MODEL
    return graph


Moment = Callable[[Event], bool]


def starts(node: str, seconds: float = 0.0) -> Moment:
    """Be the moment so long after a node has started."""

    def at(event: Event) -> bool:
        if event.kind != "executing" or event.data.get("node") != node:
            return False
        time.sleep(seconds)
        return True

    return at


def half_done(node: str) -> Moment:
    def at(event: Event) -> bool:
        if event.kind != "progress" or event.data.get("node") != node:
            return False
        return bool(2 * event.data["value"] >= event.data["max"])

    return at


def killed_at(server: HostServer, client: HostClient, graph: Graph, at: Moment) -> None:
    """Kill the server at the first event that is the moment; it may not finish the prompt."""

    def on_event(event: Event) -> None:
        if at(event):
            os.killpg(server.pid, signal.SIGKILL)

    with pytest.raises(Failure):
        client.run(graph, on_event)


def test_a_killed_server_leaves_nothing_half(reference: bytes) -> None:
    """Killed while it loads the model, half-way in T5 and half-way in sampling; then a good run.

    The model's loading tells no progress: it is killed at once, and a tenth of a second later.
    """
    with HostServer(demo_models()) as server:
        client = HostClient(server.address, timeout=60)
        for at in (starts("1"), starts("1", 0.1), half_done("2"), half_done("6")):
            killed_at(server, client, small(3), at)
            assert not list((server.base / "output").rglob("*.*"))
            server.start_again()
        assert picture(client, small(3)) == reference


KILLS_ITSELF = """
import os, signal, sys

def hook(event, args):
    if event == os.environ["PIXART_KILLED_AT"] and os.sep + ".lost" in str(args[0]):
        os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
"""


@pytest.mark.parametrize("event", ["os.chmod", "os.rename"], ids=["written", "before its name"])
def test_killed_while_a_prompt_is_saved(event: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILLS_ITSELF, encoding="utf-8")
    variables = {"PYTHONPATH": str(tmp_path), "PIXART_KILLED_AT": event}
    with HostServer(demo_models(), variables=variables) as server:
        client = HostClient(server.address, timeout=60)
        client.run(saving_prompt("a circle", "kept"))
        with pytest.raises(Failure):
            client.run(saving_prompt("a star", "lost"))
        prompts = server.base / "output" / "prompts"
        assert list(prompts.glob(".lost*/lost*"))
        server.variables.clear()
        server.start_again()
        listed = client.object_info("PixArtLoadConditioning")["PixArtLoadConditioning"]
        assert listed["input"]["required"]["file"][1]["options"] == ["kept_00001.safetensors"]
        client.run(saving_prompt("a star", "lost"))
        assert sorted(path.name for path in prompts.glob("*.*") if path.is_file()) == [
            "kept_00001.safetensors",
            "lost_00001.safetensors",
        ]
        saved = from_files(small(3), "kept_00001.safetensors", "lost_00001.safetensors")
        assert picture(client, saved)


def test_a_replaced_model_is_read_again(
    own: tuple[HostServer, HostClient, Path], reference: bytes, bad_models: dict[str, list[Path]]
) -> None:
    _, client, path = own
    assert picture(client, with_own_model(small(3))) == reference
    gap = next(p for p in bad_models["diffusion_models"] if p.name == "gap.safetensors")
    path.unlink()
    shutil.copy(gap, path)
    with pytest.raises(ExecutionFailed, match=r"missing \(blocks\.3"):
        client.run(with_own_model(small(4)))
    path.unlink()
    with pytest.raises((Rejected, ExecutionFailed), match=r"not in|no such file"):
        client.run(with_own_model(small(5)))
    shutil.copy(demo_models()["diffusion_models"][0], path)
    assert picture(client, with_own_model(small(3))) == reference


def test_a_model_overwritten_in_place_is_read_again(
    own: tuple[HostServer, HostClient, Path], reference: bytes, bad_models: dict[str, list[Path]]
) -> None:
    """As a download over the old file does: the server holds the old one, and has it mapped."""
    _, client, path = own
    assert picture(client, with_own_model(small(3))) == reference
    whole = path.read_bytes()
    gap = next(p for p in bad_models["diffusion_models"] if p.name == "gap.safetensors")
    path.write_bytes(gap.read_bytes())
    with pytest.raises(ExecutionFailed, match=r"missing \(blocks\.3"):
        client.run(with_own_model(small(4)))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ExecutionFailed, match=r"found a damaged file"):
        client.run(with_own_model(small(5)))
    path.write_bytes(whole)
    assert picture(client, with_own_model(small(3))) == reference


@pytest.mark.parametrize("moment", [0, 4_000_000_000], ids=["1970", "2096"])
def test_a_file_of_another_time_is_read_all_the_same(
    moment: int,
    own: tuple[HostServer, HostClient, Path],
    reference: bytes,
    bad_models: dict[str, list[Path]],
) -> None:
    """The clock was wrong, or an older file took the place of a newer one."""
    _, client, path = own
    assert picture(client, with_own_model(small(3))) == reference
    whole = path.read_bytes()
    gap = next(p for p in bad_models["diffusion_models"] if p.name == "gap.safetensors")
    path.unlink()
    shutil.copy(gap, path)
    os.utime(path, (moment, moment))
    with pytest.raises(ExecutionFailed, match=r"missing \(blocks\.3"):
        client.run(with_own_model(small(4)))
    path.unlink()
    path.write_bytes(whole)
    os.utime(path, (moment, moment))
    assert picture(client, with_own_model(small(3))) == reference


def test_a_folder_that_may_only_be_read(
    own: tuple[HostServer, HostClient, Path], reference: bytes
) -> None:
    server, client, _ = own
    folders = [server.base / "models", *(server.base / "models").iterdir()]
    for folder in folders:
        folder.chmod(0o555)
    # root may write all the same, and must not.
    before = [folder.stat().st_mtime_ns for folder in folders]
    try:
        assert picture(client, with_own_model(small(3))) == reference
        assert [folder.stat().st_mtime_ns for folder in folders] == before
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_two_servers_read_one_folder(
    own: tuple[HostServer, HostClient, Path], reference: bytes
) -> None:
    _, client, path = own
    with HostServer({**demo_models(), "diffusion_models": [path]}) as other:
        clients = [client, HostClient(other.address)]
        found: list[bytes] = []
        threads = [
            threading.Thread(target=lambda c=c: found.append(picture(c, with_own_model(small(3)))))
            for c in clients
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [reference, reference]


@pytest.fixture(scope="module")
def turkish(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables of a process whose C library counts and writes as in Turkey: 1,5 and i with a dot.

    Python takes up a locale's numbers only when it is told to, as another pack may do.
    """
    folder = tmp_path_factory.mktemp("turkish")
    name = "tr_TR.UTF-8"
    compiled = ["localedef", "-i", "tr_TR", "-f", "UTF-8", str(folder / name)]
    subprocess.run(compiled, check=True, capture_output=True)
    (folder / "sitecustomize.py").write_text(
        "import locale\nlocale.setlocale(locale.LC_ALL, '')\n"
        "assert locale.localeconv()['decimal_point'] == ','\n"
        f"open({str(folder / 'taken-up')!r}, 'w').close()\n",
        encoding="utf-8",
    )
    return {"LC_ALL": name, "LOCPATH": str(folder), "PYTHONPATH": str(folder)}


def test_a_turkish_locale_and_another_clock_change_nothing(
    turkish: dict[str, str], reference: bytes
) -> None:
    variables = {**turkish, "TZ": "Pacific/Kiritimati"}
    with HostServer(demo_models(), variables=variables) as server:
        assert picture(HostClient(server.address), small(3)) == reference
    assert Path(turkish["LOCPATH"], "taken-up").exists()


def test_no_locale_changes_nothing(reference: bytes) -> None:
    with HostServer(demo_models(), variables={"LC_ALL": "C"}) as server:
        assert picture(HostClient(server.address), small(3)) == reference


def address_space(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    found = re.search(r"VmSize:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * 1024


def test_too_little_memory_while_sampling_is_a_sentence(
    own: tuple[HostServer, HostClient, Path], reference: bytes
) -> None:
    server, client, _ = own
    assert picture(client, with_own_model(small(3))) == reference
    large = with_own_model(small(8))
    large["5"]["inputs"] |= {"width": 2048, "height": 2048, "batch_size": 4}
    unlimited = resource.RLIM_INFINITY
    before = server.anonymous_bytes()
    limit = address_space(server.pid) + 300_000_000
    resource.prlimit(server.pid, resource.RLIMIT_AS, (limit, unlimited))
    with pytest.raises(ExecutionFailed) as failure:
        client.run(large)
    assert re.search(r"found too little memory.+(smaller|fewer)", failure.value.message)
    # Under the limit still: what the failed one held has been given back.
    assert picture(client, with_own_model(small(3))) == reference
    assert server.anonymous_bytes() < before + 150_000_000
    resource.prlimit(server.pid, resource.RLIMIT_AS, (unlimited, unlimited))
    assert server.running()


def test_too_little_memory_for_t5_is_a_sentence(tmp_path: Path, reference: bytes) -> None:
    large = tmp_path / "large-t5.safetensors"
    shapes = tensor_shapes(T5Shape(layers=1, width=2048, heads=4, head_size=64, mlp_size=2048))
    save_file({key: torch.zeros(shape).half() for key, shape in shapes.items()}, large)
    models = demo_models()
    with HostServer({**models, "text_encoders": [*models["text_encoders"], large]}) as server:
        client = HostClient(server.address, timeout=60)
        assert picture(client, small(3)) == reference
        unlimited = resource.RLIM_INFINITY
        before = server.anonymous_bytes()
        limit = address_space(server.pid) + 150_000_000
        resource.prlimit(server.pid, resource.RLIMIT_AS, (limit, unlimited))
        with pytest.raises(ExecutionFailed) as failure:
            client.run(small(4, PixArtT5Loader={"file": large.name, "precision": "fp32"}))
        assert re.search(r"found too little memory.+int8", failure.value.message)
        # Under the limit still.
        assert picture(client, small(3)) == reference
        assert server.anonymous_bytes() < before + 100_000_000
        resource.prlimit(server.pid, resource.RLIMIT_AS, (unlimited, unlimited))


def test_a_full_disk_is_a_sentence_and_leaves_nothing_half(
    own: tuple[HostServer, HostClient, Path], reference: bytes
) -> None:
    """No file may grow beyond a few kilobytes: as on a full disk, a write stops in its middle."""
    server, client, _ = own
    unlimited = resource.RLIM_INFINITY
    # Its own log must still find room.
    limit = server.log.stat().st_size + 20_000
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (limit, unlimited))
    with pytest.raises(ExecutionFailed, match=r"was not written: found .*File too large"):
        client.run(with_own_model(saving_prompt("a circle, " * 60, "too-large")))
    resource.prlimit(server.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))
    assert not list((server.base / "output").rglob("*too-large*"))
    assert not list((server.base / "output").rglob(".*"))
    assert picture(client, with_own_model(small(3))) == reference
    client.run(with_own_model(saving_prompt("a star, " * 60, "too-large")))
    assert list((server.base / "output").rglob("too-large*"))


def test_an_interrupted_prompt_leaves_the_next_as_it_was(
    client: HostClient, reference: bytes
) -> None:
    graph = small(9)
    graph["6"]["inputs"]["steps"] = 50

    def on_event(event: Event) -> None:
        if event.kind == "progress":
            client.interrupt()

    with pytest.raises(Interrupted):
        client.run(graph, on_event)
    again = small(3)
    again["9"]["inputs"]["filename_prefix"] = "after-an-interrupt"
    assert picture(client, again) == reference
