"""Faults seeded one at a time, and whether the notebooks' comparison and the unit tests notice them."""
