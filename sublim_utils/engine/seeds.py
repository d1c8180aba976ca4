"""Random numbers: one generator per seed and purpose, so that seeds share nothing."""

import hashlib

import torch

__all__ = ["epoch_orders", "generator", "other_seed"]


def generator(seed: int, purpose: str) -> torch.Generator:
    """Return the CPU generator of `seed` for one `purpose`.

    Its state is the first 63 bits of SHA-256("seed:purpose"), so a new purpose disturbs
    no old one, and a seed gives the same numbers whatever the number of seeds or the device.

    >>> a, b = (torch.rand(3, generator=generator(7, "init")) for _ in range(2))
    >>> bool((a == b).all())
    True
    """
    digest = hashlib.sha256(f"{seed}:{purpose}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)


def other_seed(seed: int) -> int:
    """Return the seed whose teacher a cross-model student of `seed` gets: its pair's other half.

    s -> s XOR 1 swaps 0 with 1, 2 with 3, ...: a derangement (no seed keeps its own
    teacher) that does not depend on how many seeds are run.

    >>> [other_seed(s) for s in range(4)]
    [1, 0, 3, 2]
    """
    return seed ^ 1


def epoch_orders(n: int, batch_size: int, epochs: int, rng: torch.Generator) -> list[torch.Tensor]:
    """Return the index batches of `epochs` passes over n items, reshuffled every epoch.

    The last batch of an epoch is smaller when `batch_size` does not divide n.

    >>> [len(b) for b in epoch_orders(5, 2, 2, generator(0, "doc"))]
    [2, 2, 1, 2, 2, 1]
    """
    return [batch for _ in range(epochs) for batch in torch.randperm(n, generator=rng).split(batch_size)]
