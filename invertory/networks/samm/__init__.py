"""SAMM's modules: the network, its layers, and figures of its flows."""
