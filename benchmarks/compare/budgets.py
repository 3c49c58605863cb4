"""What each method may spend in the comparison, per domain; one table, to be read and changed.

A method that is not named in `own` gets what `common` says of the fields that it has, so that a new
line in METHODS is compared without a change here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
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

    def build(self, **changes: Any) -> Method:
        return METHODS[self.method](**{**self.parameters, **changes})

    @property
    def fields(self) -> set[str]:
        return {f.name for f in fields(cast("Any", METHODS[self.method]))}


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """`own` and `ablations` win over `common`."""

    common: Parameters
    own: Mapping[str, Parameters] = field(default_factory=dict)
    ablations: Mapping[str, tuple[str, Parameters]] = field(default_factory=dict)  # => method, ...
    climb: tuple[int, ...] = ()  # steps in which Image2StyleGAN catches up with In-Domain
    code_steps: int = 20  # steps for the codes of the semantic analysis

    def arms(self) -> Iterator[Arm]:
        """Every method of METHODS, then the ablations."""
        for name in METHODS:
            yield self._arm(name, name, self.own.get(name, {}))
        for name, (method, changes) in self.ablations.items():
            if method in METHODS:
                parameters = {**self.own.get(method, {}), **changes}
                yield self._arm(name, method, parameters, is_ablation=True)

    def arm(self, method: str, **changes: Any) -> Arm:
        """The arm of a method with other parameters than in the table."""
        return self._arm(method, method, {**self.own.get(method, {}), **changes})

    def _arm(self, name: str, method: str, own: Parameters, *, is_ablation: bool = False) -> Arm:
        known = {f.name for f in fields(cast("Any", METHODS[method]))}
        common = {key: value for key, value in self.common.items() if key in known}
        return Arm(name, method, {**common, **own}, is_ablation)


PORTRAITS: Final = Budget(
    common={"steps": 40, "learning_rate": 0.05, "schedule": "ramp", "precision": "bf16"},
    own={
        # from the mean w the way is longer than from an encoder's guess
        "gaussian_prior": {"learning_rate": 0.1},
        "image2stylegan": {"learning_rate": 0.1},
        "image2stylegan_plus": {"learning_rate": 0.1, "noise_steps": 10},
        # 200 steps with a decay every 25 in the paper: the same path in a fifth of the steps
        "magec": {"learning_rate": 0.07, "decay_every": 5},
        "projector": {"learning_rate": 0.1, "w_samples": 2000},
        "pti": {
            "pivot_steps": 30,
            "pivot_learning_rate": 0.1,
            "steps": 20,
            "learning_rate": 3e-4,
            "schedule": "constant",
        },
    },
    ablations={
        "in_domain, lambda_dom 0": ("in_domain", {"domain_weight": 0.0}),
        "in_domain, lambda_dom 40": ("in_domain", {"domain_weight": 40.0}),
        "magec, without its term": ("magec", {"magec_weight": 0.0}),
        "magec, term x 100": ("magec", {"magec_weight": 0.03}),
    },
    climb=(10, 20, 40, 80, 160),
)

FACES: Final = Budget(
    common={
        "steps": 25,
        "learning_rate": 0.05,
        "schedule": "ramp",
        "preview": True,
        "loss_px": 128,
        "precision": "bf16",
    },
    own={
        "image2stylegan": {"w_steps": 10, "learning_rate": 0.1},
        "projector": {"learning_rate": 0.1, "w_samples": 2000},
        # tunes the weights of the whole generator, hence no preview
        "pti": {
            "pivot_steps": 15,
            "pivot_learning_rate": 0.1,
            "steps": 5,
            "learning_rate": 3e-4,
            "schedule": "constant",
        },
    },
)

BUDGETS: Final[Mapping[str, Budget]] = {"portraits": PORTRAITS, "faces": FACES}

# Editability: what is edited, how far, and where the edit is inverted once more.
ATTRIBUTES: Final = ("smile", "glasses", "male", "old", "beard")
EDIT_STEP: Final = 3.0  # deviations
NUM_SAMPLES: Final = 2000  # of the generator, behind boundaries and components
FIT_RATIO: Final = 0.2  # of them, chosen at either end
MIN_SHARE: Final = 0.02  # attributes that samples show or hide more rarely are left out
CYCLES: Final[Mapping[str, tuple[str, ...]]] = {
    "boundary": ("smile", "glasses"),
    "ganspace": ("smile",),
}
NO_CYCLES: Final = ("in_domain, lambda_dom 0", "in_domain, lambda_dom 40")  # no claim asks for them
# Seeds of collections (`row_seed`) and of draws that no training has: trainings take 0, 11, 12.
HELD_OUT_SEED, OOD_SEED, CODES_SEED, SAMPLES_SEED = 90_001, 90_002, 90_003, 90_004
