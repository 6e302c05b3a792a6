"""What is done to the letters of a prompt before it is tokenized."""

from __future__ import annotations

from collections.abc import Callable

from ..variants import Family

AUTO = "auto"

CLEANINGS: dict[str, Callable[[str], str]] = {
    "lowercase": lambda text: text.lower().strip(),
    "off": lambda text: text,
}
"""alpha was trained on lower-case captions, Sigma on captions as they were."""

_BY_FAMILY: dict[Family, str] = {"alpha": "lowercase", "sigma": "off"}
_WITHOUT_MODEL = "lowercase"


def clean(text: str, cleaning: str, family: Family | None) -> str:
    """Return the prompt as it goes to the tokenizer.

    ``auto`` does what the family was trained with; without a known family, what diffusers does
    for both, which is to lower-case. Raises KeyError for an unknown ``cleaning``.
    """
    if cleaning == AUTO:
        cleaning = _BY_FAMILY[family] if family else _WITHOUT_MODEL
    return CLEANINGS[cleaning](text)
