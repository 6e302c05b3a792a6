"""Bad values for an input, by its type, and graphs with one of them in it."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from typing import Any

from .habitats import HABITATS, Graph

_OUT = "../../../../etc/passwd"
_VALUES: Mapping[str, Mapping[str, Any]] = {
    "INT": {
        **{"below": "min-1", "above": "max+1", "huge": 2**80, "very low": -(2**70)},
        **{"a half": 1.5, "words": "many", "nothing": None, "a list": [1, 2, 3], "an object": {}},
    },
    "FLOAT": {
        **{"below": "min-1", "above": "max+1", "not a number": "nan", "endless": "inf"},
        **{"words": "many", "nothing": None, "a list": [1, 2, 3], "an object": {}},
    },
    "STRING": {
        **{"nothing": None, "a number": 7, "an object": {"a": 1}, "a list": [1, 2, 3]},
        **{"control characters": "a\x00b\x1b[31m\u202e\ufffe", "long": "word " * 30_000},
        **{"brackets": "((((a:1e999)))((b:nan)", "half a pair": "\ud83d red", "a path": _OUT},
    },
    "COMBO": {
        **{"unknown": "no-such-thing", "empty": "", "leads out": _OUT, "absolute": "/etc/passwd"},
        **{"a number": 3, "nothing": None, "a list": [1, 2, 3], "an object": {}, "NUL": "a\x00b"},
        **{"a device": "CON", "backslashes": "..\\..\\x.safetensors"},
    },
    "BOOLEAN": {"words": "perhaps", "a list": [1, 2, 3], "an object": {}},
    "LINK": {
        **{"nobody": ["nobody", 0], "no such output": ["vae", 9], "another kind": ["vae", 0]},
        **{"itself": ["x", 0], "a number": 3, "words": "the model", "nothing": None},
        **{"half a link": ["vae"], "a slot in words": ["vae", "first"]},
    },
}
_PLAIN = ("INT", "FLOAT", "STRING", "COMBO", "BOOLEAN")


def cases(info: Mapping[str, Any]) -> Iterator[tuple[str, Graph]]:
    """Give each name with its graph, for every input of every node of the pack."""
    for kind, habitat in HABITATS.items():
        described = info[kind]["input"]
        for place in ("required", "optional"):
            for name, spec in described.get(place, {}).items():
                if place == "required":
                    yield f"{kind} · {name} · left out", _without(habitat, name)
                yield from _of_input(kind, habitat, name, spec)


def _of_input(kind: str, habitat: Graph, name: str, spec: list[Any]) -> Iterator[tuple[str, Graph]]:
    type_ = "COMBO" if isinstance(spec[0], list) else spec[0]
    options = spec[1] if len(spec) > 1 else {}
    for label, value in _VALUES[type_ if type_ in _PLAIN else "LINK"].items():
        bad = _meant(value, options)
        if bad is not None or value is None:
            yield f"{kind} · {name} · {label}", _with(habitat, name, bad)


def _meant(value: Any, options: Mapping[str, Any]) -> Any:
    """Return a value beyond a limit where that is meant; None where there is no limit."""
    match value:
        case "min-1":
            return options["min"] - 1 if "min" in options else None
        case "max+1":
            return options["max"] + 1 if "max" in options else None
    return value


def _with(habitat: Graph, name: str, value: Any) -> Graph:
    graph = copy.deepcopy(habitat)
    graph.setdefault("vae", {"class_type": "VAELoader", "inputs": {"vae_name": "pixel_space"}})
    graph["x"]["inputs"][name] = value
    return graph


def _without(habitat: Graph, name: str) -> Graph:
    graph = copy.deepcopy(habitat)
    graph["x"]["inputs"].pop(name, None)
    return graph
