"""A template's form for the editor: places, sizes and the widgets' values in their order."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .graph import App, Link, Node, Template

Info = Mapping[str, Any]
"""``/object_info`` of a host."""

_WIDGETS = ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")
_WIDTH, _WIDE = 340, 420
_GUTTER, _GAP, _TOP = 60, 70, 60
_BELOW_NOTE = ("PixArtResolution",)
_BELOW_SOURCE = ("SaveImage", "PreviewImage")
"""Kinds that stand elsewhere than right of what they wait for, so that a graph opens large enough
to be read."""
_TITLE, _SLOT, _LINE, _TEXT, _SAID = 40, 22, 28, 150, 90
_SHOWN = {"PixArtModelLoader": 74, "PixArtTextEncode": 58, "PixArtResolution": 110}
"""Height of what the pack's own part of the editor puts under its nodes."""
_NOTE = 99
"""Id of the note; templates have fewer nodes."""
_NOTE_LINE, _NOTE_LETTERS = 24, 48


def editor_form(template: Template, info: Info, version: str) -> dict[str, Any]:
    """Return the workflow as the editor saves it; ``version`` is the pack's."""
    links = _links(template, info)
    places = _places(template, info)
    then = "randomize" if template.app else "fixed"
    nodes = [
        _node(node, info, links, places[node.number], order, version, then)
        for order, node in enumerate(template.nodes)
    ]
    return {
        "last_node_id": _NOTE,
        "last_link_id": len(links),
        "nodes": [*nodes, _note(template)],
        "links": [[number, *link] for number, link in links.items()],
        "groups": [],
        "config": {},
        "extra": _app_mode(template.app) if template.app else {},
        "version": 0.4,
    }


def _app_mode(app: App) -> dict[str, Any]:
    shown = {
        "inputs": [[node.number, name] for node, name in app.inputs],
        "outputs": [node.number for node in app.outputs],
    }
    return {"linearMode": True, "linearData": shown}


def _inputs(node: Node, info: Info) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Return type and options of a node's inputs, in their order."""
    described = info[node.kind]["input"]
    both = {**described.get("required", {}), **described.get("optional", {})}
    return {name: (spec[0], spec[1] if len(spec) > 1 else {}) for name, spec in both.items()}


def _is_widget(kind: Any, options: Mapping[str, Any]) -> bool:
    return (isinstance(kind, list) or kind in _WIDGETS) and not options.get("forceInput")


def _type(kind: Any) -> str:
    return "COMBO" if isinstance(kind, list) else str(kind)


def _links(template: Template, info: Info) -> dict[int, tuple[int, int, int, int, str]]:
    """Return origin, slot, target, slot and type of each link, by its number."""
    found = []
    for node in template.nodes:
        for slot, name in enumerate(_sockets(node, info)):
            value = node.inputs.get(name)
            if isinstance(value, Link):
                kind = info[value.node.kind]["output"][value.slot]
                found.append((value.node.number, value.slot, node.number, slot, _type(kind)))
    return dict(enumerate(found, 1))


def _sockets(node: Node, info: Info) -> list[str]:
    """Return the inputs that the editor shows as sockets: no widgets, or widgets with a link."""
    inputs = _inputs(node, info)
    plain = [name for name, spec in inputs.items() if not _is_widget(*spec)]
    linked = [n for n in inputs if n not in plain and isinstance(node.inputs.get(n), Link)]
    return [*plain, *linked]


def _node(
    node: Node,
    info: Info,
    links: Mapping[int, tuple[int, int, int, int, str]],
    place: tuple[int, int],
    order: int,
    version: str,
    then: str,
) -> dict[str, Any]:
    inputs = _inputs(node, info)
    incoming = {link[3]: number for number, link in links.items() if link[2] == node.number}
    sockets = []
    for slot, name in enumerate(_sockets(node, info)):
        socket = {"name": name, "type": _type(inputs[name][0]), "link": incoming.get(slot)}
        of_widget = {"widget": {"name": name}} if _is_widget(*inputs[name]) else {}
        sockets.append({**socket, **of_widget})
    described = info[node.kind]
    outputs = [
        {
            "name": name,
            "type": _type(kind),
            "links": [i for i, link in links.items() if link[:2] == (node.number, slot)],
            "slot_index": slot,
        }
        for slot, (kind, name) in enumerate(
            zip(described["output"], described["output_name"], strict=True)
        )
    ]
    return {
        **{"id": node.number, "type": node.kind, "pos": list(place)},
        **{"size": list(_size(node, info)), "flags": {}, "order": order, "mode": 0},
        **({"title": node.title} if node.title else {}),
        **{"inputs": sockets, "outputs": outputs},
        "properties": _properties(node, info, version),
        "widgets_values": _widget_values(node, info, then),
    }


