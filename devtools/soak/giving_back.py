"""A custom node for the host of a soak: a route that answers when all is free that can be.

Two moments are compared by what is in use then. What the C library (glibc) holds in reserve differs
by tens of megabytes from one to the next, with what was freed in between and in which order.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc

from aiohttp import web
from comfy.model_patcher import ModelPatcher
from server import PromptServer

NODE_CLASS_MAPPINGS: dict[str, type] = {}
_TRIES, _SECONDS = 120, 0.5


@PromptServer.instance.routes.post("/soak/give_back")  # type: ignore[untyped-decorator]
async def give_back(request: web.Request) -> web.Response:
    """Wait until the last model is gone, then let the C library return all pages it does not use.

    The host frees between two prompts, when its queue looks next. Answers 409 where a model is
    there after a minute.
    """
    for _ in range(_TRIES):
        gc.collect()
        if not any(issubclass(type(one), ModelPatcher) for one in gc.get_objects()):
            await asyncio.sleep(_SECONDS)
            gc.collect()  # what the model was in a circle with, until just now
            ctypes.CDLL("libc.so.6").malloc_trim(0)
            return web.Response()
        await asyncio.sleep(_SECONDS)
    return web.Response(status=409)
