"""The claims of SAM, SAMM and the encoders on results that are made up: the verdict is known."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.compare import claims_encoders, claims_sam, claims_samm
from benchmarks.compare.analyses import FID
from benchmarks.compare.claims import Claim, each_better, judge
from benchmarks.compare.editability import COSINE, ERROR, GAIN, T
from benchmarks.compare.objects import (
    AREA,
    CENTRE_IOU,
    EDITED_INSIDE,
    IOU,
    RANDOM_IOU,
    RISE_INSIDE,
    TRUE_AREA,
)
from benchmarks.compare.results import Results, Values

ALL = claims_sam.CLAIMS | claims_samm.CLAIMS | claims_encoders.CLAIMS
RNG = np.random.default_rng(0)


def near(mean: float, num: int = 30) -> Values:
    return mean + RNG.normal(0, 0.002, num)


def filled(part: str, rows: dict[str, dict[str, float]]) -> Results:
    results = Results()
    for arm, measures in rows.items():
        results.put(part, arm, {name: near(mean) for name, mean in measures.items()})
    return results


def claim(start: str) -> Claim:
    return next(found for text, found in ALL.items() if text.startswith(start))


def test_what_was_not_measured_is_not_tested() -> None:
    verdicts = judge(ALL, Results())
    assert {verdict.word for verdict in verdicts.values()} == {"not tested"}
    assert all(verdict.told for verdict in verdicts.values())


def test_a_chain_is_held_only_where_every_link_is() -> None:
    rising = filled("x", {name: {"MSE": mean} for name, mean in zip("abc", (3, 2, 1), strict=True)})
    assert each_better(("x",), "MSE", "abc", -1)(rising).is_held is True
    assert each_better(("x",), "MSE", "acb", -1)(rising).is_held is False
    assert "b to a: 2" in each_better(("x",), "MSE", "abc", -1)(rising).told


def sam(mse: float, t: float) -> Results:
    """SAM as given; the single spaces trade 0.4 to 0.1 of error for 0.8 to 0.2 of t."""
    rows = {"sam": (mse, t)}
    rows |= {arm: (0.4 - 0.1 * i, 0.8 - 0.2 * i) for i, arm in enumerate(claims_sam.SINGLE)}
    results = filled("portraits", {arm: {"MSE": pair[0]} for arm, pair in rows.items()})
    edits = {arm: {T: pair[1], COSINE: 0.1, ERROR: pair[0]} for arm, pair in rows.items()}
    results.parts |= filled("edit/boundary", edits).parts
    return results


@pytest.mark.parametrize(
    ("mse", "t", "is_held"),
    [(0.15, 0.7, True), (0.05, 0.1, True), (0.35, 0.3, False)],  # the last: F2 and F4 beat it
)
def test_no_single_space_may_be_as_good_on_both_counts(mse: float, t: float, is_held: bool) -> None:
    found = claim("SAM: no single")(sam(mse, t))
    assert found.is_held is is_held
    assert "sam, F6 alone" in found.told


def test_later_layers_are_compared_one_after_the_other() -> None:
    results = sam(0.2, 0.5)
    assert claim("SAM: later layers reconstruct")(results).is_held is True
    assert claim("SAM: later layers edit")(results).is_held is True


@pytest.mark.parametrize(("mse", "cosine", "is_held"), [(0.2, 0.2, True), (0.3, 0.2, False)])
def test_segments_must_gain_at_nearly_equal_reconstruction(
    mse: float, cosine: float, is_held: bool
) -> None:
    rows = {"sam": (mse, cosine), "sam, by pixels": (0.2, 0.1)}
    results = filled("portraits_ood", {arm: {"MSE": pair[0]} for arm, pair in rows.items()})
    measures = {arm: {T: 0.5, COSINE: pair[1], ERROR: 0.3} for arm, pair in rows.items()}
    for row in measures:  # equal but for the cosine
        results.put("edit/objects", row, {T: np.full(30, 0.5), ERROR: np.full(30, 0.3)})
        results.put("edit/objects", row, {COSINE: near(measures[row][COSINE])})
    assert claim("SAM: segments matter")(results).is_held is is_held


def test_the_area_is_compared_with_what_is_at_hand() -> None:
    own, other = {AREA: 0.1, TRUE_AREA: 0.08}, {AREA: 0.3}
    results = filled("portraits_ood", {"samm": own, "samm, alignment skipped": other})
    found = claim("SAMM: alignment")(results)
    assert found.is_held is True
    assert "no mask area" in found.told
    assert "objects have 0.08" in found.told


@pytest.mark.parametrize(("iou", "is_held"), [(0.6, True), (0.25, False)])
def test_masks_must_beat_chance_and_the_middle(iou: float, is_held: bool) -> None:
    measures = {IOU: iou, RANDOM_IOU: 0.1, CENTRE_IOU: 0.3}
    results = filled("portraits_ood", {"samm": measures})
    assert claim("SAMM: masks find")(results).is_held is is_held


def test_edits_keep_objects_better_than_the_base_encoder() -> None:
    rows = {
        "samm": {EDITED_INSIDE: 0.1, RISE_INSIDE: 0.01, T: 0.3},
        claims_samm.BASE: {EDITED_INSIDE: 0.3, RISE_INSIDE: 0.05, T: 0.4},
    }
    assert claim("SAMM: edits keep")(filled("edit/objects", rows)).is_held is True
    rows["samm"][RISE_INSIDE] = 0.2
    assert claim("SAMM: edits keep")(filled("edit/objects", rows)).is_held is False


def test_joint_training_is_compared_with_every_encoder_at_hand() -> None:
    rows = {"invgan": {"MSE": 0.02}, "psp": {"MSE": 0.03}, "conventional_encoder": {"MSE": 0.04}}
    verdict = claim("InvGAN: joint training inverts")(filled("portraits", rows))
    assert verdict.is_held is True
    assert "domain_guided_encoder: no MSE" in verdict.told
    rows["psp"]["MSE"] = 0.01
    assert claim("InvGAN: joint training inverts")(filled("portraits", rows)).is_held is False


@pytest.mark.parametrize(("fid", "is_held"), [(41.0, True), (60.0, False)])
def test_samples_may_cost_a_little(fid: float, is_held: bool) -> None:
    stages = {"portraits_invgan_generator": fid, "portraits_invgan_naive_generator": 40.0}
    results = filled("samples", {name: {FID: value} for name, value in stages.items()})
    assert claim("InvGAN: joint training costs")(results).is_held is is_held


def test_e4e_pays_in_distortion_and_gains_in_edits() -> None:
    results = filled("portraits", {"e4e": {"MSE": 0.05}, "psp": {"MSE": 0.03}})
    edits = {"e4e": {COSINE: 0.3, T: 0.5, GAIN: 0.1}, "psp": {COSINE: 0.2, T: 0.4, GAIN: 0.05}}
    results.parts |= filled("edit/boundary", edits).parts
    assert claim("e4e")(results).is_held is True
    results.parts |= filled("portraits", {"e4e": {"MSE": 0.03}, "psp": {"MSE": 0.05}}).parts
    assert claim("e4e")(results).is_held is False


def test_edits_of_other_generators_attributes_are_not_compared() -> None:
    results = filled("portraits", {"e4e": {"MSE": 0.05}, "psp": {"MSE": 0.03}})
    results.put("edit/boundary", "e4e", {COSINE: np.ones(20), T: np.ones(20), GAIN: np.ones(20)})
    results.put("edit/boundary", "psp", {COSINE: np.ones(30), T: np.ones(30), GAIN: np.ones(30)})
    verdict = judge({"x": claim("e4e")}, results)["x"]
    assert verdict.is_held is None
    assert "on 20 and on 30" in verdict.told
