import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invertory.checkpoints.strict import ArchitectureError
from invertory.images import to_uint8
from invertory.networks.landmark_regressor import (
    LandmarkRegressor,
    RegressionFaceDetector,
    RegressorConfig,
    crop_square,
)
from invertory.portraits import draw, render

SMALL = {"size_px": 16, "widths": [4, 6, 8]}


@pytest.fixture(scope="module")
def regressor():
    made = LandmarkRegressor(**SMALL)
    made.mean_shape.copy_(torch.linspace(0.2, 0.8, 136).view(68, 2))
    return made.eval().requires_grad_(False)


def test_points_are_in_pixels_of_the_image_whatever_its_size(regressor):
    nn.init.zeros_(regressor.head.weight), nn.init.zeros_(regressor.head.bias)
    for height, width in ((16, 16), (64, 32)):
        (points,) = regressor(torch.zeros(1, 3, height, width))
        expected = regressor.mean_shape * torch.tensor([width, height]) - 0.5
        assert torch.allclose(points, expected)


def test_a_card_gives_the_network_back(regressor):
    config = json.loads(json.dumps(regressor.config))
    again = LandmarkRegressor.load(regressor.state_dict(), config)
    x = torch.randn(2, 3, 16, 16)
    assert torch.equal(again(x), regressor(x))
    with pytest.raises(ArchitectureError, match=r"head.weight \(expected"):
        LandmarkRegressor.load(regressor.state_dict(), SMALL | {"size_px": 32})


def test_impossible_sizes_are_refused():
    with pytest.raises(ValueError, match="multiples of 16 px"):
        RegressorConfig(size_px=40)
    with pytest.raises(ValueError, match="channels of each stage"):
        RegressorConfig(widths=())


class Known(nn.Module):
    """Predicts the points of a known image from its bright centre."""

    def __init__(self, shape: np.ndarray) -> None:
        super().__init__()
        self.mean_shape = torch.from_numpy(shape)

    def forward(self, x: Tensor) -> Tensor:
        weight = (x[0].mean(0) + 1).square()
        rows, columns = torch.meshgrid(*[torch.arange(float(x.shape[2]))] * 2, indexing="ij")
        total = weight.sum()
        centre = torch.stack([(weight * columns).sum(), (weight * rows).sum()]) / total
        return (centre + self.mean_shape)[None]


def bright_disc(size=(80, 120), at=(70, 30)):
    y, x = np.mgrid[: size[0], : size[1]]
    inside = (x - at[0]) ** 2 + (y - at[1]) ** 2 < 36
    return (255 * inside[..., None]).astype(np.uint8).repeat(3, 2)


def test_a_head_off_the_centre_is_found_in_the_images_own_pixels():
    shape = (render(draw(3), 64).landmarks - 32).astype(np.float32) / 2
    shape -= shape.mean(0)
    (face,) = RegressionFaceDetector(Known(shape)).detect(bright_disc())
    assert np.allclose(face.landmarks, shape + np.array([70, 30]), atol=0.1)
    assert face.anchors.shape == (4, 2)
    assert face.confidence > 0.9
    assert face.box == pytest.approx((*(face.landmarks.min(0)), *(face.landmarks.max(0))))


def test_where_the_two_looks_disagree_there_is_no_face(regressor):
    # a constant shape lies elsewhere in each window that it is asked about
    assert RegressionFaceDetector(regressor).detect(bright_disc((64, 64))) == []


def test_a_square_beyond_the_image_goes_on_with_its_edge():
    image = to_uint8(torch.rand(3, 4, 5) * 2 - 1)
    square = crop_square(image, -2, -1, 9)
    assert square.shape == (9, 9, 3)
    assert np.array_equal(square[1:5, 2:7], image)
    assert np.array_equal(square[0, 0], image[0, 0])
    assert np.array_equal(square[8, 8], image[3, 4])
