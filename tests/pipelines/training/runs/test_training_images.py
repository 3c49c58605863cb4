"""Pictures of one's own as data of a training: cropped once, broken ones left out."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from invertory.encoders import ResidualEncoder
from invertory.generators.stylegan2 import StyleGAN2
from invertory.pipelines.progress.display import Silent
from invertory.pipelines.training.data import images
from invertory.pipelines.training.sections import Images
from invertory.resources.checkpoints import write_network


def test_ones_own_pictures_are_cropped_once_and_broken_ones_left_out(
    tmp_path, store, draw_pictures, listening
):
    draw_pictures(tmp_path / "mine", 70)
    (tmp_path / "mine" / "broken.png").write_bytes(b"\x89PNG")
    (tmp_path / "mine" / "notes.txt").write_text("no picture")
    Image.new("RGB", (300, 100)).save(tmp_path / "mine" / "wide.png")
    how = Images.model_validate({
        "uri": str(tmp_path / "mine"), "alignment": {"kind": "centre", "size_px": 16}})  # fmt: skip
    heard = listening()
    found = images(how, tmp_path / "data", store, heard)
    assert found.shape == (71, 16, 16, 3)
    assert heard.stages["crops images"] == (0, 73)
    draw_pictures(tmp_path / "mine", 2, first=100)
    again = images(how, tmp_path / "data", store, listening())  # a run keeps what it began with
    assert (again == found).all()


def test_a_folder_without_pictures_is_told(tmp_path, store):
    (tmp_path / "mine").mkdir()
    how = Images.model_validate({"uri": str(tmp_path / "mine")})
    with pytest.raises(ValueError, match=r"expected images in .* got none that gives a crop"):
        images(how, tmp_path / "data", store, Silent())


def test_ones_own_pictures_are_inverted_beside_what_the_generator_draws(
    tmp_path, store, draw_pictures, spec_of, run, listening
):
    sizes = {"z_dim": 8, "w_dim": 8, "img_resolution": 16, "num_layers": 1, "channel_base": 64}
    painter = StyleGAN2(**sizes).initialise(torch.Generator().manual_seed(1))
    guide = ResidualEncoder(resolution=16, num_ws=6, w_dim=8, channels=(4, 4, 4), narrow=2)
    words = {"stylegan2": ("painter", painter), "residual_encoder": ("guide", guide)}
    for word, (name, network) in words.items():
        card = {"name": name, "architecture": {"name": word, "config": network.config}}
        write_network(store.trained(), name, network.state_dict(), card)
    draw_pictures(tmp_path / "mine", 8)
    crops = {"kind": "centre", "size_px": 16}
    spec = spec_of(
        name="hardness",
        trainer="invertibility",
        data={
            "images": {"uri": str(tmp_path / "mine"), "alignment": crops, "share": 1},
            "pairs": {"num": 16, "size_px": 16, "share": 2},
        },
        uses={
            "generator": "trained://painter",
            "encoder": "trained://guide",
            "perceptual": "pixels",
        },
        settings={
            "num": 12,
            "held_out": 4,
            "widths": [4, 8],
            "inverting": {"steps": 1, "w_samples": 32},
        },
        budget={"images": 16, "batch_size": 8},
    )
    heard = listening()
    card = run(spec, heard).cards["hardness"]
    assert heard.stages["crops images"] == (0, 8) and heard.stages["draws pairs"] == (0, 16)
    assert heard.stages["inverts in every space"] == (0, 12)
    assert card["data"]["images"] == {"crops": 8, "size_px": 16}  # a path is nobody's business
    assert card["data"]["pairs"]["num"] == 16
    assert "the user's images and images that its generator made" in card["provenance"]
