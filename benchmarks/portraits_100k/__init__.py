"""A hundred thousand portraits through the chain: how fast, and in how much memory."""
