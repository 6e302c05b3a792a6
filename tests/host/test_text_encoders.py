"""T5 from every kind of file and in every precision, in this process."""

from __future__ import annotations

import gc
import importlib.metadata
import random
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import sentencepiece
import torch
from safetensors.torch import save_file
from torch import Tensor

from demo.scenes import random_scene
from devtools.environment import ROOT, host_folder

from ..corpus.bad_folders import QUANTISATIONS, TOKENIZERS
from .conftest import DEMO
from .older_hosts import INT8, need_int8
from .t5_files import FORMS, demo_tensors
from .test_parity import reference_t5

PROMPTS = [random_scene(random.Random(i)).caption() for i in range(32)]
HOST_TOKENIZER = host_folder() / "comfy" / "text_encoders" / "t5_tokenizer"

Load = Callable[..., Any]


@pytest.fixture(autouse=True)
def as_in_the_host() -> Iterator[None]:
    """The host runs every prompt so, and its quantised layers need it."""
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def load(pack: ModuleType) -> Load:
    """The loader of text encoders."""
    from pixart_pack.nodes.host.text_encoder import load_text_encoder

    def loaded(path: Path = DEMO["text_encoders"], precision: str = "auto") -> Any:
        return load_text_encoder(path, precision, "auto")

    return loaded


def embedding(clip: Any, text: str) -> Tensor:
    """Encode as PixArt Prompt does: (1, L, C)."""
    from pixart_pack.nodes.host.conditioning import encode_prompts

    ((tensor, _),) = encode_prompts(clip, [text], "off", None).conditioning
    return torch.as_tensor(tensor)


def apart(found: Tensor, wanted: Tensor) -> float:
    """Return the relative distance."""
    return float((found - wanted).norm() / wanted.norm())


