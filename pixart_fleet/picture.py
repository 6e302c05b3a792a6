"""What a PNG says about how it was made.

A picture that was drawn in a batch is to be the file that it would be alone, so that dropping it
into the editor opens the graph of this picture, and not that of the batch.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Iterator

from pixart_fleet.workflow import Graph

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_KEY = b"prompt\0"


def with_graph(png: bytes, graph: Graph, sent: Graph) -> bytes:
    """Return a PNG of the host with ``graph`` as the one that made it, in place of ``sent``.

    What the host itself noted at a node, as when its files were changed, stays. Anything but a PNG
    with the host's note comes back as it was.
    """
    if not png.startswith(_SIGNATURE):
        return png
    parts = [_SIGNATURE]
    for kind, content in _chunks(png):
        if kind == b"tEXt" and content.startswith(_KEY):
            noted = json.loads(content[len(_KEY) :])
            content = _KEY + json.dumps(_restored(noted, graph, sent)).encode("latin-1")
        parts.append(_chunk(kind, content))
    return b"".join(parts)


def _restored(noted: Graph, graph: Graph, sent: Graph) -> Graph:
    return {
        node: content
        if graph[node] == sent[node]
        else {**graph[node], **{key: content[key] for key in content.keys() - sent[node].keys()}}
        for node, content in noted.items()
    }


def _chunks(png: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = len(_SIGNATURE)
    while at < len(png):
        (length,) = struct.unpack_from(">I", png, at)
        yield png[at + 4 : at + 8], png[at + 8 : at + 8 + length]
        at += 12 + length


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
