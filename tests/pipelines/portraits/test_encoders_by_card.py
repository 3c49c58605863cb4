"""Each method finds the encoder that was made for it and for its generator."""

from __future__ import annotations

from invertory.encoders.pyramid import PyramidEncoder
from invertory.pipelines.networks.load import load_method_networks
from invertory.pipelines.networks.resolve import fitting, method_networks
from invertory.pipelines.recipe.recipe import load_recipe
from invertory.resources.checkpoints import write_network
from invertory.resources.models import ModelStore


def test_each_method_gets_the_encoder_that_is_meant_for_it(tmp_path, bundled, domain):
    names = ("portraits_conventional_encoder", "portraits_domain_guided_encoder")
    domain.bundle(bundled, "portraits_generator", *names)
    found = load_recipe(
        domain.write(tmp_path, domain.recipe(methods={"in_domain": {}})), ModelStore()
    )
    got = {
        method: fitting(found, method, "encoder", ModelStore()).card.name
        for method in ("in_domain", "conventional_encoder", "domain_guided_encoder")
    }
    assert got == {
        "in_domain": names[1], "conventional_encoder": names[0], "domain_guided_encoder": names[1]
    }  # fmt: skip


def test_a_generator_of_invgan_gets_the_encoder_that_was_trained_with_it(tmp_path, bundled, domain):
    stages = ("portraits_invgan", "portraits_invgan_naive")
    _, word, network, config = domain.networks["portraits_generator"]
    for name in (f"{stage}_{part}" for stage in stages for part in ("generator", "encoder")):
        card = {"name": name, "architecture": {"name": word, "config": config}}
        made_for = name.replace("encoder", "generator")
        kind = {"kind": "generator"} if made_for == name else {"kind": "invgan"}
        own = kind if made_for == name else kind | {"generator": made_for}
        write_network(bundled, name, domain.filled(network(**config)), card | own)
    for stage in stages:
        generator = {"name": "stylegan2", "weights": f"bundled://{stage}_generator"}
        alone = {"attributes": {}, "boundaries": {}, "edits": [], "perceptual": {"name": "pixels"}}
        told = domain.recipe(generator=generator, methods={"invgan": {}}, **alone)
        found = load_recipe(domain.write(tmp_path, told), ModelStore())
        assert (
            method_networks(found, "invgan", ModelStore())["invgan"].card.name == f"{stage}_encoder"
        )


def test_encoders_of_a_kind_of_their_own_are_found_by_it(tmp_path, bundled, domain):
    domain.bundle(bundled, *domain.networks)
    config = {
        "resolution": domain.px,
        "num_ws": 8,
        "w_dim": 8,
        "backbone": "small",
        "widths": [4] * 5,
    }
    for kind in ("e4e", "psp", "restyle"):
        network = PyramidEncoder(**config, input_channels=6 if kind == "restyle" else 3)
        card = {
            "name": f"portraits_{kind}",
            "kind": kind,
            "architecture": {"name": "pyramid_encoder", "config": network.config},
            "generator": "portraits_generator",
        }
        write_network(bundled, card["name"], domain.filled(network), card)
    methods = {
        "e4e": {},
        "psp": {},
        "restyle": {},
        "in_domain": {},
        "hybrid": {"encoder": "bundled://portraits_psp"},
    }
    found = load_recipe(domain.write(tmp_path, domain.recipe(methods=methods)), ModelStore())
    got = {
        (method, kind): network.card.name
        for method in methods
        for kind, network in method_networks(found, method, ModelStore()).items()
    }
    assert got == {
        ("e4e", "e4e"): "portraits_e4e",
        ("psp", "psp"): "portraits_psp",
        ("restyle", "restyle"): "portraits_restyle",
        ("in_domain", "encoder"): "portraits_domain_guided_encoder",
        ("hybrid", "encoder"): "portraits_psp",
    }
    loaded = load_method_networks(found, "restyle", ModelStore())["restyle"]
    assert loaded.input_channels == 6
    over = load_recipe(
        domain.write(tmp_path, domain.recipe(methods={"restyle": {"over": "e4e"}})), ModelStore()
    )
    assert method_networks(over, "restyle", ModelStore())["e4e"].card.name == "portraits_e4e"


def test_an_encoder_for_another_generator_is_not_taken(tmp_path, bundled, domain):
    domain.bundle(bundled, *domain.networks)
    toy = domain.recipe(
        generator={"name": "toy"}, methods={"in_domain": {}}, boundaries={}, edits=[]
    )
    found = load_recipe(domain.write(tmp_path, toy), ModelStore())
    assert (
        "made for the generator 'toy'"
        in fitting(found, "in_domain", "encoder", ModelStore()).missing
    )
