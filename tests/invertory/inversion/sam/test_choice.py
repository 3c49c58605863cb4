"""Settings of the choice of spaces: what is refused at once, and what a generator lacks."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from invertory.generators.stylegan2 import StyleGAN2
from invertory.generators.toy import ToyGenerator
from invertory.inversion import METHODS, SupportsCheck
from invertory.inversion.sam.choice import FUSED, SpaceChoiceConfig

with torch.device("meta"):
    BARE = StyleGAN2(img_resolution=64, z_dim=8, w_dim=8, num_layers=1, channel_base=64)
PARSER = {"segments": ["background", "skin", "ood"]}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"tau": -1.0}, "expected tau to be finite and 0 or more, got -1.0"),
        ({"tau": float("nan")}, "got nan"),
        ({"tau": float("inf")}, "got inf: to invert in W\\+ alone"),
        ({"choice": "segment"}, "expected choice among segments, pixels, classes, got 'segment'"),
        ({"preset": "papr"}, "expected preset among paper, code, got 'papr'"),
        ({"spaces": ("W+", "F44")}, "got F44"),
        ({"spaces": ("W+", "finest")}, r"expected spaces among W\+, F2"),
        ({"spaces": ("F2", "F2")}, "each once"),
        ({"class_spaces": {"nose": "F44"}}, "got F44"),
    ],
)
def test_settings_that_can_never_work_are_refused(settings: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        SpaceChoiceConfig(**settings)
    for name in ("sam", "sam_encoder"):
        with pytest.raises(ValueError, match=expected):
            METHODS[name](**settings)


def test_a_tau_of_0_is_allowed() -> None:
    assert SpaceChoiceConfig(tau=0.0, class_spaces={"nose": "finest"}).tau == 0


def test_methods_with_a_choice_have_a_check() -> None:
    assert {name for name, method in METHODS.items() if isinstance(method(), SupportsCheck)} == {
        "sam", "sam_encoder"
    }  # fmt: skip


def test_sizes_are_enough_to_check_spaces() -> None:
    SpaceChoiceConfig(spaces=("W+", "F6")).check(BARE, {})
    with pytest.raises(ValueError, match="got F10: a generator of 64 px"):
        SpaceChoiceConfig(spaces=("W+", "F10")).check(BARE, {})
    with pytest.raises(ValueError, match="got F2"):
        SpaceChoiceConfig(spaces=("W+", "F2")).check(ToyGenerator(), {})


def test_spaces_that_the_predictor_was_not_trained_for_are_refused() -> None:
    told = {"invertibility": {"spaces": ["W+", "F2", "F4"]}}
    SpaceChoiceConfig(spaces=("W+", "F4")).check(BARE, told)
    with pytest.raises(ValueError, match="train one for F6"):
        SpaceChoiceConfig().check(BARE, told)


def test_segments_are_checked_where_the_parsers_are_known() -> None:
    told = {"parser": PARSER}
    SpaceChoiceConfig().check(BARE, told)  # this parser lacks some of the usual segments
    SpaceChoiceConfig(fused=(*FUSED, "ood")).check(BARE, told)
    SpaceChoiceConfig(fused=("nonsense",)).check(BARE, {})
    with pytest.raises(ValueError, match="got nonsense: name segments of the parser"):
        SpaceChoiceConfig(fused=("skin", "nonsense")).check(BARE, told)


def test_classes_are_checked_by_segment_and_by_space() -> None:
    told = {"parser": PARSER}
    SpaceChoiceConfig(choice="classes", class_spaces={"ood": "F6"}).check(BARE, told)
    with pytest.raises(ValueError, match="got nose"):
        SpaceChoiceConfig(choice="classes", class_spaces={"nose": "F2"}).check(BARE, told)
    for known in (told, {}):
        with pytest.raises(ValueError, match="got F10"):
            SpaceChoiceConfig(choice="classes", class_spaces={"ood": "F10"}).check(BARE, known)
