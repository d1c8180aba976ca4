"""Runs: the store, the lab that fills it, the profiles and experiments that name what is run."""
