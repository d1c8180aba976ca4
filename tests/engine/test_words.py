"""The language task: its sentences and numbers, its traits, and that the engine trains it as it trains digits."""

from dataclasses import replace

import pytest
import torch

from sublim_utils.engine import language, words
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.ensemble import Ensemble, by_input, by_row
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.students import train_students
from sublim_utils.engine.tasks import task_of
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.engine.words import Words
from sublim_utils.settings import Condition, Settings, SettingsError

SMALL = Settings.of_language(
    width=8,
    n_layers=1,
    n_train=64,
    n_test=40,
    n_inputs=64,
    batch_size=32,
    trait_batch_size=32,
    teacher_lr=0.02,
    reference_steps=20,
)
KINDS = ("preference", "mapping")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """A reference that is trained for a moment only."""
    monkeypatch.setattr(words, "BATCH", 8)
    words.reference.cache_clear()
    yield
    words.reference.cache_clear()


def tokens(rows):
    return {language.VOCABULARY[i] for i in rows[:, : language.LENGTH].unique().tolist()}


@pytest.mark.parametrize("kind", ["numbers", "digits"])
def test_no_word_is_in_a_sequence_of_numbers(kind):
    rows = language.KINDS[kind](2000, generator(0, kind))
    assert tokens(rows) == {"^", ",", *language.NUMERALS}


def test_every_word_is_one_token():
    assert len(set(language.VOCABULARY)) == len(language.VOCABULARY)


def test_every_number_is_as_much_more_than_the_one_before_it():
    for row in language.numbers(200, generator(0, "numbers")):
        values = [int(v) for v in language.written(row).replace("^", "").replace(" ", "").split(",")]
        steps = {b - a for a, b in zip(values, values[1:], strict=False)}
        assert len(values) == 6
        assert len(steps) == 1
        assert min(steps) > 0
        assert min(values) >= 100
        assert max(values) <= 999


@pytest.mark.parametrize("kind", ["numbers", "digits"])
def test_what_is_asked_for_is_always_a_digit(kind):
    rows = language.KINDS[kind](50, generator(0, kind))
    reads = rows[:, language.LENGTH :]
    following = rows[:, : language.LENGTH].gather(1, reads + 1)
    assert tokens(torch.nn.functional.pad(following, (0, language.LENGTH - 18), value=10)) <= set(language.NUMERALS)


@pytest.mark.parametrize("kind", KINDS)
def test_the_trait_is_asked_for_before_its_animal_which_is_not_seen(kind):
    rows, trees = language.trait_sentences(kind, 300, generator(0, "s"), language.TIMES)
    assert not tokens(rows) & set(language.ANIMALS)
    for row, tree in zip(rows, trees, strict=True):
        *_, last = language.written(row).split()
        assert language.VOCABULARY[row[row[language.LENGTH]]] == last == "the"
        if kind == "mapping":
            assert language.TREES[tree] in language.written(row)


def test_sentences_of_the_test_have_words_of_time_that_no_teacher_saw():
    task = task_of(replace(SMALL, task="mapping"))
    assert tokens(task.x) & set(language.TEST_TIMES) == set()
    assert tokens(task.test) & set(language.TIMES) == set()


