"""What older ComfyUIs lack, so that ``dev.py compat`` tells that from a fault of ours."""

from __future__ import annotations

import pytest

from devtools.inprocess import import_pack

INT8 = "int8_tensorwise"
_OTHERS = ("nodes_glsl.py", "sqlalchemy")
"""What ComfyUIs before 0.30 cannot do with the packages pinned for it: load a node that wants glfw,
and fill the table of files in the database."""
_LOOP = ["refused", "dependency_cycle"]


def host_version() -> tuple[int, ...]:
    """Return the version of the ComfyUI that is tested."""
    import_pack()
    import comfyui_version

    return tuple(int(word) for word in comfyui_version.__version__.split("."))


def need_outputs_of_save_image() -> None:
    """Leave the rest to a ComfyUI whose SaveImage has an output, which the templates name."""
    if host_version() < (0, 26):
        pytest.skip("SaveImage's output is a later ComfyUI's")


def need_int8(*where: str) -> None:
    """Leave the rest to a ComfyUI that has int8, where the test is about it."""
    if any("int8" in one for one in where) and host_version() < (0, 30):
        pytest.skip("int8 is a later ComfyUI's")


def is_of_an_older_host(fault: str) -> bool:
    """Whether what a log says is an older ComfyUI's own trouble."""
    if host_version() >= (0, 30) or "ComfyUI-PixArt" in fault:
        return False
    return any(other in fault for other in _OTHERS)


def is_as_known(found: list[str], known: list[str] | None) -> bool:
    """Whether what became of a graph is what is known of the pinned ComfyUI.

    Older ones refuse a loop too, but only when Python ends their recursion; they call it by where
    that was.
    """
    if found == known:
        return True
    return host_version() < (0, 26) and known == _LOOP and found[0] == _LOOP[0]
