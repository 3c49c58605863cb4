import pickle
from dataclasses import replace

import numpy as np
import pytest

from invertory.portraits import BINARY, CONTINUOUS, OOD_KINDS, World, draw, row_seed

IN_DOMAIN = [name for name in BINARY if name not in (*OOD_KINDS, "busy_background")]


def shares(world, num=600):
    rows = [draw(row_seed(5, i), world).attributes for i in range(num)]
    return {name: np.array([row[name] for row in rows]) for name in BINARY}


def test_the_same_seed_is_the_same_portrait():
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_the_default_world_has_nothing_out_of_domain():
    assert all(not draw(i).ood and not draw(i).busy_background for i in range(50))


def test_every_in_domain_attribute_occurs_and_none_is_everywhere():
    seen = shares(None)
    for name in IN_DOMAIN:
        assert 0.03 < seen[name].mean() < 0.97, name


def test_another_world_draws_the_same_people():
    world = World(ood=1.0, background="busy")
    for seed in range(30):
        portrait = draw(seed, world)
        assert len(portrait.ood) == 1 and portrait.busy_background
        assert portrait.without_ood() == draw(seed)


def test_the_share_of_out_of_domain_objects_is_the_world_s():
    drawn = [draw(i, World(ood=0.3, ood_kinds=("hat", "hand"))).ood for i in range(500)]
    assert np.mean([bool(ood) for ood in drawn]) == pytest.approx(0.3, abs=0.06)
    assert {o.kind for ood in drawn for o in ood} == {"hat", "hand"}


def test_correlations_are_probabilities_within_groups():
    world = World(correlations={"glasses | male": 0.8, "glasses | not male": 0.2})
    seen = shares(world, 1200)
    male = seen["male"] == 1
    assert seen["glasses"][male].mean() == pytest.approx(0.8, abs=0.05)
    assert seen["glasses"][~male].mean() == pytest.approx(0.2, abs=0.05)


def test_rates_move_a_base_rate_and_leave_the_identity():
    assert shares(World(rates={"smile": 0.9}))["smile"].mean() == pytest.approx(0.9, abs=0.04)
    a, b = draw(3), draw(3, World(rates={"glasses": 1.0}))
    assert replace(b, glasses=a.glasses, sunglasses=a.sunglasses) == a


@pytest.mark.parametrize("name", [*IN_DOMAIN, *OOD_KINDS, "busy_background"])
def test_a_fixed_binary_attribute_is_seen_on_everybody(name):
    for value in (0, 1):
        world = World(fixed={name: value})
        assert {draw(i, world).attributes[name] for i in range(40)} == {value}


def test_a_fixed_continuous_attribute_is_everybody_s():
    assert {draw(i, World(fixed={"yaw_deg": 12.5})).yaw_deg for i in range(5)} == {12.5}


@pytest.mark.parametrize("name", [*IN_DOMAIN, *OOD_KINDS, "busy_background"])
def test_a_counterfactual_has_the_attribute_and_setting_it_again_changes_nothing(name):
    for seed in range(25):
        for value in (0, 1):
            changed = draw(seed).with_attribute(name, value)
            assert changed.attributes[name] == value
            assert changed.with_attribute(name, value) == changed


@pytest.mark.parametrize("name", CONTINUOUS)
def test_a_continuous_counterfactual_takes_the_value(name):
    changed = draw(4).with_attribute(name, 1.0 if "amount" in name else 5.0 + 20 * ("age" in name))
    assert changed.attributes[name] == getattr(changed, name) != getattr(draw(4), name)


def test_what_cannot_be_seen_is_not_an_attribute():
    portrait = draw(0, World(fixed={"grey_hair": 1, "bangs": 1, "long_hair": 1, "male": 1}))
    assert portrait.attributes["grey_hair"] == 1
    assert replace(portrait, bald=True).attributes["grey_hair"] == 0
    assert replace(portrait, bald=True).attributes["long_hair"] == 0
    hatted = portrait.with_attribute("hat", 1)
    assert hatted.attributes["bangs"] == 0 and hatted.attributes["long_hair"] == 1
    hidden = replace(portrait, earrings=True, over_ears=True)
    assert hidden.attributes["earrings"] == 0


def test_a_hidden_edit_says_so():
    hatted = draw(1, World(fixed={"bald": 1})).with_attribute("hat", 1)
    with pytest.raises(ValueError, match=r"hidden behind hat; take portrait.without_ood"):
        hatted.with_attribute("bald", 1)


def test_a_shaved_woman_has_no_beard():
    bearded = draw(2, World(fixed={"male": 1, "beard": 1}))
    assert bearded.with_attribute("male", 0).attributes["beard"] == 0


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: draw(0).with_attribute("glases", 1), "did you mean glasses"),
        (lambda: World(rates={"smiling": 0.5}), "did you mean smile"),
        (lambda: World(rates={"smile": 1.5}), "from 0 to 1, got 1.5"),
        (lambda: World(fixed={"yaw_deg": 200}), "yaw_deg from -40 to 40, got 200"),
        (lambda: World(fixed={"smile": 0.5}), "0 or 1, got 0.5"),
        (lambda: World(correlations={"glasses if male": 0.5}), '"glasses | male"'),
        (lambda: World(correlations={"male | glasses": 0.5}), "sampled before male"),
        (lambda: World(ood=0.5, ood_kinds=("hats",)), "did you mean hat"),
        (lambda: World(ood=0.5, ood_kinds=()), "at least one of ood_kinds"),
        (lambda: World(background="bussy"), '"simple" or "busy"'),
        (lambda: draw(0).with_attribute("smile", 0.5), "0 or 1 for the binary attribute smile"),
        (lambda: draw(0).with_attribute("age_years", float("nan")), "age_years from 18 to 85"),
        (lambda: draw(-1), "from 0 to 2\\^63 - 1, got -1"),
        (lambda: draw("one"), "whole number"),
    ],
)
def test_what_is_not_understood_is_told(make, message):
    with pytest.raises(ValueError, match=message.replace("|", r"\|")):
        make()


def test_a_row_s_seed_depends_on_collection_and_row_alone():
    seeds = {row_seed(s, i) for s in range(3) for i in range(500)}
    assert len(seeds) == 1500
    assert row_seed(0, 0) == row_seed(0, 0)


def test_portraits_and_worlds_travel_between_processes():
    for thing in (draw(5, World(ood=1.0)), World(correlations={"glasses | male": 0.8})):
        assert pickle.loads(pickle.dumps(thing)) == thing