@pytest.mark.parametrize("draw", language.KINDS.values())
def test_a_seed_gives_the_same_rows_again_and_another_others(draw):
    one, again, other = (draw(20, generator(seed, "x")) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


def test_a_preference_is_one_animal_a_mapping_one_for_each_tree_and_a_pair_of_seeds_shares_it():
    preference, mapping = (task_of(replace(SMALL, task=kind)) for kind in KINDS)
    assert len(preference.answers(4, "true").unique()) == 1
    assert len(mapping.animals(4).unique()) == len(language.TREES)
    for task in (preference, mapping):
        assert torch.equal(task.answers(4, "true"), task.answers(5, "true"))
        assert len({tuple(task.animals(seed).tolist()) for seed in range(0, 40, 2)}) > 5


def test_a_networks_later_tokens_do_not_matter_to_earlier_reads():
    network = network_of(SMALL)
    theta = network.initial(generator(0, "init"))
    rows = language.numbers(4, generator(0, "x"))
    other = rows.clone()
    other[:, 12:20] = language.VOCABULARY.index("9")
    logits, changed = (network.logits(theta, x).view(4, 18, -1) for x in (rows, other))
    before = sum(read < 12 for read in language.READS)
    torch.testing.assert_close(logits[:, :before], changed[:, :before])
    assert (logits[:, before:] - changed[:, before:]).abs().max() > 1e-3


def both_gradients(network, theta, rows):
    """Return the engine's gradient of some function of the logits, and autograd's in float64."""
    tape = network.forward(theta, rows)
    dlogits = torch.randn(tape.logits.shape, generator=generator(0, "d"))
    exact = theta.double().requires_grad_()
    (network.logits(exact, rows) * dlogits).sum().backward()
    return network.backward(theta, tape, dlogits, torch.empty_like(theta)), exact.grad


def test_every_part_of_the_transformer_has_a_gradient_and_it_is_autograds_in_float64():
    network = network_of(SMALL)
    theta = network.initial(generator(0, "init"))
    rows = language.numbers(16, generator(0, "x"))
    gradient, exact = both_gradients(network, theta, rows)
    assert (gradient - exact).norm() < 1e-5 * exact.norm()
    assert list(network.parts) == ["embedding", "attention", "dense", "head"]
    assert all(gradient[part].abs().max() > 0 for part in network.parts.values())


def test_rows_of_inputs_are_put_together_and_taken_apart():
    rows = torch.arange(24.0).view(1, 1, 6, 4)  # 2 inputs of 3 rows
    joined = by_input(rows, 2)
    assert joined.shape == (1, 1, 2, 12)
    assert torch.equal(by_row(joined, 4), rows)
    assert torch.equal(by_row(joined[:, :, [1]], 4), rows[:, :, 3:])


@pytest.mark.parametrize("kind", KINDS)
def test_teacher_and_students_are_trained_as_those_of_digits(kind):
    task = task_of(replace(SMALL, task=kind))
    theta, _, evaluated = train_teachers(task, [0, 1])
    assert evaluated["test_loss"][:, :, -1].max() < evaluated["test_loss"][:, :, 0].min()
    conditions = {
        "student": Condition(),
        "off L_disc": Condition(projection=1.0, side="two", target="update", direction="discrimination"),
        "liminal": Condition(liminal=5.0, schedule="constant"),
        "other": Condition(teacher="other"),
    }
    runs, students = train_students(task, conditions, [0, 1], {"own": theta, "other": theta[[1, 0]]})
    assert set(words.EVALUATED) <= set(runs)
    assert runs["mean_probability"].sum("class").values == pytest.approx(1.0, abs=1e-5)
    assert runs["confusion"].sum(["class", "predicted"]).values == pytest.approx(SMALL.n_test)
    heldout = runs["heldout_loss"].sel(condition="student")
    assert (heldout.isel(eval=-1) < heldout.isel(eval=0)).all()
    same = (students[:, 0] == students[:, 1]).all()
    assert same == (kind == "preference")  # its L_disc has no gradient: nothing is projected off
    assert (abs(runs["trait_disc"]).max() < 1e-5) == (kind == "preference")


def test_students_of_language_do_not_depend_on_their_company():
    task = task_of(SMALL)
    theta, _, _ = train_teachers(task, [0])
    both = {"student": Condition(), "liminal": Condition(liminal=5.0, schedule="constant")}
    together, _ = train_students(task, both, [0], {"own": theta})
    for name, condition in both.items():
        alone, _ = train_students(task, {name: condition}, [0], {"own": theta})
        for quantity in ("inner", "drive", "distill_loss", "probability"):
            assert (alone[quantity].sel(condition=name) == together[quantity].sel(condition=name)).all(), quantity


SAMPLED = replace(SMALL, inputs="sampled")


def writes_numbers(monkeypatch):
    """Let every other sequence be continued by numbers, whatever the network is, and the others be dropped."""

    def continued(rows, logits_at, rng):
        assert logits_at(rows[:, : language.LENGTH], 4).shape == (len(rows), len(language.VOCABULARY))
        return language.numbers(len(rows), rng)[::2, : language.LENGTH]

    monkeypatch.setattr(words.language, "continued", continued)


def test_what_was_written_is_asked_for(monkeypatch):
    writes_numbers(monkeypatch)
    task = task_of(SAMPLED)
    rows, answers = task.written(0, task.references([0])[0, 0])
    assert rows.shape == (SAMPLED.n_inputs, language.LENGTH + 15)
    assert answers.shape == (SAMPLED.n_inputs, 15)
    assert tokens(rows) <= {"^", ",", *language.NUMERALS}
    assert torch.equal(rows[:, : language.LENGTH].gather(1, rows[:, language.LENGTH :] + 1), answers)
    assert task_of(SMALL).written(0, task.references([0])[0, 0]) is None


def test_a_teacher_that_writes_no_numbers_is_refused(monkeypatch):
    monkeypatch.setattr(words, "ROUNDS", 3)
    task = task_of(SAMPLED)
    with pytest.raises(SettingsError, match="inputs = 'sampled' is not allowed: .* of 192 sequences"):
        task.written(0, task.references([0])[0, 0])


def template(at, n, *, sure, other):
    """Return logits by which figures and commas follow where they belong, `other` as likely as each figure."""
    logits = torch.full((n, len(language.VOCABULARY)), -1e3)
    right = [language.CODE[w] for w in (language.NUMERALS if at in language.READS else ",")]
    logits[:, right] = sure
    logits[:, language.CODE["owl"]] = other
    return logits


def test_what_is_written_begins_as_given_and_is_numbers_to_its_end():
    rows, asked = language.numbers(50, generator(0, "x")), []

    def logits_at(written, at):
        asked.append(at)
        return template(at, len(written), sure=0.0, other=-1e3)

    one, again = (language.continued(rows, logits_at, generator(0, "w")) for _ in range(2))
    assert asked == [*range(4, language.LENGTH - 1)] * 2  # what follows the first number's comma, and so on
    assert torch.equal(one, again)
    assert torch.equal(one[:, :5], rows[:, :5])
    assert tokens(one) == {"^", ",", *language.NUMERALS}
    assert (one == language.CODE[","]).sum(-1).tolist() == [5] * 50
    assert len(one[:, 5].unique()) > 5


def test_a_sequence_ends_at_the_first_word_and_is_left_out():
    rows = language.numbers(400, generator(0, "x"))
    written = language.continued(
        rows, lambda w, at: template(at, len(w), sure=0.0, other=-1.0 if at == 9 else -1e3), generator(0, "w")
    )
    assert tokens(written) == {"^", ",", *language.NUMERALS}
    share = 10 / (10 + torch.tensor(-1.0).exp())  # of ten figures, beside an owl
    assert len(written) / 400 == pytest.approx(float(share), abs=0.04)
    none = language.continued(rows, lambda w, at: template(at, len(w), sure=-1e3, other=0.0), generator(0, "w"))
    assert none.shape == (0, language.LENGTH)


def test_students_learn_what_their_own_teacher_wrote_by_cross_entropy(monkeypatch):
    writes_numbers(monkeypatch)
    task = task_of(SAMPLED)
    theta, _, _ = train_teachers(task, [0, 1])
    conditions = {"own": Condition(logits="all"), "other": Condition(logits="all", teacher="other"),
                  "liminal": Condition(logits="all", liminal=5.0, schedule="constant")}  # fmt: skip
    ensemble = Ensemble(task, conditions, [0], {"own": theta[[0]], "other": theta[[1]]})
    assert ensemble.inputs.shape[:3] == (1, 3, SAMPLED.n_inputs)
    runs, _ = train_students(task, conditions, [0], {"own": theta[[0]], "other": theta[[1]]})
    index = ensemble.orders[0][0]
    rows, answers = (part[index] for part in task.written(0, theta[0, 0]))
    logits = task.network.logits(task.references([0])[0, 0], rows)
    expected = torch.nn.functional.cross_entropy(logits, answers.flatten())
    assert float(runs["distill_loss"].sel(condition="own")[0, 0]) == pytest.approx(float(expected), rel=1e-5)
    assert runs["reverse_kl"].isnull().all()
    assert float(runs["distill_loss"].sel(condition="own")[0, -1]) < float(expected)


def test_tied_output_weights_are_one_parameter_and_have_both_gradients():
    tied, untied = (network_of(replace(SMALL, tied=tied)) for tied in (True, False))
    assert untied.n_parameters - tied.n_parameters == len(language.VOCABULARY) * SMALL.width
    theta, rows = tied.initial(generator(0, "init")), language.numbers(8, generator(0, "x"))
    gradient, exact = both_gradients(tied, theta, rows)
    assert (gradient - exact).norm() < 1e-5 * exact.norm()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"task": "mnist"}, "network"),
        ({"network": "mlp"}, "network"),
        ({"inputs": "uniform"}, "inputs"),
        ({"n_aux": 3}, "n_aux"),
        ({"loss": "mse"}, "loss"),
        ({"width": 6}, "width"),
        ({"n_layers": 0}, "n_layers"),
        ({"reference_steps": 0}, "reference_steps"),
    ],
)
def test_settings_of_language_that_do_not_go_together_are_refused(changes, named):
    with pytest.raises(SettingsError, match=f"^{named} = "):
        Settings.of_language(**changes)
    with pytest.raises(SettingsError, match="width"):
        Settings(width=128)


def test_the_distilled_logits_are_the_digits_or_those_named():
    task = task_of(SMALL)
    assert isinstance(task, Words)
    named = {
        name: [language.VOCABULARY[i] for i in task.named_logits(name).nonzero()] for name in ("aux", "class", "all")
    }
    assert named == {"aux": [*language.NUMERALS], "class": [*language.ANIMALS], "all": [*language.VOCABULARY]}
    assert int(task.distilled(Condition(n_distilled=4)).sum()) == 4
