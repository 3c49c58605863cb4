from __future__ import annotations

from dataclasses import asdict, dataclass

import pytest

from benchmarks.compare.budgets import BUDGETS, FACES, PORTRAITS, Budget
from benchmarks.compare.reconstruction import _short
from invertory.inversion import METHODS


@pytest.mark.parametrize("budget", BUDGETS.values(), ids=BUDGETS)
def test_every_method_is_compared_and_can_be_built(budget: Budget) -> None:
    arms = list(budget.arms())
    assert [arm.name for arm in arms if not arm.is_ablation] == list(METHODS)
    assert len({arm.name for arm in arms}) == len(arms)
    for arm in arms:
        assert isinstance(arm.build(), METHODS[arm.method])


def test_a_new_method_gets_what_the_common_budget_says_of_its_fields(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    @dataclass(frozen=True)
    class New:
        steps: int = 900
        strength: float = 1.0

    monkeypatch.setitem(METHODS, "new", New)
    arm = next(arm for arm in PORTRAITS.arms() if arm.name == "new")
    built = asdict(arm.build())  # type: ignore[call-overload]
    assert built == {"steps": PORTRAITS.common["steps"], "strength": 1.0}


def test_ablations_differ_from_their_method_by_what_they_name() -> None:
    arms = {arm.name: arm for arm in PORTRAITS.arms()}
    plain, ablated = arms["magec"].build(), arms["magec, without its term"].build()
    assert ablated.magec_weight == 0  # type: ignore[attr-defined]
    assert ablated.steps == plain.steps  # type: ignore[attr-defined]


def test_edits_of_sam_are_drawn_by_section_3_4_too_from_the_same_inversion() -> None:
    for arm in (arm for arm in PORTRAITS.arms() if arm.method == "sam"):
        other = arm.redrawn
        assert other is not None
        assert other.build().preset == "paper"  # type: ignore[attr-defined]
        assert {**other.parameters, "preset": "code"} == {**arm.parameters, "preset": "code"}
        assert arm.build().preset == "code"  # type: ignore[attr-defined]
    assert PORTRAITS.arm("pti").redrawn is None


def test_every_optimisation_of_portraits_takes_the_same_number_of_steps() -> None:
    for arm in PORTRAITS.arms():
        method = arm.build()
        if method.kind == "optimisation":
            names = [n for n in arm.fields if n == "steps" or n.endswith("_steps")]
            total = sum(int(getattr(method, name)) for name in names)
            assert total == PORTRAITS.common["steps"], arm.name


def test_a_method_with_a_generator_of_its_own_names_it() -> None:
    arms = {arm.name: arm for arm in PORTRAITS.arms()}
    assert arms["invgan"].generator == "portraits_invgan_generator"
    assert arms["invgan, naive"].generator == "portraits_invgan_naive_generator"
    assert arms["in_domain"].generator == ""


def test_pti_is_not_stopped_at_its_pivot() -> None:
    assert PORTRAITS.arm("pti").build().target_lpips is None  # type: ignore[attr-defined]


def test_a_warm_up_has_few_steps_of_each_kind() -> None:
    arm = PORTRAITS.arm("image2stylegan_plus", noise_steps=9)
    short = _short(arm).build()
    assert (short.steps, short.noise_steps) == (2, 2)  # type: ignore[attr-defined]


def test_budgets_are_stated_for_both_domains() -> None:
    assert FACES.common["preview"] is True
    assert PORTRAITS.climb == tuple(sorted(PORTRAITS.climb))
