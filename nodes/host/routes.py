"""What the editor asks while a graph is being made; the API does without."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from aiohttp import web
from server import PromptServer

from ...pixart_core.checkpoint.detect import AUTO
from ...pixart_core.checkpoint.opening import open_model
from ...pixart_core.checkpoint.report import guess_notice
from ...pixart_core.checkpoint.source import find_source
from ...pixart_core.json_text import parse_json
from ...pixart_core.resolution import Wish
from ...pixart_core.text.t5_file import tokenizer_of
from ...pixart_core.variants import VAES, Variant
from . import files, latent
from .prompt_reading import read_prompt
from .t5_tokens import PixArtTokenizer, tokenizer_data

_MOST_BYTES = 1_000_000
"""Of a question; a prompt has some thousand. A question must say how long it is."""

Asked = dict[str, Any]
"""What the editor sends: values of widgets by their names, as far as they are known."""


def register_routes() -> None:
    """Add /pixart/model, /pixart/tokens and /pixart/size to the host's server."""
    for name, answer in (("model", _model), ("tokens", _tokens), ("size", _size)):
        PromptServer.instance.routes.post(f"/pixart/{name}")(_handler(answer))


def _handler(answer: Callable[[Asked], Any]) -> Callable[[web.Request], Any]:
    async def handle(request: web.Request) -> web.Response:
        length = request.content_length
        if length is None or length > _MOST_BYTES:
            message = f"Only a question of at most {_MOST_BYTES:,} bytes is answered."
            return web.json_response({"error": message}, status=413)
        try:
            asked = dict(parse_json(await request.text()))
            # Reading a file must not hold up the server.
            return web.json_response(await asyncio.to_thread(answer, asked))
        except (KeyError, TypeError, ValueError, OverflowError, OSError) as error:
            return web.json_response({"error": str(error)}, status=400)

    return handle


def _model(asked: Asked) -> Asked:
    """Say in a line what a model file is: {file, variant} -> {text, notice}."""
    known = _known(asked)
    variant = known.variant
    facts = (
        f"{variant.name} · {variant.sample_size} px · {variant.tokens} tokens · "
        f"{VAES[variant.latent_scale]} · {variant.steps} steps, guidance {variant.guidance:g}"
    )
    return {"text": facts, "notice": known.notice}


def _tokens(asked: Asked) -> Asked:
    """Count a prompt's tokens: {text, cleaning, t5?, file?, variant?} -> {count, limit, cut}."""
    variant: Variant | None = _known(asked).variant if asked.get("file") else None
    tokenizer = _tokenizer(asked.get("t5"), files.TEXT_ENCODERS.fingerprint(asked.get("t5")))
    read = read_prompt(tokenizer.tokenize_with_weights, asked["text"], asked["cleaning"], variant)
    count = len(read.tokens.kept) + len(read.tokens.cut)
    return {"count": count, "limit": read.limit, "cut": read.cut}


def _size(asked: Asked) -> Asked:
    """Say which size a wish becomes: PixArt Resolution's widgets and {file?, variant?}."""
    side = _known(asked).variant.sample_size if asked.get("file") else None
    wish = Wish(
        asked["sizing"],
        asked["aspect"],
        asked["width"],
        asked["height"],
        table=latent.TABLES[asked["table"]] or side,
        tested=latent.RATIOS[asked["ratios"]],
        swap=asked["swap"],
    )
    size = latent.size_for(wish)
    return {"width": size.width, "height": size.height, "notice": size.notice}


@dataclass(frozen=True)
class _Known:
    """What was read of a model file, which is not kept open for it."""

    variant: Variant
    notice: str


def _known(asked: Asked) -> _Known:
    name = asked["file"]
    return _read_model(name, asked.get("variant", AUTO), files.MODELS.fingerprint(name))


@lru_cache(maxsize=32)
def _read_model(name: str, variant: str, stamp: str) -> _Known:
    """Read what a model is; ``stamp`` makes it be read again when its file is another."""
    opened = open_model(files.MODELS.find(name), variant)
    return _Known(opened.info.variant, guess_notice(opened))


@lru_cache(maxsize=2)
def _tokenizer(name: str | None, stamp: str) -> PixArtTokenizer:
    """Return the tokenizer beside a T5, or the host's; ``stamp`` as above."""
    if name is None:
        return PixArtTokenizer()
    source = find_source(files.TEXT_ENCODERS.find(name), files.TEXT_ENCODERS.kind)
    return PixArtTokenizer(tokenizer_data=tokenizer_data(tokenizer_of(source)))
