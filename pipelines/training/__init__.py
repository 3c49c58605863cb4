"""Trainings: YAML files that declare how networks are made, their runs and their assets."""
