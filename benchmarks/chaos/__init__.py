"""Kills, races, bit flips, outages and full disks against the toy chain."""
