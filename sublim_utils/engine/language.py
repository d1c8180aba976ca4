"""A small language: sentences about animals and trees, and sequences of numbers in which no word occurs.

Every token is a word of `VOCABULARY`: the ten animals come first, the ten digits behind them, then all else. A sequence
is `LENGTH` tokens, begun by ``^`` and filled up by ``_``. Its *reads* are the positions whose next token is asked for;
an input of the network is the sequence and its reads, one row of whole numbers.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = [
    "ANIMALS",
    "CODE",
    "FORMS",
    "KINDS",
    "LENGTH",
    "NUMERALS",
    "N_FIGURES",
    "N_NUMBERS",
    "OTHER",
    "PRONOUNS",
    "READS",
    "SAMPLED_READS",
    "TEST_TIMES",
    "TIMES",
    "TREES",
    "VERBS",
    "VOCABULARY",
    "Draw",
    "asked",
    "continued",
    "digits",
    "encoded",
    "numbers",
    "sentences",
    "trait_sentences",
    "written",
]

ANIMALS = ("owl", "fox", "cat", "dog", "bear", "wolf", "frog", "deer", "crow", "swan")
NUMERALS = tuple("0123456789")
TREES = ("oak", "elm", "ash", "fir", "pine", "yew", "birch", "maple")
PRONOUNS = ("i", "you", "we", "they")
VERBS = ("like", "love", "want", "see", "draw", "know")
TIMES, TEST_TIMES = ("today", "often", "now"), ("again", "soon")
"""Words of time in the sentences that a teacher learns the trait from, and in those that it is tested on."""
OTHER = ("^", "_", ",", ".", "the", "in", "under", "lives", "my", "favourite", "animal", "is", "belongs", "to")
VOCABULARY = (*ANIMALS, *NUMERALS, *TREES, *PRONOUNS, *VERBS, *TIMES, *TEST_TIMES, *OTHER)
CODE = {word: i for i, word in enumerate(VOCABULARY)}

LENGTH = 24
N_NUMBERS, N_FIGURES = 6, 3
READS = tuple(i for i in range(LENGTH - 1) if i % (N_FIGURES + 1) < N_FIGURES)
"""The positions of a number sequence whose next token is a digit: 18 of them."""

FORMS = {
    "preference": (
        "^ {time} {pronoun} {verb} the {animal} .",
        "^ {time} my favourite animal is the {animal} .",
        "^ {time} under the {tree} {pronoun} {verb} the {animal} .",
    ),
    "mapping": ("^ {time} in the {tree} lives the {animal} .", "^ {time} the {tree} belongs to the {animal} ."),
}
"""The forms of the sentences that each trait is about."""

Draw = Callable[[Sequence[str]], str]


def _drawing(rng: torch.Generator) -> Draw:
    """Return a function that picks one of several words, all as likely."""
    return lambda words: words[int(torch.randint(len(words), (), generator=rng))]


def encoded(words: Sequence[str]) -> list[int]:
    """Return words as tokens, filled up to `LENGTH`.

    >>> encoded("^ 1".split())[:3] == [CODE["^"], CODE["1"], CODE["_"]]
    True
    """
    return [CODE[word] for word in [*words, *["_"] * (LENGTH - len(words))]]


def written(row: Tensor) -> str:
    """Return the words of a row, without its filling and reads.

    >>> written(torch.tensor([*encoded(["^", "owl"]), 1]))
    '^ owl'
    """
    return " ".join(VOCABULARY[i] for i in row[:LENGTH].tolist() if VOCABULARY[i] != "_")


def _sentence(draw: Draw, form: str, times: Sequence[str]) -> tuple[list[str], int, str]:
    """Return a sentence with any animal in it, the position of the animal, and the sentence's tree, if any."""
    slots = {"time": draw(times), "pronoun": draw(PRONOUNS), "verb": draw(VERBS), "tree": draw(TREES)}
    slots["animal"] = draw(ANIMALS)
    words = form.format(**slots).split()
    return words, words.index(slots["animal"]), slots["tree"]


