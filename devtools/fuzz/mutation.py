"""Damage: bytes turned over, cut, repeated, and the numbers and words of headers exchanged."""

from __future__ import annotations

import random
import re
from collections.abc import Callable

from .wellformed import repacked

_HEADER = 4096
"""Bytes from the start where most of the damage is done: there lies what a reader trusts."""
_NUMBERS = (b"0", b"-1", b"1", b"2147483648", b"9223372036854775807", b"1e999", b"0.5", b"NaN")
_WORDS = (b"null", b"[]", b"{}", b'""', b"true", b'"F16"', b'"../../x"', b'"\\u0000"', b'"\\ud800"')
_TOKEN = re.compile(rb'-?\d+|"[^"]*"')

Mutation = Callable[[random.Random, bytearray], bytearray]


def damaged(good: bytes, rng: random.Random) -> bytes:
    """Return a copy with one to four kinds of damage, half of the time in a sound container."""
    sound = repacked(good, rng) if rng.random() < 0.5 else None
    if sound is not None:
        return sound
    content = bytearray(good)
    for _ in range(rng.randint(1, 4)):
        content = rng.choice(_MUTATIONS)(rng, content)
    return bytes(content)


def _place(rng: random.Random, content: bytearray) -> int:
    end = len(content) if rng.random() < 0.2 else min(len(content), _HEADER)
    return rng.randrange(end) if end else 0


def _flip(rng: random.Random, content: bytearray) -> bytearray:
    for _ in range(rng.choice((1, 1, 3, 20))):
        if content:
            content[_place(rng, content)] ^= 1 << rng.randrange(8)
    return content


def _overwrite(rng: random.Random, content: bytearray) -> bytearray:
    place, length = _place(rng, content), rng.choice((1, 2, 4, 8, 64))
    content[place : place + length] = rng.choice((bytes(length), b"\xff" * length))
    return content


def _cut(rng: random.Random, content: bytearray) -> bytearray:
    return content[: _place(rng, content)]


def _remove(rng: random.Random, content: bytearray) -> bytearray:
    place = _place(rng, content)
    del content[place : place + rng.choice((1, 3, 50, 1000))]
    return content


def _repeat(rng: random.Random, content: bytearray) -> bytearray:
    place = _place(rng, content)
    part = content[place : place + rng.choice((1, 8, 200))]
    content[place:place] = part * rng.choice((1, 2, 100))
    return content


def _exchange(rng: random.Random, content: bytearray) -> bytearray:
    """Put another number or word in the place of one."""
    found = list(_TOKEN.finditer(bytes(content[:_HEADER])))
    if found:
        token = rng.choice(found)
        new = rng.choice(_NUMBERS + _WORDS)
        # Of the same length half of the time: else all that follows has moved.
        if rng.random() < 0.5:
            new = new[: len(token[0])].ljust(len(token[0]))
        content[token.start() : token.end()] = new
    return content


def _swap(rng: random.Random, content: bytearray) -> bytearray:
    """Exchange two of the numbers or words."""
    found = list(_TOKEN.finditer(bytes(content[:_HEADER])))
    if len(found) >= 2:
        first, second = sorted(rng.sample(found, 2), key=lambda token: token.start())
        content[second.start() : second.end()] = first[0]
        content[first.start() : first.end()] = second[0]
    return content


_MUTATIONS: tuple[Mutation, ...] = (
    *(_flip, _overwrite, _cut, _remove, _repeat, _exchange, _exchange, _swap),
)
