"""The caption cleaning of PixArt's alpha scripts, step for step.

The steps, their order and the vectors that test them are those of ``clean_caption`` in
PixArt-alpha's ``diffusion/model/t5.py``, which diffusers repeats.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import unquote_plus

Substitution = tuple[re.Pattern[str], str]


def _steps(*pairs: tuple[str, str]) -> tuple[Substitution, ...]:
    return tuple((re.compile(pattern), replacement) for pattern, replacement in pairs)


_DOMAIN = r"[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/-]*\b/?(?!@)"
_FILE_ENDINGS = "png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4"
_DASHES = (
    "\u002d\u058a\u05be\u1400\u1806\u2010-\u2015\u2e17\u2e1a\u2e3a\u2e3b\u2e40\u301c\u3030"
    "\u30a0\ufe31\ufe32\ufe58\ufe63\uff0d"
)

_LINKS = _steps(
    ("<person>", "person"),
    (rf"\b(?:https?:(?:/{{1,3}}|[a-zA-Z0-9%])|{_DOMAIN})", ""),
    (rf"\b(?:www:(?:/{{1,3}}|[a-zA-Z0-9%])|{_DOMAIN})", ""),
)
"""Before the text is read as HTML."""

_SIGNS = _steps(
    (r"@[\w\d]+\b", ""),
    ("[\u31c0-\u31ef\u31f0-\u31ff\u3200-\u33ff\u3400-\u4dbf\u4dc0-\u4dff\u4e00-\u9fff]+", ""),
    (f"[{_DASHES}]+", "-"),
    ("[`\u00b4\u00ab\u00bb\u201c\u201d\u00a8]", '"'),
    ("[\u2018\u2019]", "'"),
    ("&quot;?", ""),
    ("&amp", ""),
    (r"\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}", " "),
    (r"\d:\d\d\s+$", ""),
    (r"\\n", " "),
    (r"#\d{1,3}\b", ""),
    (r"#\d{5,}\b", ""),
    (r"\b\d{6,}\b", ""),
    (rf"[\S]+\.(?:{_FILE_ENDINGS})", ""),
    (r"[\"']{2,}", '"'),
    (r"[.]{2,}", " "),
    (r"[#®•©™&@·º½¾¿¡§~)(\]\[}{|\\/*]+", " "),
    (r"\s+\.\s+", " "),
)
"""Marks that mean nothing to T5."""

_JOINTS = re.compile(r"[-_]")
_MOST_JOINTS = 3
"""More hyphens and underscores than this are taken for spaces."""

_WORDS = _steps(
    (r"\b[a-zA-Z]{1,3}\d{3,15}\b", ""),
    (r"\b[a-zA-Z]+\d+[a-zA-Z]+\b", ""),
    (r"\b\d+[a-zA-Z]+\d+\b", ""),
    (r"(worldwide\s+)?(free\s+)?shipping", ""),
    (r"(free\s)?download(\sfree)?", ""),
    (r"\bclick\b\s(?:for|on)\s\w+", ""),
    (rf"\b(?:{_FILE_ENDINGS})(\simage[s]?)?", ""),
    (r"\bpage\s+\d+\b", ""),
    (r"\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b", " "),
    (r"\b\d+\.?\d*[xх×]\d+\.?\d*\b", ""),
    (r"\b\s+:\s+", ": "),
    (r"(\D[,./])\b", r"\1 "),
    (r"\s+", " "),
)
"""What shops, cameras and file names leave in captions."""

_QUOTED = re.compile(r"^[\"']([\w\W]+)[\"']$")
_ENDS = _steps(
    (r"^['_,\-:;]", ""),
    (r"['_,\-:+]$", ""),
    (r"^\.\S+$", ""),
)


def clean_twice(text: str) -> str:
    """Return what the alpha scripts, and diffusers with its libraries, feed to the tokenizer.

    Raises ImportError without ftfy or beautifulsoup4.
    """
    return clean_once(clean_once(text))


def clean_once(text: str) -> str:
    """Clean a caption once, as DiffEngine does; raise ImportError as `clean_twice`."""
    fix, text_of = _libraries()
    text = unquote_plus(str(text)).strip().lower()
    text = text_of(_apply(_LINKS, text))
    text = _apply(_SIGNS, text)
    if len(_JOINTS.findall(text)) > _MOST_JOINTS:
        text = _JOINTS.sub(" ", text)
    text = html.unescape(html.unescape(fix(text))).strip()
    text = _apply(_WORDS, text)
    return _apply(_ENDS, _QUOTED.sub(r"\1", text)).strip()


def _libraries() -> tuple[Callable[[str], str], Callable[[str], str]]:
    import ftfy
    from bs4 import BeautifulSoup
    from bs4.builder import ParserRejectedMarkup

    def text_of(markup: str) -> str:
        try:
            words: Any = BeautifulSoup(markup, features="html.parser").text
        except ParserRejectedMarkup:
            # "<![" and the like: no markup, though it begins like some.
            return markup
        return str(words)

    return ftfy.fix_text, text_of


def _apply(steps: Sequence[Substitution], text: str) -> str:
    for pattern, replacement in steps:
        text = pattern.sub(replacement, text)
    return text
