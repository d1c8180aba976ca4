"""Random numbers: each seed and purpose has its own, for ever the same."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from sublim_utils.engine.seeds import epoch_orders, generator, other_seed

seeds = st.integers(0, 10_000)


@given(seeds, seeds, st.text(max_size=8), st.text(max_size=8))
def test_generators_agree_exactly_where_seed_and_purpose_do(a, b, p, q):
    x, y = (torch.rand(4, generator=generator(*of)) for of in ((a, p), (b, q)))
    assert torch.equal(x, y) == ((a, p) == (b, q))


def test_a_digit_at_the_edge_of_a_purpose_is_no_part_of_the_seed():
    x, y = (torch.rand(4, generator=generator(*of)) for of in ((1, "2x"), (12, "x")))
    assert not torch.equal(x, y)


def test_global_generator_is_neither_read_nor_moved():
    before = torch.random.get_rng_state()
    torch.rand(3, generator=generator(0, "init"))
    assert torch.equal(torch.random.get_rng_state(), before)


@given(seeds)
def test_other_teacher_is_a_derangement_in_pairs(seed):
    assert other_seed(seed) != seed
    assert other_seed(other_seed(seed)) == seed


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 3), seeds)
def test_every_epoch_sees_every_item_once(n, size, epochs, seed):
    batches = epoch_orders(n, size, epochs, generator(seed, "order"))
    assert len(batches) == epochs * -(-n // size)
    assert all(len(batch) <= size for batch in batches)
    for order in torch.cat(batches).view(epochs, n):
        assert order.sort().values.tolist() == list(range(n))
