"""The invertibility predictor: its outputs, its configuration, and a parser's backbone."""

from __future__ import annotations

import pytest
import torch

from invertory.networks import build
from invertory.networks.face_parser import FaceParser
from invertory.networks.invertibility import InvertibilityPredictor

SIZES = {"size_px": 16, "widths": (4, 6, 8)}


def predictor() -> InvertibilityPredictor:
    with torch.random.fork_rng():
        torch.default_generator.manual_seed(0)
        return InvertibilityPredictor(spaces=("W+", "F2"), **SIZES).eval()


def test_errors_are_not_negative_and_have_the_networks_size() -> None:
    told = predictor()(torch.randn(3, 3, 32, 32))
    assert told.shape == (3, 2, 16, 16)
    assert told.dtype == torch.float32
    assert (told >= 0).all()


def test_it_is_built_again_from_its_tensors_and_its_configuration() -> None:
    made = predictor()
    made.unit.fill_(0.25)
    again = build("invertibility_predictor", made.config, made.state_dict())
    assert isinstance(again, InvertibilityPredictor)
    assert (again.spaces, float(again.unit)) == (("W+", "F2"), 0.25)
    x = torch.randn(1, 3, 16, 16)
    torch.testing.assert_close(again(x), made(x))
    assert not any(p.requires_grad for p in again.parameters())


def test_a_parsers_backbone_may_be_the_start() -> None:
    parser, made = FaceParser(segments=("a", "b"), **SIZES), predictor()
    head, unit = made.heads[0][0].weight.clone(), made.unit.clone()
    made.start_from(parser)
    assert torch.equal(made.stem.weight, parser.stem.weight)
    assert torch.equal(made.ups[1].conv.weight, parser.ups[1].conv.weight)
    assert torch.equal(made.heads[0][0].weight, head)
    assert torch.equal(made.unit, unit)
    with pytest.raises(ValueError, match="set widths to the parser's"):
        made.start_from(FaceParser(segments=("a", "b"), size_px=16, widths=(4, 6)))


@pytest.mark.parametrize(
    "bad", [{"spaces": ()}, {"spaces": ("W+", "W+")}, {"size_px": 18}, {"widths": (0, 4)}]
)
def test_bad_configurations_are_refused(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="expected"):
        InvertibilityPredictor(**{"spaces": ("W+",), **SIZES, **bad})
