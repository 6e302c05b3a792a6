"""Checkpoints: names in both layouts, detection by shape, and bad files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from devtools.reference import FAMILIES, ReferenceFamily, diffusers_transformer
from pixart_core.checkpoint.completeness import check_complete, check_finite
from pixart_core.checkpoint.detect import detect
from pixart_core.checkpoint.hints import Hints
from pixart_core.checkpoint.layouts import is_diffusers, to_diffusers, to_original
from pixart_core.checkpoint.reading import read_tensors, shapes_of
from pixart_core.errors import CheckpointError
from pixart_core.network import NetworkConfig, PixArtTransformer
from pixart_core.network.config import KVCompression
from pixart_core.variants import VARIANTS

Shapes = dict[str, tuple[int, ...]]


def original_shapes(family: str, grid: int | None = None, tokens: int | None = None) -> Shapes:
    """Return the shapes of a tiny original file of a family."""
    has_size = VARIANTS[family].size_conditions
    config = NetworkConfig(2, 216, 864, 4, 8, 2, 64, 32, has_size, tokens or 0)
    with torch.device("meta"):
        shapes = shapes_of(PixArtTransformer(config).state_dict())
    return shapes | ({"pos_embed": (1, grid, 216)} if grid else {})


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_layouts_there_and_back(family: ReferenceFamily) -> None:
    tensors = diffusers_transformer(family).state_dict()
    original = to_original(tensors)
    back = to_diffusers(original)
    assert is_diffusers(tensors)
    assert not is_diffusers(original)
    assert back.keys() == tensors.keys()
    assert all(torch.equal(back[key], tensors[key]) for key in tensors)


def test_unknown_names_survive_renaming() -> None:
    assert to_original({"something.else": torch.zeros(1)}).keys() == {"something.else"}


def test_an_unfinished_stack_is_left_as_it_is() -> None:
    lonely = {"transformer_blocks.0.attn1.to_q.weight": torch.zeros(2, 2)}
    assert to_original(lonely).keys() == lonely.keys()


@pytest.mark.parametrize(
    ("grid", "tokens", "wanted"),
    [
        (256, 120, "alpha-256"),
        (1024, 120, "alpha-512"),
        (1024, 120, "alpha-512-ms"),
        (4096, 120, "alpha-1024"),
        (256, 300, "sigma-256"),
        (1024, 300, "sigma-512"),
        (4096, 300, "sigma-1024"),
        (16384, 300, "sigma-2k"),
    ],
)
def test_original_files_are_told_by_their_tensors(grid: int, tokens: int, wanted: str) -> None:
    info = detect(original_shapes(wanted, grid, tokens))
    assert (info.variant.name, info.ground) == (wanted, "the file's tensors")
    assert (info.network.depth, info.network.heads) == (2, 3)
    assert info.network.position_range == (16 if wanted == "alpha-256" else 32)


@pytest.mark.parametrize(
    ("name", "wanted", "ground"),
    [
        ("PixArt-Sigma-XL-2-512-MS.safetensors", "sigma-512", "the file's name"),
        ("PixArt-Sigma-XL-2-2K-MS.safetensors", "sigma-2k", "the file's name"),
        ("sub/PixArt-XL-2-256x256.safetensors", "alpha-256", "the file's name"),
        ("sub\\PixArt-XL-2-512x512.safetensors", "alpha-512", "the file's name"),
        ("model.safetensors", "sigma-1024", "likelihood alone"),
        ("my_512_finetune.safetensors", "sigma-512", "likelihood alone"),
        ("PixArt-alpha-512.safetensors", "alpha-512", "the file's name"),
        ("my-alpha-dreambooth.safetensors", "alpha-512", "likelihood alone"),
        ("PixArt-alpha_PixArt-Sigma-XL-2-512-MS.safetensors", "sigma-512", "the file's name"),
        ("PixArt_XL_2_512x512.safetensors", "alpha-512", "the file's name"),
        ("sigma_step12k.pth", "sigma-1024", "likelihood alone"),
        ("sigma-72k-steps.pth", "sigma-1024", "likelihood alone"),
        ("sigma_epoch_5_step_51200.pth", "sigma-1024", "likelihood alone"),
        ("PixArt-Sigma-XL-2-512-DMD.pth", "sigma-512", "the file's name"),
        ("pixart_sigma_2048.pth", "sigma-2k", "the file's name"),
        ("pixart-900m-1024.safetensors", "sigma-1024", "the file's name"),
        ("PixArt-Alpha-DMD-XL-2-512x512/model.bin", "alpha-512-dmd", "the file's name"),
        ("PixArt-Sigma-XL-2-512-MS/model.safetensors", "sigma-512", "the file's name"),
        ("sigma/PixArt-XL-2-256x256.pth", "alpha-256", "the file's name"),
    ],
)
def test_names_decide_where_tensors_cannot(name: str, wanted: str, ground: str) -> None:
    info = detect(original_shapes("sigma-1024"), name)
    assert (info.variant.name, info.ground) == (wanted, ground)
    assert len(info.possible) > 1


def test_a_choice_is_taken_unless_the_tensors_rule_it_out() -> None:
    assert detect(original_shapes("sigma-512"), chosen="alpha-256").variant.name == "alpha-256"
    with pytest.raises(CheckpointError, match=r"only fit sigma-512.*Set Variant to auto"):
        detect(original_shapes("sigma-512", 1024, 300), chosen="alpha-1024")


@pytest.mark.parametrize(
    ("family", "name", "hints", "wanted", "ground"),
    [
        ("sigma-512", "a", Hints("alpha", 512), "alpha-512", "the configuration beside it"),
        ("sigma-512", "a", Hints("sigma", 512), "sigma-512", "the configuration beside it"),
        ("sigma-512", "a", Hints("sigma", 2048), "sigma-2k", "the configuration beside it"),
        ("sigma-512", "a-dmd", Hints("alpha", 512), "alpha-512-dmd", "the file's name"),
        ("sigma-512", "a", Hints("alpha"), "alpha-512", "likelihood alone"),
        ("sigma-512", "a-256", Hints("alpha"), "alpha-256", "the file's name"),
        # What the position grid's configuration tells, a name may contradict.
        ("sigma-512", "PixArt-XL-2-512x512", Hints("sigma", 512, is_family_sure=False),
         "alpha-512", "the file's name"),
        ("sigma-512", "any", Hints("sigma", 512, is_family_sure=False), "sigma-512",
         "the configuration beside it"),
        ("sigma-512", "PixArt-XL-2-512x512", Hints("sigma", 512), "sigma-512",
         "the configuration beside it"),
        # A configuration that the tensors contradict is not believed.
        ("alpha-1024", "a", Hints("sigma", 1024), "alpha-1024", "the configuration beside it"),
        ("alpha-1024", "a", Hints(None, 512), "alpha-512-ms", "the configuration beside it"),
        ("alpha-1024", "a", Hints(None, 1024, "LCM"), "alpha-1024-lcm",
         "the configuration beside it"),
        ("alpha-1024", "PixArt-LCM-XL-2-1024-MS", Hints(), "alpha-1024-lcm", "the file's name"),
        ("sigma-1024", "merged-lcm-1024-sigma", Hints(), "sigma-1024", "the file's name"),
        ("sigma-512", "any", Hints(name="alpha-256"), "alpha-256", "the note in the file"),
        ("sigma-512", "any", Hints(name="alpha-512-dmd"), "alpha-512-dmd",
         "the note in the file"),
    ],
)  # fmt: skip
def test_configurations_come_before_the_name(
    family: str, name: str, hints: Hints, wanted: str, ground: str
) -> None:
    info = detect(original_shapes(family), name, hints=hints)
    assert (info.variant.name, info.ground) == (wanted, ground)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
def test_both_layouts_are_told_alike(family: ReferenceFamily) -> None:
    theirs = diffusers_transformer(family).state_dict()
    name = f"PixArt-{family.name}"
    told = [detect(shapes_of(tensors), name) for tensors in (theirs, to_original(theirs))]
    assert told[0] == told[1]
    assert told[0].variant.name == family.name


def test_compression_is_read_from_the_tensors_or_chosen() -> None:
    config = NetworkConfig(
        *(3, 216, 864, 4, 8, 2, 64, 32, False, 300),
        kv_compression=KVCompression("conv", 2, (1, 2)),
        qk_norm=True,
    )
    with torch.device("meta"):
        shapes = shapes_of(PixArtTransformer(config).state_dict())
    network = detect(shapes).network
    assert network.kv_compression == KVCompression("conv", 2, (1, 2))
    assert network.qk_norm
    chosen = KVCompression("uniform", 2, (1,))
    assert detect(original_shapes("sigma-512"), compression=chosen).network.kv_compression == chosen
    with pytest.raises(CheckpointError, match="a learned compression"):
        detect(shapes, compression=chosen)
    beyond = KVCompression("uniform", 2, tuple(range(50, 100)))
    with pytest.raises(CheckpointError, match="found block 50 as the first that compresses"):
        detect(original_shapes("sigma-512"), compression=beyond)
    odd = detect({**shapes, "blocks.1.attn.sr.weight": ()}).network
    assert odd.kv_compression == KVCompression("conv", 1, (1, 2))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_numbers_that_are_not_finite_are_named(bad: float, dtype: torch.dtype) -> None:
    tensor = torch.zeros(5, 7, dtype=dtype)
    check_finite("a", tensor)
    tensor[3, 2] = bad
    with pytest.raises(CheckpointError, match=r"not finite in a\.weight"):
        check_finite("a.weight", tensor)


def test_numbers_of_one_byte_are_checked_too() -> None:
    tensor = torch.full((4,), 448.0).to(torch.float8_e4m3fn)
    check_finite("a", tensor)
    with pytest.raises(CheckpointError, match="not finite"):
        check_finite("a", torch.tensor([float("nan")]).to(torch.float8_e4m3fn))
    with pytest.raises(CheckpointError, match="numbers of type int8 in a"):
        check_finite("a", torch.ones(3, dtype=torch.int8))


@pytest.mark.parametrize(
    ("key", "kind"),
    [
        ("patchify_proj.weight", "an LTX-Video model"),
        ("caption_norm.weight", "a Sana model"),
        ("blocks.0.attn.qkv.lora_down.weight", "a LoRA"),
        ("controlnet_blocks.0.after_proj.weight", "a PixArt ControlNet without its model"),
        ("encoder.block.0.layer.0.SelfAttention.q.weight", "a T5 text encoder"),
        ("model.diffusion_model.input_blocks.0.0.weight", "a Stable Diffusion checkpoint"),
        ("taesd_decoder.1.weight", "a tiny VAE"),
        ("something.else", "1 tensors"),
    ],
)
def test_other_kinds_of_file_are_named(key: str, kind: str) -> None:
    with pytest.raises(CheckpointError, match=f"as a PixArt model: found {kind}"):
        detect({key: (1, 1)})


def test_a_side_in_the_name_is_enough_where_the_family_is_known() -> None:
    shapes = original_shapes("sigma-512", tokens=300)
    assert detect(shapes, "x-512.safetensors").variant.name == "sigma-512"


def test_what_no_release_has_is_not_guessed() -> None:
    with pytest.raises(CheckpointError, match="a null caption of 300 tokens with size conditions"):
        detect(original_shapes("alpha-1024", 4096, 300))
    with pytest.raises(CheckpointError, match="a null caption of 77 tokens"):
        detect(original_shapes("alpha-512", 1024, 77))


@pytest.mark.parametrize(
    ("wrong", "found"),
    [
        ({"x_embedder.proj.weight": (200, 4, 2, 2)}, "tokens 200 wide"),
        ({"x_embedder.proj.weight": (0, 4, 2, 2)}, "tokens 0 wide"),
        ({"x_embedder.proj.weight": (216, 16)}, "tensors"),
        ({"t_block.1.weight": ()}, "tensors"),
        ({"x_embedder.proj.weight": (216, 4, 0, 0)}, "patches of 0"),
        ({"blocks.1000000000.x": (1,)}, "1000000001 blocks"),
    ],
)
def test_misshapen_files_get_a_sentence(wrong: Shapes, found: str) -> None:
    with pytest.raises(CheckpointError, match=found):
        detect(original_shapes("alpha-512") | wrong)


def test_a_sana_model_is_no_pixart() -> None:
    with pytest.raises(CheckpointError, match="a Sana model"):
        detect(original_shapes("sigma-512") | {"attention_y_norm.weight": (64,)})


def test_missing_unknown_and_misshapen_tensors_are_named() -> None:
    wanted = original_shapes("alpha-512")
    found = {key: shape for key, shape in wanted.items() if key != "blocks.1.attn.qkv.weight"}
    found |= {"blocks.1.attn.sr.weight": (1,), "final_layer.linear.bias": (3,)}
    with pytest.raises(CheckpointError) as error:
        check_complete(found, wanted, "PixArt model")
    for part in (
        "1 missing (blocks.1.attn.qkv.weight)",
        "1 unknown (blocks.1.attn.sr.weight)",
        "1 of another shape (final_layer.linear.bias)",
        "Download the file again",
    ):
        assert part in str(error.value)


def test_safetensors_are_read(tmp_path: Path) -> None:
    save_file({"a": torch.arange(3)}, tmp_path / "a.safetensors")
    assert read_tensors(tmp_path / "a.safetensors")["a"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("wrapped", [True, False])
@pytest.mark.parametrize("zipped", [True, False])
def test_pickles_are_read_and_unwrapped(tmp_path: Path, wrapped: bool, zipped: bool) -> None:
    tensors = {"a": torch.arange(3)}
    torch.save(
        {"state_dict": tensors, "epoch": 3} if wrapped else tensors,
        tmp_path / "a.pth",
        _use_new_zipfile_serialization=zipped,
    )
    assert read_tensors(tmp_path / "a.pth").keys() == {"a"}


class _Malicious:
    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.witness,)


def test_a_malicious_pickle_runs_nothing(tmp_path: Path) -> None:
    torch.save({"a": _Malicious(tmp_path / "witness")}, tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes(pickle.dumps(_Malicious(tmp_path / "witness")))
    for name in ("a.pth", "b.pth"):
        with pytest.raises(CheckpointError, match="holds more than tensors, or is damaged"):
            read_tensors(tmp_path / name)
    assert not (tmp_path / "witness").exists()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "an empty file"), (b"no tensors here, but text", "damaged")]
)
def test_bad_files_get_a_sentence(
    tmp_path: Path, suffix: str, content: bytes, sentence: str
) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=sentence):
        read_tensors(path)


def test_truncated_files_get_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.zeros(1000)}, path)
    path.write_bytes(path.read_bytes()[:-500])
    with pytest.raises(CheckpointError, match=r"a.safetensors cannot be read: found a damaged"):
        read_tensors(path)


def test_a_missing_file_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such file"):
        read_tensors(tmp_path / "none.safetensors")
