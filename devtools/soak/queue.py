"""The queue itself: what comes next, and what must come of it."""

from __future__ import annotations

import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import requests
from PIL import Image

from devtools.client import Event, ExecutionFailed, HostClient, Interrupted, Rejected
from devtools.server import HostServer

from .kinds import BAD, GOOD, SAMPLER, Graph, graph_of

_SEEDS = (1, 2)
_LONG, _LATEST = 400, 15
"""Steps of a prompt that is to be interrupted, and after how many at most: so many are left that it
cannot end by itself before the interrupt has come."""
_MOST_SECONDS = 300.0
_AT_ONCE, _TIMES = 32, 8
"""Of requests that wake the threads: the host has at most 32 for them."""
_SHARES = {"good": 60, "two at once": 10, "interrupted": 12, "bad": 12, "free": 6}


class Queue:
    """Draws from the mix at random; ``faults`` are sentences about what was not as it should be."""

    def __init__(self, server: HostServer, rng: random.Random) -> None:
        self._server, self._rng = server, rng
        self._client = HostClient(server.address)
        self._references: dict[tuple[str, int], str] = {}
        self._numbers = iter(range(10**9))
        self._actions: dict[str, Callable[[], None]] = {
            "good": self._good,
            "two at once": self._two_at_once,
            "interrupted": self._interrupted,
            "bad": self._bad,
            "free": self._client.free,
        }
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    def draw_references(self) -> None:
        """Draw each good graph once, while nothing else has happened."""
        for kind in GOOD:
            for seed in _SEEDS:
                self._references[kind, seed] = self._drawn(self._client, kind, seed)
        self._wake_threads()
        # An older ComfyUI keeps T5 in fp8 in place of int8, and says so.
        stands_in = "This ComfyUI does not know int8" in self._server.log_text()
        told_apart = [
            picture
            for (kind, _), picture in self._references.items()
            if not (stands_in and kind == "T5 in int8")
        ]
        alike = len(told_apart) - len(set(told_apart))
        if alike:
            self.faults.append(f"{alike} of the references equal others, so tell nothing apart")

    def next_prompt(self) -> None:
        """Let something happen."""
        (what,) = self._rng.choices(list(_SHARES), list(_SHARES.values()))
        self.counts[what] += 1
        self._actions[what]()

    def settle(self) -> None:
        """Free what can be freed, so that two moments can be compared."""
        self._client.free()
        self._check(self._client, "plain", _SEEDS[0])
        self._client.free()
        # The host keeps some 20 KB of every prompt, up to 10,000 prompts.
        self._client.forget()
        address = f"http://{self._server.address}/soak/give_back"
        answer = requests.post(address, timeout=_MOST_SECONDS)
        if answer.status_code == requests.codes.conflict:
            self.faults.append("a model was in memory a minute after all had been freed")
        else:
            answer.raise_for_status()

    def _wake_threads(self) -> None:
        """Let the host make all threads that answer requests, as many would in the course of time.

        It makes another whenever it has none to spare, up to a fixed number.
        """
        graph = graph_of(GOOD["plain"], _SEEDS[0], f"soak-{next(self._numbers)}")
        (picture,) = self._client.run(graph).images()
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(self._client.image, [picture] * _AT_ONCE * _TIMES))

    def _drawn(self, client: HostClient, kind: str, seed: int) -> str:
        graph = graph_of(GOOD[kind], seed, f"soak-{next(self._numbers)}")
        pictures = [client.image(image) for image in client.run(graph).images()]
        return hashlib.sha256(b"".join(_pixels(picture) for picture in pictures)).hexdigest()

    def _check(self, client: HostClient, kind: str, seed: int) -> None:
        try:
            same = self._drawn(client, kind, seed) == self._references[kind, seed]
        except (Rejected, ExecutionFailed, Interrupted) as error:
            self.faults.append(f"{kind}, seed {seed}: {error}")
            return
        if not same:
            self.faults.append(f"{kind}, seed {seed}: another picture than at first")

    def _one(self) -> tuple[str, int]:
        return self._rng.choice(list(GOOD)), self._rng.choice(_SEEDS)

    def _good(self) -> None:
        self._check(self._client, *self._one())

    def _two_at_once(self) -> None:
        both = [self._one(), self._one()]
        clients = [HostClient(self._server.address) for _ in both]
        with ThreadPoolExecutor() as pool:
            checks = [
                pool.submit(self._check, client, *one)
                for client, one in zip(clients, both, strict=True)
            ]
        for check in checks:
            check.result()

    def _interrupted(self) -> None:
        kind, seed = self._one()
        graph = graph_of(GOOD[kind], seed, f"soak-{next(self._numbers)}", _LONG)
        last = self._rng.randrange(1, _LATEST)

        def on_event(event: Event) -> None:
            at = event.kind == "progress" and event.data.get("node") == SAMPLER
            # The host leaves out messages that come too quickly.
            if at and int(event.data["value"]) >= last:
                self._client.interrupt()

        try:
            self._client.run(graph, on_event)
        except Interrupted:
            return
        self.faults.append(f"{kind}: went on after an interrupt at step {last}")

    def _bad(self) -> None:
        kind = self._rng.choice(list(BAD))
        graph: Graph = graph_of(BAD[kind], 1, f"soak-{next(self._numbers)}")
        try:
            self._client.run(graph)
        except Rejected:
            return
        except ExecutionFailed as failure:
            if ": found " in failure.message:
                return
            self.faults.append(f"{kind}: no sentence but “{failure.message[:200]}”")
            return
        self.faults.append(f"{kind}: neither refused nor failed")


def _pixels(png: bytes) -> bytes:
    """Return a picture without what the host writes beside it."""
    return Image.open(io.BytesIO(png)).tobytes()
