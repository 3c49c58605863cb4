"""The engine that runs every method: objectives, slots, Adam, and the execution of a step."""
