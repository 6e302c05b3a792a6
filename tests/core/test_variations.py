"""What diffusers lacks, against the maths written out: compressed keys and values, normed ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from devtools.reference import relative_error
from pixart_core.network import NetworkConfig, PixArtTransformer
from pixart_core.network.config import KVCompression
from pixart_core.network.positions import position_grid

WIDTH, HEADS = 144, 2
ROWS, COLUMNS = 6, 10

Weights = dict[str, Tensor]
Fewer = Callable[[Tensor, Weights], Tensor]


def linear(w: Weights, name: str, x: Tensor) -> Tensor:
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def plain_norm(x: Tensor) -> Tensor:
    return (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-6).sqrt()


def full_norm(w: Weights, name: str, x: Tensor) -> Tensor:
    """LayerNorm over the whole width, before the split into heads."""
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (x.var(-1, keepdim=True, correction=0) + 1e-5).sqrt()
    return scaled * w[f"{name}.weight"] + w[f"{name}.bias"]


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Softmax attention of (N, C) to (M, C), head by head."""
    heads = []
    for h in range(HEADS):
        part = slice(72 * h, 72 * h + 72)
        weights = (q[:, part] @ k[:, part].T * 72**-0.5).softmax(-1)
        heads.append(weights @ v[:, part])
    return torch.cat(heads, -1)


def conv(x: Tensor, w: Weights) -> Tensor:
    """Depth-wise convolution over squares of 2 x 2, then a norm."""
    picture = x.reshape(ROWS, COLUMNS, WIDTH)
    kernel, out = w["attn.sr.weight"], []
    for row in range(0, ROWS, 2):
        for column in range(0, COLUMNS, 2):
            square = picture[row : row + 2, column : column + 2]
            out.append((square * kernel[:, 0].permute(1, 2, 0)).sum((0, 1)) + w["attn.sr.bias"])
    return full_norm(w, "attn.norm", torch.stack(out))


def every_second_of_both_axes(x: Tensor, w: Weights) -> Tensor:
    chosen = [
        x[row * COLUMNS + column] for row in range(0, ROWS, 2) for column in range(0, COLUMNS, 2)
    ]
    return torch.stack(chosen)


def nearest(x: Tensor, w: Weights) -> Tensor:
    picture = x.reshape(1, ROWS, COLUMNS, WIDTH).permute(0, 3, 1, 2)
    small = functional.interpolate(picture, scale_factor=0.5, mode="nearest")
    return small.permute(0, 2, 3, 1).reshape(-1, WIDTH)


def every_second(x: Tensor, w: Weights) -> Tensor:
    return x[::2]


FEWER: dict[str, Fewer] = {
    "conv": conv,
    "ave": nearest,
    "uniform": every_second_of_both_axes,
    "uniform_every": every_second,
}


def plain_block(
    x: Tensor, caption: Tensor, modulation: Tensor, w: Weights, fewer: Fewer | None
) -> Tensor:
    """One block for one picture: (N, C), (L, C), (6, C) -> (N, C)."""
    shift1, scale1, gate1, shift2, scale2, gate2 = w["scale_shift_table"] + modulation
    q, k, v = linear(w, "attn.qkv", plain_norm(x) * (1 + scale1) + shift1).chunk(3, -1)
    if "attn.q_norm.weight" in w:
        q, k = full_norm(w, "attn.q_norm", q), full_norm(w, "attn.k_norm", k)
    if fewer is not None:
        k, v = fewer(k, w), fewer(v, w)
    x = x + gate1 * linear(w, "attn.proj", attend(q, k, v))
    k, v = linear(w, "cross_attn.kv_linear", caption).chunk(2, -1)
    crossed = attend(linear(w, "cross_attn.q_linear", x), k, v)
    x = x + linear(w, "cross_attn.proj", crossed)
    hidden = linear(w, "mlp.fc1", plain_norm(x) * (1 + scale2) + shift2)
    return x + gate2 * linear(w, "mlp.fc2", functional.gelu(hidden, approximate="tanh"))


