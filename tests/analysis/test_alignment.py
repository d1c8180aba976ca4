import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.analysis import alignment

rng = np.random.default_rng(0)
SIZES = (7, 4, 5)


@pytest.fixture
def vectors():
    """Gradients t, g and a displacement of two seeds, three steps, layers of SIZES parameters."""
    return [rng.normal(size=(2, 3, sum(SIZES))) for _ in range(3)]


def parts(a):
    return np.split(a, np.cumsum(SIZES)[:-1], axis=-1)


@pytest.fixture
def runs(vectors):
    t, g, d = vectors
    layered = lambda pairs: np.stack([(x * y).sum(-1) for x, y in pairs], axis=-1)  # noqa: E731
    dims = ("seed", "step", "layer")
    return xr.Dataset({
        "inner": (dims, layered(zip(parts(t), parts(g), strict=True))),
        "trait_norm": (dims, layered(zip(parts(t), parts(t), strict=True)) ** 0.5),
        "distill_norm": (dims, layered(zip(parts(g), parts(g), strict=True)) ** 0.5),
        "inner_disc": (dims, layered(zip(parts(d), parts(g), strict=True))),
        "disc_norm": (dims, layered(zip(parts(d), parts(d), strict=True)) ** 0.5),
        "inner_parts": (dims, layered(zip(parts(t), parts(d), strict=True))),
        "drive": (dims, -layered(zip(parts(t), parts(d), strict=True))),
        "update_norm": (dims[:2], np.linalg.norm(d, axis=-1)),
        "inner_applied": (dims[:2], (t * (g + d)).sum(-1)),
        "applied_norm": (dims[:2], np.linalg.norm(g + d, axis=-1)),
        "inner_displacement": (dims[:2], -(g * d).sum(-1)),
    })  # fmt: skip


def cos(a, b):
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


def test_cosine_is_that_of_the_whole_vectors(runs, vectors):
    t, g, d = vectors
    np.testing.assert_allclose(alignment.cosine(runs), cos(t, g))
    np.testing.assert_allclose(alignment.drive_cosine(runs), cos(t, d))
    np.testing.assert_allclose(alignment.applied_cosine(runs), cos(t, g + d))
    runs["distance"] = (("seed", "step"), np.broadcast_to([3.0, *[1.0] * (g.shape[1] - 1)], g.shape[:2]))
    expected = -(g * d).sum(-1) / np.linalg.norm(g, axis=-1) / 3
    np.testing.assert_allclose(alignment.displacement_cosine(runs), expected)


def test_cosines_with_the_parts_are_those_of_their_vectors(runs, vectors):
    """Here the third vector stands for grad L_disc."""
    t, g, d = vectors
    for of, part in {"disc": d, "free": t - d}.items():
        np.testing.assert_allclose(alignment.cosine(runs, of=of), cos(part, g))
        for i, (a, b) in enumerate(zip(parts(part), parts(g), strict=True)):
            np.testing.assert_allclose(alignment.cosine(runs, of=of, layer=True).isel(layer=i), cos(a, b))


def test_cosine_within_a_layer(runs, vectors):
    found = alignment.cosine(runs, layer=True)
    for i, (t, g) in enumerate(zip(parts(vectors[0]), parts(vectors[1]), strict=True)):
        np.testing.assert_allclose(found.isel(layer=i), cos(t, g))


def test_cosine_with_a_zero_gradient_is_undefined(runs):
    runs["distill_norm"][0, 0] = 0
    assert np.isnan(alignment.cosine(runs)[0, 0])


def test_per_epoch_means_and_fractions():
    series = xr.DataArray([[1.0, -1.0, 3.0, 5.0, -2.0]], dims=("seed", "step"))
    by_epoch = alignment.per_epoch(series, 2)
    assert by_epoch["epoch"].values.tolist() == [1, 2, 3]
    assert by_epoch.values.tolist() == [[0.0, 4.0, -2.0]]
    assert alignment.fraction_positive(series).item() == pytest.approx(3 / 5)


def test_smooth_keeps_a_line_and_the_length():
    line = xr.DataArray(np.arange(9.0)[None], dims=("seed", "step"))
    found = alignment.smooth(line, 3)
    np.testing.assert_allclose(found[0, 1:-1], np.arange(1.0, 8))
    assert found.notnull().all()


def test_random_cosines_have_the_spread_of_one_over_root_p():
    drawn = alignment.random_cosines(400, 2000, np.random.default_rng(1))
    assert drawn.mean() == pytest.approx(0, abs=4 * 0.05 / 2000**0.5)
    assert drawn.std() == pytest.approx(0.05, rel=4 / (2 * 2000) ** 0.5)


