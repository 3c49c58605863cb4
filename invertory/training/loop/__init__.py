"""The training loop of all trainers: states, logs, networks and their cards."""
