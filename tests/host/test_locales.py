"""The texts of `locales/`: every node, input and output has its own, in every language."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import requests

from devtools.client import HostClient
from devtools.environment import ROOT

LOCALES = ROOT / "locales"
TRANSLATIONS = ("ja", "zh")
LANGUAGES = ("en", *TRANSLATIONS)

MESSAGE_SYNTAX = re.compile(r"[@{}|]")
"""The editor would take it for a link, a variable or a plural, and show something else."""
NUMBER = re.compile(r"\d+(?:\.\d+)?")

Texts = dict[str, str]
"""By their place in the file, as ``PixArtSampler.inputs.seed.tooltip``."""


def placed(tree: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from ((f"{key}.{place}", text) for place, text in placed(value))
        else:
            yield key, value


def written(language: str) -> Texts:
    path = LOCALES / language / "nodeDefs.json"
    return dict(placed(json.loads(path.read_text(encoding="utf-8"))))


def described(entry: dict[str, Any]) -> dict[str, Any]:
    """What a node says of itself, in the form of the files."""
    inputs = {**entry["input"]["required"], **entry["input"].get("optional", {})}
    outputs = zip(entry["output_name"], entry["output_tooltips"], strict=True)
    return {
        "display_name": entry["display_name"],
        "description": entry["description"],
        "inputs": {
            # As the editor looks them up.
            name.replace(".", "_"): {
                "name": options.get("display_name") or name,
                "tooltip": options.get("tooltip") or "",
            }
            for name, (_, options) in inputs.items()
        },
        "outputs": {
            str(slot): {"name": name, "tooltip": tooltip or ""}
            for slot, (name, tooltip) in enumerate(outputs)
        },
    }


@pytest.fixture(scope="module")
def said(client: HostClient) -> Texts:
    """What the nodes that are in the menu say of themselves."""
    ours = {name: e for name, e in client.object_info().items() if e["category"] == "PixArt"}
    return dict(placed({name: described(entry) for name, entry in ours.items()}))


def test_every_language_is_tested() -> None:
    assert {path.name for path in LOCALES.iterdir()} == set(LANGUAGES)


def test_english_is_what_the_nodes_say(said: Texts) -> None:
    assert written("en") == said


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_missing_or_left_over(said: Texts, language: str) -> None:
    texts = written(language)
    assert texts.keys() == said.keys()
    assert not [place for place, text in texts.items() if not text.strip()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_editor_shows_them_as_they_are(client: HostClient, language: str) -> None:
    texts = written(language)
    assert not [place for place, text in texts.items() if MESSAGE_SYNTAX.search(text)]
    served = requests.get(f"http://{client.address}/i18n", timeout=30).json()
    assert texts.items() <= dict(placed(served[language]["nodeDefs"])).items()


@pytest.mark.parametrize("language", TRANSLATIONS)
def test_a_translation_says_the_same(language: str) -> None:
    texts = written(language)
    for place, english in written("en").items():
        if place.endswith(("tooltip", "description")):
            assert texts[place] != english, place
            assert set(NUMBER.findall(texts[place])) == set(NUMBER.findall(english)), place
