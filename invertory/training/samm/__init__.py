"""The trainer of SAMM's modules."""
