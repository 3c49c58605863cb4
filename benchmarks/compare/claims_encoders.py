"""What InvGAN, e4e and ReStyle claim, held here or not.

InvGAN: Ghosh et al. 2021, https://arxiv.org/abs/2112.04598, section 4.4 and table 1.
e4e: Tov et al. 2021, https://arxiv.org/abs/2102.02766.
ReStyle: Alaluf et al. 2021, https://arxiv.org/abs/2104.02699.

One-pass methods alone; InvGAN's stages each with the generator
that was trained with them, for equally long.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from benchmarks.compare.analyses import FID, SAMPLES
from benchmarks.compare.budgets import INVGAN
from benchmarks.compare.claims import Claim, Difference, Verdict, difference, each_better
from benchmarks.compare.editability import COSINE, GAIN, T
from benchmarks.compare.results import NotMeasuredError, Results

STAGES: Final = ("invgan, naive", "invgan, augmented", "invgan")
AFTERWARDS: Final = ("conventional_encoder", "domain_guided_encoder", "psp")
ITERATIONS: Final = (
    "restyle, 1 iteration", "restyle, 2 iterations", "restyle, 3 iterations", "restyle",
)  # fmt: skip
LITTLE: Final = 0.1  # of the FID: what a joint training may cost


def joint_inverts_better(results: Results) -> Verdict:
    """InvGAN's error of held-out portraits against encoders trained for a finished generator."""
    own, found = results.get("portraits", "invgan", "MSE"), dict[str, Difference]()
    absent: list[str] = []
    for arm in AFTERWARDS:
        try:
            found[arm] = difference(own, results.get("portraits", arm, "MSE"))
        except NotMeasuredError as error:
            absent.append(str(error.args[0]))
    if not found:
        raise NotMeasuredError("; ".join(absent))
    told = "; ".join([*(f"{arm}: {one}" for arm, one in found.items()), *absent])
    return Verdict(all(one.is_sure(-1) for one in found.values()), f"MSE: {told}")


def cheap_in_samples(results: Results) -> Verdict:
    """FID of the full model's samples against the naive one's, which trains its generator alone."""
    full, naive = (
        results.get(SAMPLES, INVGAN.format(stage), FID) for stage in ("", "_naive")
    )  # a value a part of the samples
    found = difference(full, naive)
    is_held = found.a <= found.b * (1 + LITTLE)
    plain = results.parts.get(SAMPLES, {}).get("portraits_generator", {}).get(FID)
    beside = f"; the domain's own generator: {np.mean(plain):.4g}" if plain is not None else ""
    return Verdict(is_held, f"{FID}: {found}{beside}")


def traded(results: Results) -> Verdict:
    """e4e against pSp: more distortion, and edits nearer the truth."""
    arms = ("e4e", "psp")
    cost = difference(*(results.get("portraits", arm, "MSE") for arm in arms))
    edits = {
        name: difference(*(results.get("edit/boundary", arm, name) for arm in arms))
        for name in (COSINE, T, GAIN)
    }
    gained = any(one.is_sure(1) for one in edits.values())
    lost = any(one.is_sure(-1) for one in edits.values())
    told = "; ".join(f"{name}: {one}" for name, one in {"MSE": cost, **edits}.items())
    return Verdict(cost.is_sure(1) and gained and not lost, told)


CLAIMS: Final[dict[str, Claim]] = {
    "InvGAN: full reconstructs better than augmented, and that than naive": each_better(
        ("portraits",), "MSE", STAGES, -1
    ),
    "InvGAN: joint training inverts better than an encoder added afterwards": joint_inverts_better,
    "InvGAN: joint training costs little in the quality of samples": cheap_in_samples,
    "e4e: more distortion than pSp, and better edits": traded,
    "ReStyle: each iteration improves (1, 2, 3, 5)": each_better(
        ("portraits",), "MSE", ITERATIONS, -1
    ),
}
