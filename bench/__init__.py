"""What the replication costs, against the public script's method and the machine's limit: `python -m bench`."""
