"""What older ComfyUIs lack, so that ``dev.py compat`` tells that from a fault of ours."""

from __future__ import annotations

import pytest

from devtools.inprocess import import_pack

INT8 = "int8_tensorwise"
ANOTHER_NODE = "nodes_glsl.py"
"""Of ComfyUI 0.26 and older, which ask for glfw for it; the pinned one does without."""
_ERRORS = {"dependency_cycle": "prompt_outputs_failed_validation"}
"""By what ComfyUI calls a fault of a graph: what it called it before 0.26."""


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


def named_by_this_host(error: str) -> str:
    """Return what this ComfyUI calls a fault of a graph."""
    return _ERRORS.get(error, error) if host_version() < (0, 26) else error