def plain_forward(
    w: Weights, x: Tensor, t: Tensor, context: Tensor, mode: str | None, layers: tuple[int, ...]
) -> Tensor:
    """The whole network for one picture (4, H, W), from the specification."""
    tokens = functional.conv2d(x[None], w["x_embedder.proj.weight"], w["x_embedder.proj.bias"], 2)
    grid = position_grid(ROWS, COLUMNS, WIDTH, 32, torch.device("cpu"))
    stream = tokens[0].flatten(1).T + grid
    angles = t * 10000 ** (-torch.arange(128) / 128)
    time = torch.cat([angles.cos(), angles.sin()])
    time = linear(w, "t_embedder.mlp.2", functional.silu(linear(w, "t_embedder.mlp.0", time)))
    modulation = linear(w, "t_block.1", functional.silu(time)).reshape(6, WIDTH)
    hidden = functional.gelu(linear(w, "y_embedder.y_proj.fc1", context), approximate="tanh")
    caption = linear(w, "y_embedder.y_proj.fc2", hidden)
    for layer in range(3):
        prefix = f"blocks.{layer}."
        own = {key.removeprefix(prefix): v for key, v in w.items() if key.startswith(prefix)}
        fewer = FEWER[mode] if mode and layer in layers else None
        stream = plain_block(stream, caption, modulation, own, fewer)
    shift, scale = w["final_layer.scale_shift_table"] + time
    out = linear(w, "final_layer.linear", plain_norm(stream) * (1 + scale) + shift)
    out = out.reshape(ROWS, COLUMNS, 2, 2, 8).permute(4, 0, 2, 1, 3)
    return out.reshape(8, 2 * ROWS, 2 * COLUMNS)


@pytest.mark.parametrize("mode", [None, *FEWER])
@pytest.mark.parametrize("qk_norm", [False, True])
@torch.no_grad()
def test_variations_equal_the_maths_written_out(mode: str | None, qk_norm: bool) -> None:
    torch.manual_seed(0)
    layers = (1, 2)
    config = NetworkConfig(
        *(3, WIDTH, 4 * WIDTH, 4, 8, 2, 64, 32, False, 0),
        qk_norm=qk_norm,
        kv_compression=KVCompression(mode, 2, layers) if mode else None,  # type: ignore[arg-type]
    )
    model = PixArtTransformer(config)
    for parameter in model.parameters():
        parameter.copy_(torch.randn_like(parameter) * parameter.shape[-1] ** -0.5)
    x, context = torch.randn(2, 4, 2 * ROWS, 2 * COLUMNS), torch.randn(2, 5, 64)
    t = torch.tensor([731.0, 12.0])
    found = model(x, t, context)
    wanted = [
        plain_forward(model.state_dict(), x[i], t[i], context[i], mode, layers) for i in range(2)
    ]
    assert relative_error(found, torch.stack(wanted)) <= 1e-5


@pytest.mark.parametrize("mode", list(FEWER))
@torch.no_grad()
def test_compression_bears_grids_that_do_not_divide(mode: str) -> None:
    config = NetworkConfig(
        *(2, WIDTH, 4 * WIDTH, 4, 8, 2, 64, 32, False, 0),
        kv_compression=KVCompression(mode, 2, (1,)),  # type: ignore[arg-type]
    )
    model = PixArtTransformer(config)
    out = model(torch.randn(1, 4, 10, 14), torch.tensor([5.0]), torch.randn(1, 3, 64))
    assert out.shape == (1, 8, 10, 14)
    assert out.isfinite().all()


@pytest.mark.parametrize(("in_channels", "out_channels"), [(16, 32), (4, 4), (16, 16)])
@torch.no_grad()
def test_other_numbers_of_channels(in_channels: int, out_channels: int) -> None:
    config = NetworkConfig(2, WIDTH, 4 * WIDTH, in_channels, out_channels, 2, 64, 32, False, 0)
    model = PixArtTransformer(config)
    out = model(torch.randn(1, in_channels, 8, 8), torch.tensor([5.0]), torch.randn(1, 3, 64))
    assert out.shape == (1, out_channels, 8, 8)
