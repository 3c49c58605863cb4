import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits

from invertory.checkpoints.strict import ArchitectureError
from invertory.networks.linknet import LinkNet, edited_labels

NAMES = ("smile", "glasses", "old")


@pytest.fixture
def linknet() -> LinkNet:
    rng = torch.Generator().manual_seed(0)
    made = LinkNet(num_ws=4, w_dim=5, attributes=NAMES)
    with torch.no_grad():
        made.weight.copy_(torch.randn(made.weight.shape, generator=rng))
        made.bias.copy_(torch.randn(3, generator=rng))
        made.directions.copy_(torch.randn(3, 4, 5, generator=rng))
    return made.requires_grad_(False)


def latents(n: int = 2) -> torch.Tensor:
    return torch.randn(n, 4, 5, generator=torch.Generator().manual_seed(1))


LABELS = torch.tensor([[1.0, 0.0, 0.3], [0.0, 1.0, 1.0]])


def test_one_matrix_gives_the_sum_over_all_edits(linknet: LinkNet) -> None:
    affine = linknet.edit_consistency(latents(), LABELS, step=1.7)
    each = linknet.edit_consistency(latents(), LABELS, step=1.7, editor="each")
    torch.testing.assert_close(affine, each)


def test_the_shortcut_has_the_same_gradient(linknet: LinkNet) -> None:
    found = []
    for editor in ("affine", "each"):
        w_plus = latents().requires_grad_()
        linknet.edit_consistency(w_plus, LABELS, step=1.7, editor=editor).sum().backward()
        found.append(w_plus.grad)
    torch.testing.assert_close(found[0], found[1])


def test_an_edit_is_compared_with_the_labels_that_it_should_have(linknet: LinkNet) -> None:
    """Computed by hand: the first attribute added to the first latent by one deviation."""
    logits = linknet(latents()[:1] + linknet.directions[0])
    expected = binary_cross_entropy_with_logits(logits, torch.tensor([[1.0, 0.0, 0.3]]))
    moves = linknet.directions.flatten(1) @ linknet.weight.T
    got = binary_cross_entropy_with_logits(
        linknet(latents()[:1]) + moves[0], edited_labels(LABELS[:1], 3)[:, 0]
    )
    torch.testing.assert_close(got, expected)


def test_every_attribute_is_set_once_and_cleared_once() -> None:
    labels = edited_labels(LABELS[:1], 3)[0]
    assert torch.allclose(labels[:3], torch.tensor([[1.0, 0, 0.3], [1, 1, 0.3], [1, 0, 1]]))
    assert torch.allclose(labels[3:], torch.tensor([[0.0, 0, 0.3], [1, 0, 0.3], [1, 0, 0]]))


def test_it_comes_back_from_its_tensors(linknet: LinkNet) -> None:
    again = LinkNet.load(linknet.state_dict(), linknet.config)
    assert torch.equal(again(latents()), linknet(latents()))


def test_latents_of_another_generator_are_refused(linknet: LinkNet) -> None:
    with pytest.raises(ValueError, match=r"expected w_plus \[N, 4, 5\]"):
        linknet(torch.zeros(1, 3, 5))
    with pytest.raises(ArchitectureError, match="lacks directions"):
        LinkNet.load({"weight": linknet.weight, "bias": linknet.bias}, linknet.config)
    with pytest.raises(ValueError, match="at least one attribute"):
        LinkNet(num_ws=4, w_dim=5, attributes=())
