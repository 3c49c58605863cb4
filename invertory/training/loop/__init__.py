"""The loop that every trainer runs in: states, logs, networks and their cards."""
