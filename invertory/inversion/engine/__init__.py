"""The engine that runs every method: objectives, slots, Adam, and how a step is executed."""