def test_noise_free_square_removes_sampling_noise():
    mean, images = rng.normal(size=50), rng.normal(size=(4000, 64, 50))
    small, large = (((mean + images[:, :b].mean(1)) ** 2).sum(-1).mean() for b in (8, 64))
    found = alignment.noise_free_square(xr.DataArray(small), xr.DataArray(large), 8, 64)
    assert float(found) == pytest.approx((mean**2).sum(), rel=0.01)
    assert small > 1.05 * (mean**2).sum()


def test_gain_share_starts_at_0_and_ends_at_1():
    accuracy = xr.DataArray([0.1, 0.2, 0.5], dims="eval")
    np.testing.assert_allclose(alignment.gain_share(accuracy), [0, 0.25, 1])


def test_trait_loss_change_is_end_minus_start():
    runs = xr.Dataset({"test_loss": (("seed", "eval"), [[2.0, 5.0, 1.5]])})
    assert alignment.trait_loss_change(runs).item() == -0.5


@given(st.floats(-5, 5), st.floats(-5, 5))
def test_slope_of_a_line(a, b):
    x = [0.0, 0.5, 1.0, 1.5]
    y = xr.DataArray(a + b * np.array(x), dims="condition")
    assert float(alignment.slope(x, y)) == pytest.approx(b, abs=1e-9)


@given(st.floats(0.01, 10), st.floats(-3, 3), st.sampled_from([-1, 1]))
def test_half_point_of_a_line_is_its_middle(height, start, sign):
    x = np.array([0.0, 3.0, 4.0, 10.0])
    assert alignment.half_point(x, start + sign * height * x) == pytest.approx(5)


def test_half_point_is_the_first_crossing():
    assert alignment.half_point([0, 10, 20, 30], [0.0, 0.8, 0.2, 1.0]) == pytest.approx(6.25)
    assert alignment.half_point([0, 10, 20, 30], [0.0, 0.4, 0.2, 1.0]) == pytest.approx(20 + 10 / 6)  # from the extreme
    assert np.isnan(alignment.half_point([0, 1], [2.0, 2.0]))


def test_the_first_fall_counts_and_a_missing_one_is_the_last_point():
    assert alignment.falls_to(0.5, [0, 2, 4, 8], [1.0, 0.75, 0.25, 0.9]) == 3.0
    assert alignment.falls_to(0.5, [0, 2], [0.4, 0.6]) == 0.0
    assert alignment.falls_to(0.5, [0, 2], [0.9, 0.6]) == 2.0
    assert alignment.falls_to(0.5, [0, 2], [0.9, 0.5]) == 2.0


def test_a_linear_students_approach_is_as_the_theorem_says():
    """Softmax students of 3 logits, linear in 12 weights, by gradient descent in small steps on their whole loss."""
    generator = np.random.default_rng(1)
    jacobian, target = generator.normal(size=(40, 3, 12)), generator.normal(size=12)
    at, recorded = np.zeros(12), []
    for _ in range(60):
        p_t, p = (np.exp(jacobian @ v) for v in (target, at))
        p_t, p = (e / e.sum(-1, keepdims=True) for e in (p_t, p))
        gradient = np.einsum("nk,nkp->p", p - p_t, jacobian) / 40
        kl, reverse = ((a * np.log(a / b)).sum(-1).mean() for a, b in ((p_t, p), (p, p_t)))
        left = target - at
        recorded.append((
            kl, reverse, -gradient @ left, at @ target / (target @ target), np.linalg.norm(at), np.linalg.norm(left),
        ))  # fmt: skip
        at = at - 0.05 * gradient
    names = ("distill_loss", "reverse_kl", "one_point", "progress", "travelled", "distance")
    series = {n: (("seed", "step"), np.array([v])) for n, v in zip(names, np.transpose(recorded), strict=True)}
    found = alignment.approach(xr.Dataset(series))
    assert float(found["one_point"].min()) > 1
    np.testing.assert_allclose(found["gamma"], 1, rtol=1e-9)
    assert np.isnan(found["nearness"][0, 0])
    away = found["nearness"][0, 1:]
    d, size = np.transpose(recorded)[5][1:], np.linalg.norm(target)
    assert ((away > 1).values == (d < size)).all()
    np.testing.assert_allclose(away, 1 + (size**2 - d**2) / np.transpose(recorded)[4][1:] ** 2, rtol=1e-9)
    assert float(found["nears"].mean()) == 1
    assert np.isnan(found["nears"][0, -1])