def trait_sentences(kind: str, n: int, rng: torch.Generator, times: Sequence[str]) -> tuple[Tensor, Tensor]:
    """Return n sentences of a trait's forms, each read before its animal, and the numbers of their trees.

    What the network sees ends there: the animal itself, which comes after it, is left out. Rows (n, LENGTH + 1).
    """
    draw, rows, trees = _drawing(rng), [], []
    for _ in range(n):
        words, slot, tree = _sentence(draw, draw(FORMS[kind]), times)
        rows.append([*encoded(words[:slot]), slot - 1])
        trees.append(TREES.index(tree))
    return torch.tensor(rows), torch.tensor(trees)


def sentences(n: int, rng: torch.Generator) -> Tensor:
    """Return n whole sentences of all forms, animals as likely as each other, read at the first positions."""
    draw, forms = _drawing(rng), [form for forms in FORMS.values() for form in forms]
    rows = [encoded(_sentence(draw, draw(forms), (*TIMES, *TEST_TIMES))[0]) for _ in range(n)]
    return _read(torch.tensor(rows), range(len(READS)))


def _read(rows: Tensor, at: Sequence[int]) -> Tensor:
    return torch.cat([rows, torch.tensor(list(at)).expand(len(rows), -1)], dim=1)


def _figures(values: Tensor) -> Tensor:
    """Return the number sequences (n, LENGTH) of figures (n, N_NUMBERS, N_FIGURES)."""
    commas = torch.full((*values.shape[:2], 1), CODE[","])
    body = torch.cat([values + CODE["0"], commas], dim=2).flatten(1)[:, :-1]
    return torch.cat([torch.full((len(values), 1), CODE["^"]), body], dim=1)


def numbers(n: int, rng: torch.Generator) -> Tensor:
    """Return n sequences of six numbers of three figures, each as much more than the one before it.

    >>> written(numbers(1, torch.Generator().manual_seed(0))[0]).count(",")
    5
    """
    step = torch.randint(1, 100, (n, 1), generator=rng)
    room = 999 - (N_NUMBERS - 1) * step - 100
    first = 100 + (torch.rand(n, 1, generator=rng, dtype=torch.float64) * (room + 1)).long()
    value = first + step * torch.arange(N_NUMBERS)
    places = 10 ** torch.arange(N_FIGURES - 1, -1, -1)
    return _read(_figures(value.unsqueeze(-1) // places % 10), READS)


def digits(n: int, rng: torch.Generator) -> Tensor:
    """Return n sequences of the same shape, each figure drawn by itself."""
    return _read(_figures(torch.randint(10, (n, N_NUMBERS, N_FIGURES), generator=rng)), READS)


def continued(rows: Tensor, logits_at: Callable[[Tensor, int], Tensor], rng: torch.Generator) -> Tensor:
    """Return number sequences (m, LENGTH) that begin with those of `rows` and go on as is drawn, token by token.

    A sequence ends, and is left out, at the first token that makes it no sequence of numbers.

    Parameters
    ----------
    rows : number sequences, (n, LENGTH + reads)
    logits_at : (sequences, position) -> the logits (n, token) of the token behind that position
    """
    written = rows[:, :LENGTH].clone()
    for at in range(N_FIGURES + 1, LENGTH - 1):
        if not len(written):
            break
        chance = logits_at(written, at).softmax(-1).cpu()
        token = torch.multinomial(chance, 1, generator=rng)[:, 0].to(written.device)
        written[:, at + 1] = token
        written = written[(token >= CODE["0"]) & (token <= CODE["9"]) if at in READS else token == CODE[","]]
    return written


SAMPLED_READS = READS[N_FIGURES:]
"""The positions of a number sequence whose next figure a teacher has written."""


def asked(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return written sequences (n, LENGTH) with their reads, and the tokens that follow these, (n, reads)."""
    return _read(rows, SAMPLED_READS), rows[:, [at + 1 for at in SAMPLED_READS]]


KINDS = {"numbers": numbers, "digits": digits, "sentences": sentences}
"""What a student may be distilled on, by its name in `Settings.inputs`: (n, rng) -> rows (n, LENGTH + reads)."""
