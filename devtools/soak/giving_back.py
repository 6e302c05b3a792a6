"""A custom node for the host of a soak: a route by which the C library gives memory back.

Two moments are compared by what is in use then. What the library (glibc) holds in reserve differs
by tens of megabytes from one to the next, with what was freed in between and in which order.
"""

from __future__ import annotations

import ctypes
import gc

from aiohttp import web
from server import PromptServer

NODE_CLASS_MAPPINGS: dict[str, type] = {}


@PromptServer.instance.routes.post("/soak/give_back")  # type: ignore[untyped-decorator]
async def give_back(request: web.Request) -> web.Response:
    """Collect garbage, then let the C library return all whole pages that it does not use."""
    gc.collect()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    return web.Response()
