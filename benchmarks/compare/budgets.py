"""The budget of each method in the comparison, per domain.

A method without an entry in `own` uses the fields in `common` that it has, so that a new method in
METHODS is compared without a change here. Every optimisation method takes `steps` gradient steps in
total, over all its phases; the analysis of time to quality compares at equal loss instead.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, cast

from invertory.inversion import METHODS, Method

Parameters = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Arm:
    """One row of the comparison: a method with its parameters."""

    name: str
    method: str
    parameters: Parameters
    is_ablation: bool = False
    generator: str = ""  # name of its card; empty: the domain's generator

    def build(self, **changes: Any) -> Method:
        return METHODS[self.method](**{**self.parameters, **changes})

    @property
    def redrawn(self) -> Arm | None:
        """The method that draws the edits a second time, if `REDRAWN` lists it."""
        changes = REDRAWN.get(self.method)
        return replace(self, parameters={**self.parameters, **changes}) if changes else None

    @property
    def fields(self) -> set[str]:
        return {f.name for f in fields(cast("Any", METHODS[self.method]))}


@dataclass(frozen=True, slots=True)
class Ablation:
    """A method with some parameters changed."""

    method: str
    changes: Parameters = field(default_factory=dict)
    generator: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Parameters of all methods; `own` and `ablations` take precedence over `common`."""

    common: Parameters
    own: Mapping[str, Parameters] = field(default_factory=dict)
    ablations: Mapping[str, Ablation] = field(default_factory=dict)
    generators: Mapping[str, str] = field(default_factory=dict)  # method => name of a card
    climb: tuple[int, ...] = ()  # steps of the analysis of time to quality; include the usual ones
    code_steps: int = 20  # steps of the semantic analysis

    def arms(self) -> Iterator[Arm]:
        """An arm for every method in METHODS, then the ablations."""
        for name in METHODS:
            yield self.arm(name)
        for name, ablation in self.ablations.items():
            method, generator = ablation.method, ablation.generator
            if method in METHODS:
                parameters = {**self.own.get(method, {}), **ablation.changes}
                generator = generator or self.generators.get(method, "")
                yield Arm(name, method, self._filled(method, parameters), True, generator)

    def arm(self, method: str, **changes: Any) -> Arm:
        """The arm of a method; `changes` override the parameters of the table."""
        parameters = {**self.own.get(method, {}), **changes}
        generator = self.generators.get(method, "")
        return Arm(method, method, self._filled(method, parameters), False, generator)

    def _filled(self, method: str, own: Parameters) -> Parameters:
        known = {f.name for f in fields(cast("Any", METHODS[method]))}
        return {**{key: value for key, value in self.common.items() if key in known}, **own}


INVGAN: Final = "portraits_invgan{}_generator"  # with the stage
SINGLE_SPACES: Final = ("W+", "F2", "F4", "F6")  # of a generator at 64 px, the most editable first

