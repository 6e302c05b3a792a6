"""TROUBLESHOOTING.md has an entry for each error sentence of the code, and for nothing else.

A sentence is a call that is told ``found`` and ``expected``, one that is raised as it stands, or a
text with ": found " in it. Its key is how it begins, up to there: the first argument of the call,
with … for what varies. Where fewer than three words of that are fixed, what varies is looked up: in
the function, or with those who call it. A key is a heading of the third level in the page. Where
sentences of several places share a key, whatever each has found, of three fixed words or more,
stands in bold below the heading, such as **found an empty file**.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACK = {path for name in ("pixart_core", "nodes") for path in (ROOT / name).rglob("*.py")}
TOOLS = {ROOT / "dev.py", *(ROOT / "devtools").rglob("*.py")}
NOT_SEEN = {
    "hidden_size … is not a multiple of the head size …": "such files get a sentence before it",
    "… is not a plain tensor": "is read in brackets, in “a file that holds more than tensors”",
    "… claims more numbers than there are": "is read in brackets, in the same sentence",
    "a call of …": "is read in brackets, in the same sentence",
    "a count of …": "is read in brackets, in the same sentence",
    "… letters": "is what was found in an index; other JSON passes for none",
    "… bytes": "is what was found in an index; other JSON passes for none",
    "lists within lists without end": "is what was found in an index; other JSON passes for none",
    "This model cannot draw without knowing the picture's size": "the nodes always tell the size",
}
"""Keys of what is raised but never shown to a user as a sentence, and why."""
VARIES, FEW, DEEPEST = "…", 3, 4

FILE: dict[ast.AST, Path] = {}
FUNCTION: dict[ast.AST, ast.FunctionDef | ast.AsyncFunctionDef] = {}  # the innermost around it
CALLS: dict[str, list[ast.Call]] = defaultdict(list)


class Sentence(NamedTuple):
    keys: tuple[str, ...]
    found: tuple[str, ...]
    node: ast.expr


def name_of(node: ast.expr) -> str:
    return str(getattr(node, "id", getattr(node, "attr", " ")))


def words(text: str) -> int:
    return len(re.findall(r"[^\W\d]+", text))


def texts(value: ast.expr, within: bool = False, depth: int = 0) -> tuple[str, ...]:
    """Return what an expression may say; ``within``: names in its braces are looked up too."""
    parts: list[ast.expr] = []
    match value:
        case ast.Constant(value=str(text)):
            return (text,)
        case ast.JoinedStr(values=parts):
            pass
        case ast.BinOp():
            parts = [value.left, value.right]
        case ast.FormattedValue(value=ast.Name() as name) if within and not depth:
            return texts(name, within, depth)
        case ast.IfExp(body=one, orelse=other):
            return (*texts(one, within, depth), *texts(other, within, depth))
        case ast.Name() if depth < DEEPEST and value in FUNCTION:
            given = [text for each in given_to(value) for text in texts(each, within, depth + 1)]
            return tuple(dict.fromkeys(given)) or (VARIES,)
    said = product(*(texts(part, within, depth) for part in parts))
    return tuple("".join(one) for one in said) if parts else (VARIES,)


def given_to(name: ast.Name) -> Iterator[ast.expr]:
    """Yield what is assigned to a name in its function, and what its callers give for it."""
    function = FUNCTION[name]
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and name.id in map(name_of, node.targets):
            yield node.value
    parameters = [each.arg for each in function.args.args if each.arg not in ("self", "cls")]
    for call in CALLS[function.name]:
        if not function.name.startswith("_") or FILE[call] == FILE[name]:
            yield from (v for own, v in zip(parameters, call.args, strict=False) if own == name.id)
            yield from (each.value for each in call.keywords if each.arg == name.id)


def sentences() -> Iterator[Sentence]:
    for node, path in FILE.items():
        if isinstance(node, ast.Call):
            told = {keyword.arg: keyword.value for keyword in node.keywords}
            # What tools raise without the four parts is for those who change them.
            plain = node.args and node in RAISED and name_of(node.func)[0].isupper()
            if {"found", "expected"} <= told.keys() or (plain and path in PACK):
                keys = texts(node.args[0])
                keys = texts(node.args[0], True) if min(map(words, keys)) < FEW else keys
                yield Sentence(keys, texts(told["found"]) if "found" in told else (), node)
        elif isinstance(node, ast.Constant) and re.match(".+: found .", str(node.value)):
            yield Sentence((str(node.value).partition(": found ")[0],), (), node)


for file in sorted(PACK | TOOLS):
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        FILE[node] = file
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            FUNCTION.update((inner, node) for inner in ast.walk(node))
        if isinstance(node, ast.Call):
            CALLS[name_of(node.func)].append(node)
RAISED = {node.exc for node in FILE if isinstance(node, ast.Raise) and node.exc}
SENTENCES = list(sentences())
BY_KEY = {key: [s for s in SENTENCES if key in s.keys] for made in SENTENCES for key in made.keys}

_, *SPLIT = re.split(r"^### (.+)\n", (ROOT / "TROUBLESHOOTING.md").read_text("utf-8"), flags=re.M)
HEADINGS, BELOW = SPLIT[::2], [" ".join(text.split()) for text in SPLIT[1::2]]


def test_the_page_has_the_sentences_of_the_code() -> None:
    explained = {*HEADINGS, *NOT_SEEN}
    missing = [(FILE[s[0].node].name, key) for key, s in BY_KEY.items() if key not in explained]
    assert not missing, f"without an entry: {missing}"
    assert not explained - BY_KEY.keys(), f"not in the code: {explained - BY_KEY.keys()}"
    assert len(explained) == len(HEADINGS) + len(NOT_SEEN), "an entry stands twice"


def test_sentences_that_begin_alike_are_told_apart() -> None:
    for number, key in enumerate(HEADINGS):
        below = next(text for text in BELOW[number:] if text)
        told = set(re.findall(r"\*\*found (.+?)\*\*", below))
        made = BY_KEY.get(key, [])
        found = {found for sentence in made for found in sentence.found}
        assert told <= found, key
        assert {text for text in found if words(text) >= FEW and len(made) > 1} <= told, key


def test_nothing_is_raised_in_another_way() -> None:
    """Each raise of the pack is a sentence, or calls a function that makes one."""
    made = {s.node for s in SENTENCES}
    makers = {FUNCTION[node].name for node in made if node in FUNCTION}
    for raised in (node for node in RAISED - made if FILE[node] in PACK):
        assert isinstance(raised, ast.Call), ast.unparse(raised)
        assert name_of(raised.func) in makers, ast.unparse(raised)
