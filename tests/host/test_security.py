"""While every node runs: no socket, no process, and no file outside the host's folders.

An audit hook in a host of its own writes down what the pack does; imports are left aside.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from devtools.client import HostClient
from devtools.environment import ROOT, host_folder
from devtools.models import demo_models
from devtools.server import HostServer
from tests.corpus.furnishing import furnish
from tests.corpus.habitats import HABITATS

HOOK = """
import json, os, sys

_PACK = os.sep + "ComfyUI-PixArt" + os.sep
_WATCHED = {
    "open", "socket.__new__", "socket.connect", "socket.bind", "socket.sendto",
    "socket.getaddrinfo", "subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork",
    "os.spawn", "urllib.Request", "webbrowser.open", "os.remove", "os.rename", "os.mkdir",
    "os.link", "os.symlink", "os.chmod", "os.truncate", "shutil.rmtree", "pickle.find_class",
}
_busy = False


def _hook(event, args):
    global _busy
    if event not in _WATCHED or _busy:
        return
    _busy = True
    try:
        names, frame = [], sys._getframe()
        while frame is not None:
            names.append(frame.f_code.co_filename)
            frame = frame.f_back
        mine = next((i for i, name in enumerate(names) if _PACK in name), None)
        if mine is not None and not any("importlib" in name for name in names[:mine]):
            with open(os.environ["PIXART_AUDIT"], "a") as out:
                out.write(json.dumps([event, [str(arg) for arg in args], names[mine]]) + "\\n")
    finally:
        _busy = False


sys.addaudithook(_hook)
"""
CHANGES = {
    **{"os.remove": 1, "os.rename": 2, "os.mkdir": 1, "os.link": 2, "os.symlink": 2},
    **{"os.chmod": 1, "os.truncate": 1, "shutil.rmtree": 1},
}
"""What changes files, and how many of its arguments are their names."""
SECRET = "hf_a-secret-of-the-user"
WRITING = re.compile(r"[wax+]")


@pytest.fixture(scope="module")
def said(
    tmp_path_factory: pytest.TempPathFactory, loras: list[Path], controlnets: list[Path]
) -> Iterator[tuple[HostServer, list[list[Any]]]]:
    folder = tmp_path_factory.mktemp("audit")
    (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    log = folder / "audit.jsonl"
    models = {**demo_models(), "loras": loras, "controlnet": controlnets}
    models["checkpoints"] = [path for path in controlnets if path.name == "with-model.pth"]
    variables = {"PYTHONPATH": str(folder), "PIXART_AUDIT": str(log), "HF_TOKEN": SECRET}
    with HostServer(models, variables=variables) as server:
        client = HostClient(server.address)
        furnish(server, client)
        for graph in HABITATS.values():
            assert not client.run(graph).node_errors
        lines = log.read_text(encoding="utf-8").splitlines()
        yield server, [json.loads(line) for line in lines]


def test_the_hook_hears_the_pack(said: tuple[HostServer, list[list[Any]]]) -> None:
    _, events = said
    opened = [args[0] for event, args, _ in events if event == "open"]
    assert any(name.endswith("pixart-demo.safetensors") for name in opened)


def test_no_socket_and_no_process(said: tuple[HostServer, list[list[Any]]]) -> None:
    _, events = said
    assert {event for event, _, _ in events} <= {"open", *CHANGES}


def test_what_is_read_lies_in_the_hosts_folders(said: tuple[HostServer, list[list[Any]]]) -> None:
    server, events = said
    allowed = [server.base, ROOT, host_folder(), Path(sys.prefix), Path(sys.base_prefix)]
    allowed += [path.parent for paths in server.models.values() for path in paths]
    roots = [path.resolve() for path in allowed]
    for event, args, where in events:
        # A number is a file that is open already.
        if event != "open" or args[0].isdigit():
            continue
        path = Path(args[0]).resolve()
        known = any(path.is_relative_to(root) for root in roots)
        assert known or path.is_relative_to("/proc") or str(path) == "/dev/null", (path, where)


def test_what_is_written_are_prompts(said: tuple[HostServer, list[list[Any]]]) -> None:
    server, events = said
    changed = [(arg, w) for e, args, w in events for arg in args[: CHANGES.get(e, 0)]]
    changed += [(args[0], w) for e, args, w in events if e == "open" and is_writing(*args[1:3])]
    changed = [(name, where) for name, where in changed if name != "/dev/null"]
    assert changed
    for name, where in changed:
        prompts = (server.base / "output" / "prompts").resolve()
        assert Path(name).resolve().is_relative_to(prompts), (name, where)


def test_nothing_of_the_user_is_in_what_is_written(
    said: tuple[HostServer, list[list[Any]]],
) -> None:
    """Pictures hold the graph, as ComfyUI writes it; prompts hold the words, and of which T5."""
    server, _ = said
    private = [SECRET, str(server.base), str(server.base.resolve()), str(ROOT)]
    pictures = list((server.base / "output").rglob("*.png"))
    prompts = list((server.base / "output" / "prompts").glob("*.safetensors"))
    assert pictures
    assert prompts
    for path in pictures:
        with Image.open(path) as picture:
            assert picture.info.keys() <= {"prompt", "workflow"}, path.name
    for path in [*pictures, *prompts]:
        content = path.read_bytes()
        assert not [word for word in private if word.encode() in content], path.name


def is_writing(mode: str, flags: str) -> bool:
    """Tell from what the hook hears of an open: of `open` the mode, of `os.open` the flags."""
    if mode != "None":
        return WRITING.search(mode) is not None
    return bool(int(flags) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
