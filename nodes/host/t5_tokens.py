"""T5's tokens: the host's tokenizer, or the one that lies beside the weights."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import comfy.sd1_clip
import comfy.text_encoders.pixart_t5
import comfy.text_encoders.spiece_tokenizer
from transformers import PreTrainedTokenizerFast

from ...pixart_core.errors import CheckpointError
from ...pixart_core.text.t5 import VOCABULARY
from ...pixart_core.text.tokens import END, fit_tokens
from ...pixart_core.variants import LONGEST_PROMPT

log = logging.getLogger("pixart")

TOKENS_KEY = "t5xxl"
"""Name under which the host, and other packs, look for T5's tokens and weights."""

UNCUT = "pixart_uncut"
"""Tokenizer option by which a node says that it cuts the tokens itself."""

_PATH = "pixart_tokenizer"


class _JsonTokenizer:
    """A ``tokenizer.json``, opened as the host opens tokenizers."""

    @staticmethod
    def from_pretrained(path: str, **_: Any) -> PreTrainedTokenizerFast:
        """Open the file."""
        return PreTrainedTokenizerFast(tokenizer_file=path)


class _OwnTokenizer(comfy.sd1_clip.SDTokenizer):  # type: ignore[misc]
    """The host's way to tokens and weights, around the tokenizer of a model's folder."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        path: Path = tokenizer_data[_PATH]
        kind = (
            _JsonTokenizer
            if path.suffix == ".json"
            else comfy.text_encoders.spiece_tokenizer.SPieceTokenizer
        )
        super().__init__(
            str(path),
            embedding_directory=embedding_directory,
            pad_with_end=False,
            embedding_size=4096,
            embedding_key=TOKENS_KEY,
            tokenizer_class=kind,
            has_start_token=False,
            pad_to_max_length=False,
            max_length=99999999,
            min_length=1,
        )


class PixArtTokenizer(comfy.sd1_clip.SD1Tokenizer):  # type: ignore[misc]
    """A T5 tokenizer, cutting a prompt at the longest that any PixArt reads."""

    def __init__(self, embedding_directory: Any = None, tokenizer_data: Any = None) -> None:
        data = tokenizer_data or {}
        super().__init__(
            embedding_directory=embedding_directory,
            tokenizer_data=data,
            name=TOKENS_KEY,
            tokenizer=_OwnTokenizer
            if _PATH in data
            else comfy.text_encoders.pixart_t5.T5XXLTokenizer,
        )
        self.own_file: Path | None = data.get(_PATH)
        if self.own_file is None:
            # The tokenizer would warn at 512 tokens of a limit that is not PixArt's.
            self.t5xxl.tokenizer.model_max_length = self.t5xxl.max_length

    def tokenize_with_weights(
        self, text: str, return_word_ids: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Tokenize: {"t5xxl": [[(token, weight), …, end]]}; uncut with the option UNCUT.

        Raises CheckpointError where the model's own tokenizer file breaks at this text.
        """
        tokens: dict[str, Any]
        try:
            tokens = super().tokenize_with_weights(text, return_word_ids, **kwargs)
        except BaseException as error:
            if self.own_file is None or not _is_panic(error):
                raise
            raise _no_tokenizer(self.own_file, f"a file that fails ({error})") from error
        if kwargs.get("tokenizer_options", {}).get(UNCUT):
            return tokens
        (row,) = tokens[TOKENS_KEY]
        fitted = fit_tokens(row, LONGEST_PROMPT)
        if fitted.cut:
            log.warning(
                "A prompt is longer than any PixArt model reads; its last %d tokens are left out.",
                len(fitted.cut),
            )
        return {TOKENS_KEY: [fitted.kept]}


def tokenizer_data(path: Path | None) -> dict[str, Any]:
    """Return what `PixArtTokenizer` needs for the tokenizer at ``path``; None is the host's.

    Raises CheckpointError for a file that is no tokenizer of T5.
    """
    if path is None:
        return {}
    data = {_PATH: path}
    try:
        tokenizer = _OwnTokenizer(tokenizer_data=data)
        ends, vocabulary = tokenizer.end_token, max(tokenizer.inv_vocab)
    # The libraries that read them raise whatever their native code throws.
    except BaseException as error:
        if not (isinstance(error, Exception) or _is_panic(error)):
            raise
        raise _no_tokenizer(path, f"a file that cannot be read ({error})") from error
    if ends != END or vocabulary > VOCABULARY - 1:
        raise _no_tokenizer(path, f"tokens up to {vocabulary}, the end being {ends}")
    return data


def _is_panic(error: BaseException) -> bool:
    """Whether native code broke down: no Exception, so the host's queue would end with it."""
    return type(error).__name__ == "PanicException"


def _no_tokenizer(path: Path, found: str) -> CheckpointError:
    return CheckpointError(
        f"{path.name} in {path.parent.name} cannot be used as T5's tokenizer",
        found=found,
        expected=f"the tokenizer of T5 v1.1, with tokens up to {VOCABULARY - 1} and the end {END}",
        advice="Download it again, or remove it: ComfyUI's own tokenizer is used then.",
    )
