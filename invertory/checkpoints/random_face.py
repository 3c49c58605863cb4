"""Convert the two OpenVINO graphs of random-face 2021.7.21.1 to the tensors of `MobileStyleGAN`.

Constants that kept their module name are found by name. The others (pointwise weights, noise, the
mapping's layers) have numeric names and are found by walking the graph from named ones.
"""

from __future__ import annotations

import torch
from torch import Tensor

from invertory.checkpoints.openvino_ir import Graph, Node


def mapping_tensors(graph: Graph) -> dict[str, Tensor]:
    """layers.i.{weight, bias}: walk from the result back over Multiply, PReLU, Add, MatMul."""
    node = graph.find("style")
    layers: list[tuple[Tensor, Tensor]] = []
    while graph.source(node, 0).type == "PReLU":
        add = graph.source(graph.source(node, 0), 0)
        matmul, reshape = graph.source(add, 0), graph.source(add, 1)
        layers.append((_tensor(graph, matmul, 1), _tensor(graph, reshape, 0)))
        node = graph.source(matmul, 0)
    tensors: dict[str, Tensor] = {}
    for i, (weight, bias) in enumerate(reversed(layers)):
        tensors |= {f"layers.{i}.weight": weight, f"layers.{i}.bias": bias}
    return tensors


def synthesis_tensors(graph: Graph, num_blocks: int) -> dict[str, Tensor]:
    """constant, stem.*, blocks.i.{up, conv1, conv2}.*, to_img*."""
    tensors = {"constant": _named(graph, "m.input.input")}
    tensors |= _styled_conv(graph, "m.conv1", "stem")
    for i in range(num_blocks):
        tensors |= _linear(graph, f"m.layers.{i}.up.modulation", f"blocks.{i}.up")
        for conv in ("conv1", "conv2"):
            tensors |= _styled_conv(graph, f"m.layers.{i}.{conv}", f"blocks.{i}.{conv}")
    last = f"m.layers.{num_blocks - 1}.to_img"
    tensors |= _linear(graph, f"{last}.conv.modulation", "to_img_modulation")
    weight, bias = _named(graph, f"{last}.conv.weight"), _named(graph, f"{last}.bias")
    return tensors | {"to_img.weight": weight, "to_img.bias": bias.flatten()}


def _styled_conv(graph: Graph, source: str, target: str) -> dict[str, Tensor]:
    """bias <- Add <- Add(convolution, noise); the convolution's second input is its weight."""
    bias = graph.find(f"{source}.bias")
    noisy = graph.source(graph.user(bias), 0)
    tensors = _linear(graph, f"{source}.conv.modulation", f"{target}.modulation")
    tensors[f"{target}.bias"] = torch.from_numpy(graph.array(bias)).flatten()
    tensors[f"{target}.noise"] = _tensor(graph, noisy, 1)
    convolution = graph.source(noisy, 0)
    tensors[f"{target}.weight"] = _tensor(graph, convolution, 1)
    if graph.source(convolution, 0).type == "GroupConvolution":
        depthwise = _named(graph, f"{source}.conv.weight_dw")  # [C, 1, 1, 3, 3]
        tensors[f"{target}.depthwise"] = depthwise.flatten(0, 1)
    return tensors


def _linear(graph: Graph, source: str, target: str) -> dict[str, Tensor]:
    weight, bias = _named(graph, f"{source}.weight"), _named(graph, f"{source}.bias")
    return {f"{target}.weight": weight, f"{target}.bias": bias.flatten()}


def _named(graph: Graph, name: str) -> Tensor:
    return torch.from_numpy(graph.array(graph.find(name)))


def _tensor(graph: Graph, node: Node, port: int) -> Tensor:
    return torch.from_numpy(graph.array(graph.source(node, port)))
