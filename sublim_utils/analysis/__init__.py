"""Analysis: what is derived from recorded runs, and the statistics of it."""
