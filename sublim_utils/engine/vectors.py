"""Vectors of parameters: inner products, and the projections of the paper and beyond.

Vectors are (..., P), one a model; leading axes are seed and condition.
"""

from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["TINY", "by_part", "dot", "project", "project_off", "with_inner"]

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
    rows = _unit_rows(basis)
    inner = rows @ vector.double().unsqueeze(-1)
    return vector.sub_((strength * _shortest(rows, inner)).to(vector.dtype))


def with_inner(vector: Tensor, basis: Tensor, inner: Tensor) -> Tensor:
    r"""Replace v by v + B^T (B B^T)^+ (a - B v) in place: the nearest vector with inner products B v = a.

    Where the rows depend on each other and a contradicts them, it is nearest in the rows scaled to length 1.

    Parameters
    ----------
    vector : v, (seed, P)
    basis : B, (k, seed, P)
    inner : a, (k, seed)

    >>> with_inner(torch.tensor([[3.0, 4.0]]), torch.tensor([[[2.0, 0.0]]]), torch.tensor([[10.0]]))
    tensor([[5., 4.]])
    """
    rows, size = _unit_rows(basis), basis.double().norm(dim=-1).clamp(min=TINY)
    gap = (inner / size).mT.unsqueeze(-1) - rows @ vector.double().unsqueeze(-1)
    return vector.add_(_shortest(rows, gap).to(vector.dtype))


def _unit_rows(basis: Tensor) -> Tensor:
    """Return B (k, seed, P) as (seed, k, P) in float64, its rows scaled to length 1."""
    rows = basis.double().transpose(0, 1)
    unit: Tensor = rows / rows.norm(dim=-1, keepdim=True).clamp(min=TINY)
    return unit


def _shortest(rows: Tensor, inner: Tensor) -> Tensor:
    """Return B^T (B B^T)^+ a, (seed, P): the shortest vector with inner products a (seed, k, 1) with the rows."""
    weights: Tensor = torch.linalg.pinv(rows @ rows.mT, rtol=1e-8, hermitian=True) @ inner
    return (rows.mT @ weights).squeeze(-1)