PORTRAITS: Final = Budget(
    common={"steps": 40, "learning_rate": 0.05, "schedule": "ramp", "precision": "bfloat16"},
    own={
        # farther to go from the mean w than from an encoder's estimate
        "gaussian_prior": {"learning_rate": 0.1},
        "image2stylegan": {"learning_rate": 0.1},
        "image2stylegan_plus": {"learning_rate": 0.1, "steps": 30, "noise_steps": 10},
        "invgan_tiled": {"tiles": 4},  # of 16 px
        # the paper: 200 steps with a decay every 25; here the same schedule in a fifth of the steps
        "magec": {"learning_rate": 0.07, "decay_every": 5, "schedule": "constant"},
        "projector": {"learning_rate": 0.1, "w_samples": 2000},
        # at 64 px many pivots meet the published stop, LPIPS 0.06, before any tuning
        "pti": {
            "pivot_steps": 20,
            "pivot_learning_rate": 0.1,
            "steps": 20,
            "target_lpips": None,
            "schedule": "constant",
        },
    },
    ablations={
        "in_domain, lambda_dom 0": Ablation("in_domain", {"domain_weight": 0.0}),
        "in_domain, lambda_dom 40": Ablation("in_domain", {"domain_weight": 40.0}),
        "magec, without its term": Ablation("magec", {"magec_weight": 0.0}),
        "magec, term x 100": Ablation("magec", {"magec_weight": 0.03}),
        "restyle, 1 iteration": Ablation("restyle", {"iterations": 1}),
        "restyle, 2 iterations": Ablation("restyle", {"iterations": 2}),
        "restyle, 3 iterations": Ablation("restyle", {"iterations": 3}),
        "restyle over e4e": Ablation("restyle", {"over": "e4e"}),
        "restyle over the domain-guided encoder": Ablation("restyle", {"over": "encoder"}),
        **{f"sam, {name} alone": Ablation("sam", {"spaces": (name,)}) for name in SINGLE_SPACES},
        "sam, by pixels": Ablation("sam", {"choice": "pixels"}),
        "sam, by classes": Ablation("sam", {"choice": "classes"}),
        "sam, no regulariser": Ablation(
            "sam", {"delta_weight": 0.0, "prior_weight": 0.0, "variation_weight": 0.0}
        ),
        "samm, N = 1": Ablation("samm", {"cycles": 1}),
        "samm, N = 3": Ablation("samm", {"cycles": 3}),
        "samm, alignment skipped": Ablation("samm", {"alignment": "skipped"}),
        "samm, no alignment": Ablation("samm", {"samm": "trained://portraits_samm_unaligned"}),
        "invgan, augmented": Ablation("invgan", generator=INVGAN.format("_augmented")),
        "invgan, naive": Ablation("invgan", generator=INVGAN.format("_naive")),
        "invgan, features alone": Ablation("invgan", generator=INVGAN.format("_features")),
        "invgan, afterwards": Ablation("invgan", generator=INVGAN.format("_afterwards")),
        "invgan, BigGAN-style": Ablation("invgan", generator=INVGAN.format("_biggan")),
    },
    generators={"invgan": INVGAN.format(""), "invgan_tiled": "portraits_patches_generator"},
    climb=(2, 5, 10, 20, 40, 80, 160),
)

FACES: Final = Budget(
    common={
        "steps": 25,
        "learning_rate": 0.05,
        "schedule": "ramp",
        "preview": True,
        "loss_px": 128,
        "precision": "bfloat16",
    },
    own={
        "image2stylegan": {"w_steps": 10, "learning_rate": 0.1, "steps": 15},
        "image2stylegan_plus": {"noise_steps": 10, "learning_rate": 0.1, "steps": 15},
        "magec": {"schedule": "constant"},
        "projector": {"learning_rate": 0.1, "w_samples": 2000},
        # tunes all weights of the generator: no preview, few steps
        "pti": {
            "pivot_steps": 20,
            "pivot_learning_rate": 0.1,
            "steps": 5,
            "target_lpips": None,
            "schedule": "constant",
        },
    },
)

BUDGETS: Final[Mapping[str, Budget]] = {"portraits": PORTRAITS, "faces": FACES}

# Editability: the attributes, the length of an edit, and the edits that are inverted again.
ATTRIBUTES: Final = ("smile", "glasses", "male", "old", "beard")
EDIT_STEP: Final = 3.0  # deviations
NUM_SAMPLES: Final = 2000  # samples of the generator that define boundaries and components
FIT_RATIO: Final = 0.2  # share of the samples at either end of an attribute
MIN_SHARE: Final = 0.02  # attributes that fewer samples show or lack are skipped
CYCLES: Final[Mapping[str, tuple[str, ...]]] = {
    "boundary": ("smile", "glasses"),
    "ganspace": ("smile",),
}
# Ablations whose edits are inverted again, as claims need them.
CYCLED_ABLATIONS: Final = ("magec, without its term", "magec, term x 100")
# Methods whose edits are drawn again, from the same latents and states, with other parameters.
REDRAWN: Final[Mapping[str, Parameters]] = {"sam": {"preset": "paper"}}
REDRAWN_AS: Final = ", section 3.4"  # suffix of the name of the editor
# Samples of the generators: the distance to portraits is computed in parts, for its spread.
SAMPLES_REAL, SAMPLES_MADE, SAMPLES_PARTS = 800, 400, 4
# Seeds of collections (`row_seed`) and samples that no training uses; trainings use 0 to 13.
HELD_OUT_SEED, OOD_SEED, CODES_SEED, SAMPLES_SEED = 90_001, 90_002, 90_003, 90_004
