"""What older ComfyUIs lack, so that ``dev.py compat`` tells that from a fault of ours."""

from __future__ import annotations

import pytest

from devtools.inprocess import import_pack

INT8 = "int8_tensorwise"
_OTHERS = ("nodes_glsl.py", "sqlalchemy")
"""What ComfyUIs before 0.30 cannot do with its packages: a node that wants glfw, and the list of
files."""
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
    import_pack()
    import comfy.quant_ops

    if any("int8" in one for one in where) and INT8 not in comfy.quant_ops.QUANT_ALGOS:
        pytest.skip("int8 is a later ComfyUI's")


def is_of_an_older_host(fault: str) -> bool:
    """Whether what a log says is an older ComfyUI's own trouble."""
    return host_version() < (0, 30) and any(other in fault for other in _OTHERS)


def is_as_known(found: list[str], known: list[str] | None) -> bool:
    """Whether what became of a graph is what is known of the pinned ComfyUI.

    Older ones refuse a loop too, but only when Python ends their recursion; they call it by where
    that was.
    """
    if found == known:
        return True
    return host_version() < (0, 26) and known == _LOOP and found[0] == _LOOP[0]
