import json

import numpy as np
import pytest
import torch

from invertory.checkpoints.strict import ArchitectureError
from invertory.images import to_tensor
from invertory.networks import build
from invertory.networks.classifier import AttributeClassifier, ClassifierConfig, ClassifierScorer
from invertory.scoring import BadScore

SMALL = {
    "binary": ["smile", "hat"],
    "continuous": ["yaw_deg"],
    "size_px": 16,
    "stem": 4,
    "widths": [4, 6, 8],
}


def images(num=3, size_px=16, seed=0):
    rng = np.random.default_rng(seed)
    return list(rng.integers(0, 256, (num, size_px, size_px, 3), dtype=np.uint8))


@pytest.fixture(scope="module")
def classifier():
    made = AttributeClassifier(**SMALL)
    made.temperature.copy_(torch.tensor([2.0, 0.5]))
    made.mean.fill_(10.0)
    made.spread.fill_(3.0)
    return made.eval().requires_grad_(False)


def test_outputs_are_logits_over_temperature_and_values_in_their_unit(classifier):
    x = to_tensor(images())
    raw, told = classifier.raw(x), classifier(x)
    assert torch.equal(told[:, :2], raw[:, :2] / torch.tensor([2.0, 0.5]))
    assert torch.equal(told[:, 2], raw[:, 2] * 3 + 10)
    scores = classifier.scores(x)
    assert torch.equal(scores[:, :2], told[:, :2].sigmoid())
    assert torch.equal(scores[:, 2], told[:, 2])


def test_a_map_for_each_stage_and_an_embedding(classifier):
    maps = classifier.features(to_tensor(images()))
    assert [list(m.shape) for m in maps] == [
        [3, 4, 16, 16],
        [3, 4, 8, 8],
        [3, 6, 4, 4],
        [3, 8, 2, 2],
    ]
    assert classifier.embedding(to_tensor(images())).shape == (3, 8)


def test_other_sizes_are_averaged_down_not_sampled(classifier):
    x = to_tensor(images())
    large = x.repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert classifier(large).shape == (3, 3)
    stripes = torch.ones(1, 3, 64, 64)
    stripes[..., ::2] = -1.0  # a grid of the image's own pixels would see one colour alone
    grey = torch.zeros(1, 3, 16, 16)
    assert torch.allclose(classifier(stripes), classifier(grey), atol=0.02)


def test_features_have_smooth_gradients(classifier):
    double = AttributeClassifier(**SMALL | {"size_px": 8}).double().eval()
    x = torch.randn(1, 3, 8, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: double.features(x)[2], (x,), fast_mode=True)


def test_a_batch_gives_what_its_images_give_alone(classifier):
    x = to_tensor(images(4))
    alone = torch.cat([classifier(row[None]) for row in x])
    assert torch.allclose(classifier(x), alone, atol=1e-5)


def test_a_card_gives_the_network_back(classifier):
    config = json.loads(json.dumps(classifier.config))
    again = build("attribute_classifier", config, classifier.state_dict())
    x = to_tensor(images())
    assert torch.equal(again(x), classifier(x))
    assert not again.training
    assert not any(p.requires_grad for p in again.parameters())


def test_half_precision_tensors_give_a_float_network(classifier):
    halves = {
        name: t.half() if t.is_floating_point() else t
        for name, t in classifier.state_dict().items()
    }
    again = AttributeClassifier.load(halves, classifier.config)
    assert again.head.weight.dtype == torch.float32
    x = to_tensor(images())
    assert torch.allclose(again(x), classifier(x), atol=0.05)


def test_a_checkpoint_of_other_attributes_is_refused_with_both_shapes(classifier):
    other = SMALL | {"binary": ["smile", "hat", "mask"]}
    with pytest.raises(ArchitectureError, match=r"head.bias \(expected \[4\], got \[3\]\)"):
        AttributeClassifier.load(classifier.state_dict(), other)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"binary": []}, "expected at least one binary attribute"),
        ({"continuous": ["hat"]}, "unique names"),
        ({"widths": []}, "channels of stem and stages"),
        ({"size_px": 20}, "multiples of 8 px"),
    ],
)
def test_impossible_configurations_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        ClassifierConfig(**SMALL | change)


def test_what_is_no_batch_of_rgb_is_refused(classifier):
    with pytest.raises(ValueError, match=r"expected images \[N, 3, H, W\].*got \[1, 1, 8, 8\]"):
        classifier(torch.zeros(1, 1, 8, 8))


def test_a_scorer_gives_the_scores_by_name_in_any_company(classifier):
    scorer = ClassifierScorer(classifier, ["yaw_deg", "hat"], batch_size=2)
    some = [*images(3), *images(1, 24)]
    told = scorer.score(some)
    assert [list(scores) for scores in told] == [["yaw_deg", "hat"]] * 4
    assert scorer.names == ("yaw_deg", "hat")
    for image, scores in zip(some, told, strict=True):
        (alone,) = scorer.score([image])
        assert alone == scores
        direct = classifier.scores(to_tensor(image))[0, [2, 1]]
        assert list(scores.values()) == pytest.approx(direct.tolist(), abs=1e-5)


def test_a_scorer_refuses_names_it_does_not_know(classifier):
    with pytest.raises(ValueError, match=r"among \['smile', 'hat', 'yaw_deg'\], got \['beard'\]"):
        ClassifierScorer(classifier, ["beard"])
    assert ClassifierScorer(classifier).names == ("smile", "hat", "yaw_deg")


def test_an_output_that_is_no_number_is_a_bad_score():
    broken = AttributeClassifier(**SMALL)
    torch.nn.init.constant_(broken.head.bias, float("nan"))
    (told,) = ClassifierScorer(broken).score(images(1))
    assert told == BadScore("the classifier's output is not finite")
