"""Damage that the libraries' own parsers pass on: containers are packed anew around it."""

from __future__ import annotations

import io
import json
import random
import struct
import zipfile
from collections.abc import Callable
from math import prod
from typing import Any

_SAME_SIZE = {
    **{"F16": ("BF16", "I16", "U16"), "BF16": ("F16",), "F32": ("I32", "U32")},
    **{"I64": ("F64", "U64"), "F64": ("I64",), "I8": ("U8", "F8_E4M3", "BOOL"), "U8": ("I8",)},
}
_NAMES = ("", "weight", "x" * 5000, "\ud83e\udd16", "a\x00b", "../../x", "blocks.999.attn.q.weight")
_NOTES = ("", "[" * 100_000, "null", "[]", '{"layers": 3}', '{"r": "many"}', "1e999", "alpha")
_DIGITS = ("0", "1", "9", "27", "28", "-1", "100000000000")

Entry = dict[str, Any]
Change = Callable[[random.Random, dict[str, Entry], str], None]
"""Changes the entry of a name in a safetensors header, or the header about it."""


def repacked(good: bytes, rng: random.Random) -> bytes | None:
    """Return a copy with other contents in a sound container; None for what is no container."""
    if zipfile.is_zipfile(io.BytesIO(good)):
        return _other_pickle(good, rng)
    if len(good) > 8 and good[8:9] == b"{":
        return _other_header(good, rng)
    return None


def _other_header(good: bytes, rng: random.Random) -> bytes:
    length = struct.unpack("<Q", good[:8])[0]
    header: dict[str, Entry] = json.loads(good[8 : 8 + length])
    for _ in range(rng.randint(1, 4)):
        names = [name for name in header if name != "__metadata__"]
        if names:
            rng.choice(_CHANGES)(rng, header, rng.choice(names))
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + good[8 + length :]


def _reshape(rng: random.Random, header: dict[str, Entry], name: str) -> None:
    """Give the same numbers another shape."""
    shape = header[name]["shape"]
    count = prod(shape)
    header[name]["shape"] = rng.choice(
        ([count], [1, count], [count, 1], [*shape, 1], [1, *shape], shape[::-1], [1] * 20 + [count])
    )


def _retype(rng: random.Random, header: dict[str, Entry], name: str) -> None:
    entry = header[name]
    entry["dtype"] = rng.choice(_SAME_SIZE.get(entry["dtype"], (entry["dtype"],)))


def _exchange(rng: random.Random, header: dict[str, Entry], name: str) -> None:
    """Let two tensors have each other's names."""
    other = rng.choice([key for key in header if key != "__metadata__"])
    header[name], header[other] = header[other], header[name]


def _rename(rng: random.Random, header: dict[str, Entry], name: str) -> None:
    new = rng.choice(_NAMES)
    if rng.random() < 0.7:
        parts = name.split(".")
        place = rng.randrange(len(parts))
        parts[place] = rng.choice((*_DIGITS, *parts, parts[place] * 2, ""))
        new = ".".join(parts)
    header[new] = header.pop(name)


def _note(rng: random.Random, header: dict[str, Entry], name: str) -> None:
    del name
    notes = header.setdefault("__metadata__", {})
    notes[rng.choice([*notes, "format", "lora_adapter_metadata"])] = rng.choice(_NOTES)


_CHANGES: tuple[Change, ...] = (_reshape, _reshape, _retype, _exchange, _rename, _rename, _note)


def _other_pickle(good: bytes, rng: random.Random) -> bytes:
    """Change bytes of what is unpickled, and count its checksum again."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(good)) as old, zipfile.ZipFile(out, "w") as new:
        for part in old.namelist():
            content = bytearray(old.read(part))
            if part.endswith(".pkl"):
                for _ in range(rng.choice((1, 1, 2, 5))):
                    content[rng.randrange(len(content))] = rng.choice(
                        (rng.randrange(256), content[rng.randrange(len(content))])
                    )
            new.writestr(part, bytes(content))
    return out.getvalue()
