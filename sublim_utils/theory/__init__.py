"""The theory: its quantities in float64, the checks of it on real networks, and trainings that ask one question."""
