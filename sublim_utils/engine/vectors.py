"""Vectors of parameters: inner products, and the projections of the paper and beyond.

Vectors are (..., P), one a model; leading axes are seed and condition.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["TINY", "by_part", "dot", "project", "project_off"]

TINY = torch.finfo(torch.float32).tiny


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the inner product of each model, the leading axes of `a`.

    One sum per model: a batched product would depend, in the last bit, on how many there are, and
    the matrix library's dot on where they lie in memory; torch's cascaded sum does on neither.

    >>> dot(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]]))
    tensor([11.])
    """
    pairs = zip(a.flatten(0, -2), b.expand_as(a).flatten(0, -2), strict=True)
    return torch.stack([(x * y).sum() for x, y in pairs]).view(a.shape[:-1])


def by_part(a: Tensor, b: Tensor, parts: Iterable[slice]) -> Tensor:
    """Return <a, b> within each part, with one axis more than `dot`: (..., part)."""
    return torch.stack([dot(a[..., part], b[..., part]) for part in parts], dim=-1)


def project(vector: Tensor, direction: Tensor, along: Tensor, strength: float, side: str) -> Tensor:
    r"""Replace g by g - s max(<g, t>, 0) / |t|^2 t in place: the paper's projection (side "one").

    Side "two" removes the component whatever its sign; "keep" removes all the rest:
    g - s (g - max(<g, t>, 0) / |t|^2 t). What is removed lies along a, scaled to the norm
    of t; a = t is the projection, a random a the control that removes as much elsewhere.
    With a = t, s = 1 and side "two", <result, t> = 0 within float error; with side "one"
    it is min(<g, t>, 0). A zero t removes nothing.

    Parameters
    ----------
    vector, direction, along : g, t, a, each (seed, P)
    strength : s, 0 ... 1.5
    side : "one", "two" or "keep"

    >>> g, t = torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.0]])
    >>> project(g, t, t, 1.0, "one")
    tensor([[0., 4.]])
    """
    inner, norm = dot(vector, direction), dot(direction, direction)
    component = (inner if side == "two" else inner.clamp(min=0)) / norm.clamp(min=TINY)
    if along is not direction:  # as much of it, elsewhere
        component = component * (norm / dot(along, along).clamp(min=TINY)).sqrt()
    if side == "keep":
        return vector.mul_(1 - strength).addcmul_(along, strength * component[..., None])
    return vector.addcmul_(along, -strength * component[..., None])


def project_off(vector: Tensor, basis: Tensor, strength: float) -> Tensor:
    r"""Replace g by g - s B^T (B B^T)^+ B g in place: all that lies in the span of the rows of B.

    The rows are scaled to length 1 first; combinations of them shorter than 1e-4 are rounding and
    count as 0. With one row it is `project` with side "two", within float error.

    Parameters
    ----------
    vector : g, (seed, P)
    basis : B, (k, seed, P)
    strength : s, 0 ... 1.5

    >>> project_off(torch.tensor([[3.0, 4.0, 5.0]]), torch.eye(3)[:2, None], 1.0)
    tensor([[0., 0., 5.]])
    """
    rows = basis.double().transpose(0, 1)
    rows = rows / rows.norm(dim=-1, keepdim=True).clamp(min=TINY)
    inner = rows @ vector.double().unsqueeze(-1)
    weights = torch.linalg.pinv(rows @ rows.mT, rtol=1e-8, hermitian=True) @ inner
    return vector.sub_((strength * rows.mT @ weights).squeeze(-1).to(vector.dtype))