@pytest.fixture
def older_host(pack: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host without int8, as 0.26 and older are."""
    import comfy.quant_ops

    known = {k: v for k, v in comfy.quant_ops.QUANT_ALGOS.items() if k != INT8}
    monkeypatch.setattr(comfy.quant_ops, "QUANT_ALGOS", known)


@pytest.mark.usefixtures("older_host")
def test_an_older_host_keeps_t5_in_fp8_and_says_so(
    load: Load, caplog: pytest.LogCaptureFixture
) -> None:
    found = load(precision="int8 (offloadable)")
    assert "T5 is kept in fp8" in caplog.text
    assert found.cond_stage_model.source.precision == "fp8"
    text = PROMPTS[0]
    assert torch.equal(embedding(found, text), embedding(load(precision="fp8"), text))


@pytest.mark.usefixtures("older_host")
@pytest.mark.parametrize("precision", ["auto", "fp32"])
def test_an_older_host_says_that_it_cannot_read_int8(
    load: Load, tmp_path: Path, precision: str
) -> None:
    with pytest.raises(ValueError, match=r"found the format int8_tensorwise.+ update ComfyUI"):
        load(FORMS["int8"][0](tmp_path), precision)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_file_is_read(
    load: Load, demo: dict[str, Any], tmp_path: Path, form: str
) -> None:
    need_int8(form)
    write, close = FORMS[form]
    clip = load(write(tmp_path))
    assert apart(embedding(clip, PROMPTS[0]), embedding(demo["clip"], PROMPTS[0])) <= close


@pytest.mark.parametrize("form", ["fp8 scaled", "int8"])
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp8", "int8 (offloadable)",
                                       "8-bit (bitsandbytes)"])  # fmt: skip
def test_a_quantised_file_takes_every_precision(
    load: Load, demo: dict[str, Any], tmp_path: Path, form: str, precision: str
) -> None:
    need_int8(form, precision)
    clip = load(FORMS[form][0](tmp_path), precision)
    assert apart(embedding(clip, PROMPTS[0]), embedding(demo["clip"], PROMPTS[0])) <= 0.06


@pytest.mark.parametrize("precision", ["int8 (offloadable)", "fp8"])
def test_quantised_weights_stay_small(load: Load, tmp_path: Path, precision: str) -> None:
    need_int8(precision)
    path = FORMS["fp32"][0](tmp_path)
    whole, small = (load(path, p).patcher.model_size() for p in ("bf16", precision))
    table = 2 * demo_tensors()["shared.weight"].numel()
    assert small - table <= 0.53 * (whole - table)


@pytest.mark.parametrize(
    ("precision", "least"),
    [
        ("bf16", 0.9999),
        ("fp16", 0.9999),
        ("fp8", 0.995),
        ("int8 (offloadable)", 0.995),
        ("8-bit (bitsandbytes)", 0.995),
        ("4-bit (bitsandbytes)", 0.95),
    ],
)
def test_precisions_mean_the_same(
    load: Load, demo: dict[str, Any], precision: str, least: float
) -> None:
    need_int8(precision)
    clip = load(precision=precision)
    for text in PROMPTS:
        pair = embedding(clip, text).flatten(), embedding(demo["clip"], text).flatten()
        assert torch.nn.functional.cosine_similarity(*pair, dim=0) >= least


@pytest.mark.parametrize("precision", ["int8 (offloadable)", "8-bit (bitsandbytes)"])
def test_weights_of_words_work_in_every_precision(
    load: Load, demo: dict[str, Any], precision: str
) -> None:
    need_int8(precision)
    text = "a (red:1.4) circle, (blue:0.6)"
    assert apart(embedding(load(precision=precision), text), embedding(demo["clip"], text)) < 0.03


def test_both_engines_agree_in_fp32(
    load: Load, demo: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine for bitsandbytes around the same T5 of transformers, left unquantised."""
    from pixart_pack.nodes.host import t5_transformers

    monkeypatch.setattr(t5_transformers, "load_in_bits", lambda *_: reference_t5())
    clip = load(precision="8-bit (bitsandbytes)")
    for text in (*PROMPTS[:4], "", "a (red:1.4) circle, (blue:0.6)"):
        assert apart(embedding(clip, text), embedding(demo["clip"], text)) <= 1e-5


def test_fp16_keeps_what_would_overflow(load: Load, tmp_path: Path) -> None:
    tensors = demo_tensors()
    key = "encoder.block.0.layer.1.DenseReluDense.wo.weight"
    tensors[key][0, 0] = 1e6
    save_file(tensors, tmp_path / "t5.safetensors")
    clip = load(tmp_path / "t5.safetensors", "fp16")
    weights = clip.cond_stage_model.t5xxl.transformer.state_dict()
    assert weights[key].dtype == torch.float32
    assert weights["shared.weight"].dtype == torch.float16
    assert torch.isfinite(embedding(clip, "a circle")).all()


def test_an_embedding_that_is_not_finite_is_an_error(load: Load, tmp_path: Path) -> None:
    tensors = demo_tensors()
    tensors["encoder.final_layer_norm.weight"][:] = 3e38
    save_file(tensors, tmp_path / "t5.safetensors")
    message = r'T5, which .* float32, the precision being "fp32", expected finite numbers. Load T5'
    with pytest.raises(ValueError, match=message):
        embedding(load(tmp_path / "t5.safetensors", "fp32"), "a circle")


def test_the_tokenizer_of_the_folder_is_used(load: Load, tmp_path: Path) -> None:
    folder = FORMS["folder of safetensors"][0](tmp_path)
    wanted = load().tokenize("a small red circle")
    shutil.copy(HOST_TOKENIZER / "tokenizer.json", folder)
    clip = load(folder)
    assert type(clip.tokenizer.t5xxl).__name__ == "_OwnTokenizer"
    assert clip.tokenize("a small red circle") == wanted
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot be used as T5's tokenizer"):
        load(folder)


@pytest.mark.parametrize("label", TOKENIZERS)
def test_a_broken_tokenizer_ends_in_a_sentence(load: Load, tmp_path: Path, label: str) -> None:
    """Some end native code in a panic, which is no Exception: the host's queue would stop."""
    folder = FORMS["folder of safetensors"][0](tmp_path)
    name, content = TOKENIZERS[label]
    (folder / name).write_bytes(content())
    with pytest.raises(ValueError, match=f"{name} in .* cannot be used as T5's tokenizer"):
        load(folder).tokenize("a small red circle")


@pytest.mark.parametrize("precision", ["auto", "fp32"])
@pytest.mark.parametrize("label", QUANTISATIONS)
def test_quantisation_that_does_not_fit_is_a_sentence(
    load: Load, tmp_path: Path, label: str, precision: str
) -> None:
    save_file({**demo_tensors(), **QUANTISATIONS[label]}, tmp_path / "t5.safetensors")
    message = r"t5\.safetensors cannot be loaded: found|cannot be used: found numbers that are not"
    with pytest.raises(ValueError, match=message):
        load(tmp_path / "t5.safetensors", precision)


def test_a_sentencepiece_model_is_used(load: Load, tmp_path: Path) -> None:
    folder = FORMS["folder of safetensors"][0](tmp_path)
    (tmp_path / "text").write_text("\n".join(PROMPTS), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(folder / "spiece"), vocab_size=60,
        hard_vocab_limit=False, pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    own = sentencepiece.SentencePieceProcessor(model_file=str(folder / "spiece.model"))
    (row,) = load(folder).tokenize(PROMPTS[0])["t5xxl"]
    assert [token for token, _ in row] == [*own.encode(PROMPTS[0]), 1]


def host_clip(least: int) -> Any:
    """Return the host's own CLIP of type pixart around the demo weights, padding to ``least``."""
    import comfy.sd
    import comfy.supported_models_base
    from comfy.sd1_clip import SD1Tokenizer
    from comfy.text_encoders import pixart_t5, sd3_clip
    from pixart_pack.nodes.host.text_encoder import _host_config, open_t5

    def tokenizer(**kwargs: Any) -> Any:
        return SD1Tokenizer(
            clip_name="t5xxl",
            tokenizer=lambda **own: sd3_clip.T5XXLTokenizer(min_length=least, **own),
            **kwargs,
        )

    file = open_t5(DEMO["text_encoders"])
    options = {"t5xxl_model_config": _host_config(file.shape), "dtype": torch.float32}
    target = comfy.supported_models_base.ClipTarget(tokenizer, pixart_t5.pixart_te())
    tensors = {key: value.float() for key, value in file.tensors.items()}
    return comfy.sd.CLIP(target, state_dict=[tensors], model_options=options)


@pytest.mark.parametrize("least", [1, 77])
def test_the_hosts_own_clip_is_cut_by_our_node(demo: dict[str, Any], least: int) -> None:
    from pixart_pack.nodes.host.conditioning import encode_prompts

    text = " ".join(["red"] * 200)
    clips = (host_clip(least), demo["clip"])
    for given in (PROMPTS[0], text):
        theirs, ours = (encode_prompts(c, [given], "auto", demo["model"]) for c in clips)
        assert theirs.notice == ours.notice
        assert apart(theirs.conditioning[0][0], ours.conditioning[0][0]) <= 1e-5
    assert ours.conditioning[0][0].shape[1] == 120
    assert ours.notice.startswith("120 of 120 tokens. Cut: red red")


@pytest.mark.parametrize("precision", ["int8 (offloadable)", "8-bit (bitsandbytes)"])
def test_what_is_unloaded_comes_back_and_what_is_dropped_is_gone(
    load: Load, precision: str
) -> None:
    import comfy.model_management

    clip = load(precision=precision)
    first = embedding(clip, PROMPTS[0])
    comfy.model_management.unload_all_models()
    assert torch.equal(embedding(clip, PROMPTS[0]), first)
    model = weakref.ref(clip.cond_stage_model)
    del clip
    comfy.model_management.unload_all_models()
    gc.collect()
    assert model() is None


def test_bitsandbytes_takes_no_lora_but_int8_does(load: Load) -> None:
    """By the name that a LoRA file has for a layer, as the host's own loader looks it up."""
    import comfy.lora

    name = "lora_te1_encoder_block_0_layer_0_SelfAttention_q"
    difference = torch.full((128, 128), 0.1)
    for precision in ("fp32", "int8 (offloadable)"):
        clip = load(precision=precision)
        before = embedding(clip, PROMPTS[0])
        key = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {})[name]
        patched = clip.clone()
        assert patched.add_patches({key: ("diff", (difference,))}, 1.0) == [key]
        assert apart(embedding(patched, PROMPTS[0]), before) > 0.01
        assert apart(embedding(clip, PROMPTS[0]), before) < 1e-6
    clip = load(precision="8-bit (bitsandbytes)").clone()
    key = comfy.lora.model_lora_keys_clip(clip.cond_stage_model, {})[name]
    for patch in (clip.add_patches, lambda *given: clip.patcher.add_hook_patches(None, *given)):
        with pytest.raises(ValueError, match="LoRA cannot be applied to this T5"):
            patch({key: ("diff", (difference,))}, 1.0)
        assert patch({"another.model": ("diff", (difference,))}, 1.0) == []


def test_an_8_bit_layer_keeps_one_weight_that_moves_with_its_scales(load: Load) -> None:
    """From the first moment: ``to`` moves what lies in the layer's state, and nothing else."""
    clip = load(precision="8-bit (bitsandbytes)")
    layer = clip.cond_stage_model.t5xxl.transformer.encoder.block[0].layer[0].SelfAttention.q
    for _ in range(2):
        assert layer.weight.CB is None
        assert layer.state.SCB.shape == (128,)
        assert layer.weight.data_ptr() == layer.state.CB.data_ptr()
        embedding(clip, PROMPTS[0])
        clip.patcher.detach()


@pytest.mark.parametrize(
    ("installed", "found"),
    [
        (None, "no package bitsandbytes"),
        ("0.41.3", "bitsandbytes 0.41.3, expected bitsandbytes 0.46 or newer"),
    ],
)
def test_a_missing_package_is_one_sentence(
    load: Load, monkeypatch: pytest.MonkeyPatch, installed: str | None, found: str
) -> None:
    def version(name: str) -> str:
        if installed is None:
            raise importlib.metadata.PackageNotFoundError(name)
        return installed

    monkeypatch.setattr(importlib.metadata, "version", version)
    with pytest.raises(ValueError, match=found) as caught:
        load(precision="8-bit (bitsandbytes)")
    assert f'"{sys.executable}" -m pip install "' in str(caught.value)


@pytest.mark.parametrize("before", ["", "import kernels, transformers\n"])
def test_bitsandbytes_is_imported_late_and_asks_no_hub(tmp_path: Path, before: str) -> None:
    """A package ``kernels`` that would go to the network is there, and is not asked."""
    witness = tmp_path / "asked"
    (tmp_path / "kernels.py").write_text(
        f"def get_kernel(*_, **__): open({str(witness)!r}, 'w').close()\n", encoding="utf-8"
    )
    program = (
        "import sys\n"
        f"sys.path[:0] = [{str(tmp_path)!r}, {str(ROOT)!r}]\n"
        f"{before}"
        "from pathlib import Path\n"
        "from pixart_core.text.bits import load_in_bits\n"
        "from pixart_core.text.t5_file import open_t5\n"
        "assert 'bitsandbytes' not in sys.modules\n"
        f"file = open_t5(Path({str(DEMO['text_encoders'])!r}))\n"
        "load_in_bits(file.tensors.items(), file.shape, 4)\n"
        "assert 'bitsandbytes' in sys.modules\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert not witness.exists()
    assert ran.stdout + ran.stderr == ""
