"""The theory: its quantities in float64, and the checks of it on real networks."""
