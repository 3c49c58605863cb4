"""Our StyleGAN2, which scales activations, against one with a convolution kernel per image.

    MALLOC_MMAP_THRESHOLD_=34359738368 MALLOC_TRIM_THRESHOLD_=34359738368 \\
        python benchmarks/generator_speed.py --sizes small --batches 1 8 32 --threads 1

Kernels per image need a convolution with one group per image, as in the published code,
reimplemented here in plain PyTorch. Both use the same weights in the same run and must give the
same images and gradients. `backward` computes gradients of the latents only, as an inversion does.
Times are the best of alternating repeats, since the machine may be shared: CPU time with one CPU
thread, otherwise wall time.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import conv2d, conv_transpose2d, leaky_relu, pad

from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.stylegan2_layers import SynthesisBlock, SynthesisLayer, ToRGB

SIZES = {
    # channels 256 at 4 and 8 px, then 128, 64, 32 at 64 px
    "small": {"img_resolution": 64, "channel_base": 2048, "channel_max": 256, "w_dim": 128},
    # NVIDIA's configuration at 256 px
    "full": {"img_resolution": 256, "channel_base": 16384, "channel_max": 512, "w_dim": 512},
}
Synthesis = Callable[[Tensor], Tensor]


def random_generator(size: str) -> StyleGAN2:
    """A generator with random weights, as fast as a trained one."""
    config = SIZES[size]
    generator = StyleGAN2(z_dim=config["w_dim"], **config)
    rng = torch.Generator().manual_seed(0)
    for name, parameter in generator.named_parameters():
        if parameter.ndim > 1:
            parameter.copy_(torch.randn(parameter.shape, generator=rng))
        elif name.endswith("affine.bias"):
            parameter.fill_(1.0)  # styles near 1, as at the start of training
        elif name.endswith(("bias", "noise_strength")):
            parameter.copy_(0.1 * torch.randn(parameter.shape, generator=rng))
    for name, buffer in generator.named_buffers():
        if name.endswith("noise_const"):
            buffer.copy_(torch.randn(buffer.shape, generator=rng))
    return generator


def grouped_convolution(x: Tensor, weight: Tensor, *, up: bool) -> Tensor:
    """x [N, I, H, W], kernels [N, O, I, k, k] => [N, O, ...], twice the size if `up`."""
    n, outputs, inputs, k, _ = weight.shape
    x = x.reshape(1, n * inputs, *x.shape[2:])
    if up:
        weight = weight.transpose(1, 2).reshape(n * inputs, outputs, k, k)
        x = conv_transpose2d(x, weight, stride=2, groups=n)
    else:
        x = conv2d(x, weight.reshape(n * outputs, inputs, k, k), padding=k // 2, groups=n)
    return x.reshape(n, outputs, *x.shape[2:])


def low_pass(x: Tensor, taps: Tensor, padding: tuple[int, int, int, int]) -> Tensor:
    c = x.shape[1]
    return conv2d(pad(x, padding), 4 * taps.to(x.dtype).expand(c, 1, -1, -1), groups=c)


def grouped_layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    weight = layer.weight * layer.affine(w)[:, None, :, None, None]  # modulated
    weight = weight * torch.rsqrt(weight.square().sum((2, 3, 4), keepdim=True) + 1e-8)
    x = grouped_convolution(x, weight, up=layer.up)
    if layer.up:
        x = low_pass(x, layer.resample_filter, (1, 1, 1, 1))
    x = x + layer.noise_const * layer.noise_strength
    return leaky_relu(x + layer.bias[:, None, None], 0.2) * math.sqrt(2)


def grouped_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    style = layer.affine(w) / math.sqrt(x.shape[1])
    weight = layer.weight * style[:, None, :, None, None]
    return grouped_convolution(x, weight, up=False) + layer.bias[:, None, None]


def doubled(x: Tensor, taps: Tensor) -> Tensor:
    n, c, h, w = x.shape
    wide = x.new_zeros(n, c, h, 2, w, 2)
    wide[:, :, :, 0, :, 0] = x
    return low_pass(wide.reshape(n, c, 2 * h, 2 * w), taps, (2, 1, 2, 1))


def block_of(generator: StyleGAN2, px: int) -> SynthesisBlock:
    block = generator.synthesis.get_submodule(f"b{px}")
    assert isinstance(block, SynthesisBlock)
    return block


def to_rgb(block: SynthesisBlock, x: Tensor, w: Tensor) -> Tensor:
    assert block.torgb is not None, "skip architectures have RGB at every size"
    return grouped_rgb(block.torgb, x, w)


def grouped_synthesis(generator: StyleGAN2, w_plus: Tensor) -> Tensor:
    """The whole generator with kernels per image, from its own weights."""
    first = block_of(generator, 4)
    x = first.const.expand(len(w_plus), -1, -1, -1)
    x = grouped_layer(first.conv1, x, w_plus[:, 0])
    image = to_rgb(first, x, w_plus[:, 1])
    for i, px in enumerate(generator.synthesis.sizes_px[1:]):
        block = block_of(generator, px)
        assert block.conv0 is not None, "only the first block lacks it"
        x = grouped_layer(block.conv0, x, w_plus[:, 2 * i + 1])
        x = grouped_layer(block.conv1, x, w_plus[:, 2 * i + 2])
        rgb = to_rgb(block, x, w_plus[:, 2 * i + 3])
        image = doubled(image, block.resample_filter) + rgb
    return image


@dataclass(frozen=True)
class Case:
    """One row of the table."""

    size: str
    precision: str
    batch: int
    device: str

    def latents(self, generator: StyleGAN2) -> Tensor:
        rng = torch.Generator().manual_seed(1)
        z = torch.randn(self.batch, generator.z_dim, generator=rng).to(self.device)
        return generator.broadcast(generator.mapping(z)).clone()

    def forward(self, synthesis: Synthesis, w_plus: Tensor) -> Tensor:
        kind = self.device.partition(":")[0]
        with torch.autocast(kind, torch.bfloat16, enabled=self.precision == "bf16"):
            return synthesis(w_plus).float()

    def gradient(self, synthesis: Synthesis, w_plus: Tensor) -> Tensor:
        w_plus = w_plus.detach().requires_grad_()
        return torch.autograd.grad(self.forward(synthesis, w_plus).square().mean(), w_plus)[0]


def require_equal(case: Case, ours: Synthesis, theirs: Synthesis, w_plus: Tensor) -> None:
    """Require equal images (to 1e-4 of the maximum) and gradients (1e-3); in bf16 both to 8 %."""
    checks = (("images", case.forward, 1e-4), ("gradients", case.gradient, 1e-3))
    for name, run, tolerance in checks:
        a, b = run(ours, w_plus), run(theirs, w_plus)
        error = float((a - b).abs().max() / b.abs().max())
        limit = tolerance if case.precision == "fp32" else 0.08
        if not error <= limit:
            raise RuntimeError(f"expected equal {name} within {limit}, got {error:.1e} for {case}")


def clock_s(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    elif torch.get_num_threads() == 1:
        return time.process_time()
    return time.perf_counter()


def best_ms(
    runs: Mapping[str, Callable[[], Tensor]], repeats: int, device: str
) -> dict[str, float]:
    """The best time of each run, alternating, after a warm-up."""
    best = dict.fromkeys(runs, math.inf)
    for repeat in range(repeats + 1):
        for name, run in runs.items():
            start = clock_s(device)
            run()
            if repeat:
                best[name] = min(best[name], 1000 * (clock_s(device) - start))
    return best


def print_case(case: Case, generator: StyleGAN2, repeats: int) -> None:
    ours: Synthesis = generator.synthesis
    theirs = partial(grouped_synthesis, generator)
    w_plus = case.latents(generator)
    require_equal(case, ours, theirs, w_plus)
    with torch.no_grad():
        runs = {
            "ours": partial(case.forward, ours, w_plus),
            "grouped": partial(case.forward, theirs, w_plus),
        }
        there = best_ms(runs, repeats, case.device)
    runs = {
        "ours": partial(case.gradient, ours, w_plus),
        "grouped": partial(case.gradient, theirs, w_plus),
    }
    back = best_ms(runs, repeats, case.device)
    cells = [f"{case.size} {generator.resolution} px", case.precision, str(case.batch)]
    for found in (there, back):
        cells += [f"{found['ours'] / case.batch:.2f}", f"{found['grouped'] / case.batch:.2f}"]
        cells += [f"{found['grouped'] / found['ours']:.2f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--sizes", nargs="+", choices=list(SIZES), default=list(SIZES))
    precisions = ["fp32", "bf16"]
    parser.add_argument("--precisions", nargs="+", choices=precisions, default=precisions)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    print(f"{args.device}, {args.threads} CPU threads; ms per image\n")
    print("| network | precision | batch | forward: ours | grouped | ratio |", end="")
    print(" forward + backward: ours | grouped | ratio |")
    print("|---" * 9 + "|")
    for size in args.sizes:
        generator = random_generator(size).to(args.device)
        for precision in args.precisions:
            for batch in args.batches:
                print_case(Case(size, precision, batch, args.device), generator, args.repeats)


if __name__ == "__main__":
    main()
