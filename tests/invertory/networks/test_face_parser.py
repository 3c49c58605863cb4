import json

import pytest
import torch

from invertory.checkpoints.strict import ArchitectureError
from invertory.networks import build
from invertory.networks.face_parser import FaceParser, ParserConfig

SMALL = {"segments": ["back", "skin", "hair"], "size_px": 16, "widths": [4, 6, 8]}


@pytest.fixture(scope="module")
def parser():
    return FaceParser(**SMALL).eval().requires_grad_(False)


def test_logits_have_the_size_of_the_image(parser):
    for size in ((16, 16), (32, 32), (40, 24), (8, 8)):
        assert parser(torch.zeros(2, 3, *size)).shape == (2, 3, *size)


def test_segments_are_the_likeliest_indices(parser):
    x = torch.randn(2, 3, 16, 16)
    told = parser.segment(x)
    assert told.dtype == torch.uint8
    assert torch.equal(told.long(), parser(x).argmax(1))


def test_a_batch_gives_what_its_images_give_alone(parser):
    x = torch.randn(3, 3, 16, 16)
    assert torch.allclose(parser(x), torch.cat([parser(row[None]) for row in x]), atol=1e-5)


def test_far_pixels_count_for_a_segment(parser):
    x = torch.zeros(1, 3, 16, 16, requires_grad=True)
    (slope,) = torch.autograd.grad(parser(x)[0, 0, 0, 0], x)
    assert slope[0, :, 8:, 8:].abs().max() > 0  # through the smallest maps


def test_a_card_gives_the_network_back(parser):
    again = build("face_parser", json.loads(json.dumps(parser.config)), parser.state_dict())
    x = torch.randn(1, 3, 16, 16)
    assert torch.equal(again(x), parser(x))


def test_a_checkpoint_of_other_widths_is_refused_with_both_shapes(parser):
    with pytest.raises(ArchitectureError, match=r"expected \[.*\], got \[.*\]"):
        FaceParser.load(parser.state_dict(), SMALL | {"widths": [4, 6, 10]})
    with pytest.raises(ArchitectureError, match=r"lacks downs\.2"):
        FaceParser.load(parser.state_dict(), SMALL | {"widths": [4, 6, 8, 8]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"segments": ["skin"]}, "two or more unique segments"),
        ({"segments": ["skin", "skin"]}, "two or more unique segments"),
        ({"widths": [4, 0]}, "channels for each size"),
        ({"size_px": 18}, "multiples of 4 px"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ParserConfig(**SMALL | change)