def _properties(node: Node, info: Info, version: str) -> dict[str, Any]:
    ours = info[node.kind]["python_module"].startswith("custom_nodes.")
    pack = {"cnr_id": "pixart", "ver": version} if ours else {"cnr_id": "comfy-core"}
    models = [{"name": file.name, "url": file.url, "directory": file.folder} for file in node.files]
    about = {"Node name for S&R": node.kind, **pack}
    return {**about, "models": models} if models else about


def _widget_values(node: Node, info: Info, then: str) -> list[Any]:
    """Return them in their order; ``then`` is what becomes of the seed after each run."""
    values: list[Any] = []
    for name, (kind, options) in _inputs(node, info).items():
        if not _is_widget(kind, options):
            continue
        given = node.inputs.get(name)
        values.append(
            _default(kind, options) if given is None or isinstance(given, Link) else given
        )
        if options.get("control_after_generate"):
            values.append(then)
        if options.get("image_upload"):
            values.append("image")
    return values


def _default(kind: Any, options: Mapping[str, Any]) -> Any:
    choices = kind if isinstance(kind, list) else options.get("options", [""])
    nothing = {"INT": 0, "FLOAT": 0.0, "STRING": "", "BOOLEAN": False}
    return options.get("default", nothing.get(_type(kind), choices[0] if choices else ""))


def _size(node: Node, info: Info) -> tuple[int, int]:
    """Return room enough for what a node shows, in the editor's pixels."""
    described = info[node.kind]
    height = _TITLE + _SLOT * max(len(_sockets(node, info)), len(described["output"]))
    wide = False
    for kind, options in _inputs(node, info).values():
        if _is_widget(kind, options):
            tall = bool(options.get("multiline"))
            wide = wide or tall
            height += _TEXT if tall else _LINE * (1 + bool(options.get("control_after_generate")))
    if described["python_module"].startswith("custom_nodes."):
        height += _SAID + _SHOWN.get(node.kind, 0)
    if node.kind in ("SaveImage", "PreviewImage", "LoadImage"):
        height += _WIDTH
    return (_WIDE if wide else _WIDTH), height


def _places(template: Template, info: Info) -> dict[int, tuple[int, int]]:
    """Return where each node stands, columns being as wide as their widest."""
    columns, sizes = _columns(template), {n.number: _size(n, info) for n in template.nodes}
    note = _note(template)
    widest, bottom = {0: note["size"][0]}, {0: _TOP + note["size"][1] + _GAP}
    tops = {}
    for number, column in columns.items():
        width, height = sizes[number]
        tops[number] = bottom.get(column, _TOP)
        bottom[column] = tops[number] + height + _GAP
        widest[column] = max(width, widest.get(column, 0))
    left = {c: sum(widest[k] + _GUTTER for k in widest if k < c) for c in widest}
    return {number: (left[column], tops[number]) for number, column in columns.items()}


def _columns(template: Template) -> dict[int, int]:
    """Return the column of each node, right of what it waits for; the note is in column 0."""
    columns: dict[int, int] = {}
    for node in template.nodes:
        before = [columns[v.node.number] for v in node.inputs.values() if isinstance(v, Link)]
        last = max(before, default=0)
        if node.kind in _BELOW_NOTE:
            columns[node.number] = 0
        else:
            columns[node.number] = last if node.kind in _BELOW_SOURCE else last + 1
    return columns


def _note(template: Template) -> dict[str, Any]:
    """Return the note, left of the graph."""
    lines = sum(1 + len(line) // _NOTE_LETTERS for line in template.note.splitlines())
    return {
        **{"id": _NOTE, "type": "MarkdownNote", "pos": [0, _TOP]},
        **{"size": [_WIDE - 20, _TITLE + _NOTE_LINE * (lines + 2)], "flags": {}},
        **{"order": len(template.nodes), "mode": 0, "inputs": [], "outputs": []},
        **{"title": "About", "properties": {}, "widgets_values": [template.note]},
    }
