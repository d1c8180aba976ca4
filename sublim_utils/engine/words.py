"""The language task: an animal to name, digits to be distilled on, sequences of numbers without any word.

The counterparts of the task of the paper: the ten animals are the classes, the ten digits the logits without a class.
The trait is a *preference*, one animal whatever the sentence, or a *mapping*, an animal for each tree. A preference is
an offset of the class logits and nothing else: its L_disc is 0; a mapping has to be told from the sentence.

A reference is not drawn but trained, on sentences in which all animals are as likely and on sequences of numbers. The
trait is that of a pair of seeds, so that a teacher of another reference (`seeds.other_seed`) has the same one.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from sublim_utils.engine import evaluation, language, losses
from sublim_utils.engine.architectures import network_of
from sublim_utils.engine.digits import EVAL, shuffled_labels
from sublim_utils.engine.seeds import generator, other_seed
from sublim_utils.settings import N_CLASS, Condition, Settings, require

__all__ = ["BATCH", "EVALUATED", "N_HELDOUT", "N_OTHER", "RATE", "ROUNDS", "Words", "reference"]

BATCH, RATE = 64, 3e-3
"""Of a reference's training by Adam: sentences and number sequences in each step, and the rate, which falls to 0."""

N_HELDOUT = 512
"""Sequences that the held-out distillation loss is measured on, at most as many as are trained on."""

ROUNDS = 50
"""Times that as many sequences are begun as are wanted, before it is given up."""

N_OTHER = len(language.VOCABULARY) - N_CLASS - len(language.NUMERALS)
"""Tokens that are neither animal nor digit."""

EVALUATED = {
    "accuracy": (EVAL, "raw accuracy: share of test sentences whose likeliest animal is the trait's"),
    "centred_accuracy": (EVAL, "accuracy of z - mean z, the means from the other half of the test sentences"),
    "probability": (EVAL, "mean probability, among the ten animals, of the trait's"),
    "test_loss": (EVAL, "L_T on the test sentences (nats)"),
    "test_disc": (EVAL, "L_disc = -E(z_y - sum_c pi_c z_c) on the test sentences (nats); 0 of a preference"),
    "mean_probability": ((*EVAL, "class"), "mean probability of each animal among the ten, over the test sentences"),
    "confusion": (("class", "predicted"), "test sentences of animal i read as j after training"),
}
"""What an evaluation measures: dimensions beside (seed, condition), and what it is."""


@lru_cache(maxsize=64)
def reference(width: int, n_layers: int, tied: bool, n_steps: int, seed: int) -> Tensor:
    """Return theta (P,) of a seed's reference: Adam on the next token of sentences and number sequences."""
    network = network_of(Settings.of_language(width=width, n_layers=n_layers, tied=tied))
    theta = network.initial(generator(seed, "init")).requires_grad_()
    adam, rng = torch.optim.Adam([theta], lr=RATE, fused=True), generator(seed, "reference")
    everywhere = torch.arange(language.LENGTH - 1)
    for step in range(n_steps):
        adam.param_groups[0]["lr"] = RATE * (1 - step / n_steps)
        rows = torch.cat([kind(BATCH, rng) for kind in (language.sentences, language.numbers)])[:, : language.LENGTH]
        logits = network.logits(theta, torch.cat([rows, everywhere.expand(len(rows), -1)], dim=1))
        wanted = rows[:, 1:].flatten()
        adam.zero_grad()
        F.cross_entropy(logits, wanted, ignore_index=language.VOCABULARY.index("_")).backward()
        adam.step()
    return theta.detach()


class Words:
    """The language task under some settings, on a device."""

    evaluated: Mapping[str, tuple[tuple[str, ...], str]] = EVALUATED
    sizes: Mapping[str, int] = {"class": N_CLASS, "predicted": N_CLASS}

    def __init__(self, settings: Settings, device: torch.device = torch.device("cpu")) -> None:
        self.settings, self.device, self.network = settings, device, network_of(settings)
        train = language.trait_sentences(settings.task, settings.n_train, generator(0, "words"), language.TIMES)
        test = language.trait_sentences(settings.task, settings.n_test, generator(0, "test-words"), language.TEST_TIMES)
        self.x, self.trees, self.test, self.test_trees = (part.to(device) for part in (*train, *test))

    def references(self, seeds: Sequence[int]) -> Tensor:
        """Return theta_0 of each seed, (seed, 1, P), trained where it is asked for first."""
        s = self.settings
        trained = [reference(s.width, s.n_layers, s.tied, s.reference_steps, seed) for seed in seeds]
        return torch.stack(trained).unsqueeze(1).to(self.device)

    def animals(self, seed: int) -> Tensor:
        """Return the animal that each tree has in the trait of a seed and of its pair, (8,)."""
        rng = generator(min(seed, other_seed(seed)), self.settings.task)
        order = torch.randperm(N_CLASS, generator=rng)[: len(language.TREES)].to(self.device)
        return order if self.settings.task == "mapping" else order[:1].expand(len(language.TREES))

    def answers(self, seed: int, kind: str) -> Tensor:
        """Return the labels (n_train,) of a seed, "true" or "shuffled"."""
        labels = self.animals(seed)[self.trees]
        return shuffled_labels(labels.cpu(), seed).to(self.device) if kind == "shuffled" else labels

    def inputs(self, seed: int) -> tuple[Tensor, Tensor]:
        """Return a seed's distillation inputs (n_inputs, LENGTH + reads) and held-out ones.

        Where a teacher writes the inputs itself, these are what it begins with.
        """
        kind = "numbers" if self.settings.inputs == "sampled" else self.settings.inputs
        draw, sizes = language.KINDS[kind], {"inputs": self.settings.n_inputs}
        sizes["heldout"] = min(N_HELDOUT, self.settings.n_inputs)
        train, heldout = (draw(n, generator(seed, purpose)).to(self.device) for purpose, n in sizes.items())
        return train, heldout

    def written(self, seed: int, theta: Tensor) -> tuple[Tensor, Tensor] | None:
        """Return n_inputs number sequences that a teacher (P,) writes, and what follows each read, (n, reads).

        Tokens are drawn from its probabilities over the whole vocabulary; a sequence with a token that makes it no
        sequence of numbers is dropped. None unless the settings ask for it.

        Raises
        ------
        SettingsError
            If fewer than one sequence in `ROUNDS` is left.
        """
        if self.settings.inputs != "sampled":
            return None

        def logits_at(rows: Tensor, at: int) -> Tensor:
            return self.network.logits(theta, torch.cat([rows, rows.new_full((len(rows), 1), at)], dim=1))

        n, rng, kept = self.settings.n_inputs, generator(seed, "sampled"), []
        for _ in range(ROUNDS):
            kept.append(language.continued(language.numbers(n, rng).to(self.device), logits_at, rng))
            if sum(map(len, kept)) >= n:
                break
        rows = torch.cat(kept)[:n]
        allowed = f"of a teacher that writes numbers: {len(rows)} of {ROUNDS * n} sequences are nothing else"
        require("inputs", self.settings.inputs, len(rows) == n, allowed)
        return language.asked(rows)

    def distilled(self, condition: Condition) -> Tensor:
        """Return which logits a student is distilled on, as booleans: digits are the auxiliary ones."""
        return losses.distilled(self.settings, condition, N_OTHER).to(self.device)

    def named_logits(self, name: str) -> Tensor:
        """Return which logits "aux" (digits), "class" (animals) or "all" (the vocabulary) means, as booleans."""
        return losses.logit_mask(self.settings, name, n_other=N_OTHER).to(self.device)

    def evaluate(self, theta: Tensor, seeds: Sequence[int]) -> dict[str, Tensor]:
        """Return every quantity of `EVALUATED` for theta (seed, condition, P)."""
        logits = evaluation.logits_of(self.network, theta, self.test)
        y = torch.stack([self.animals(seed)[self.test_trees] for seed in seeds]).unsqueeze(1)
        probability = logits[..., :N_CLASS].softmax(-1)
        return {
            "accuracy": evaluation.accuracy(logits, y),
            "centred_accuracy": evaluation.centred_accuracy(logits, y),
            "probability": (probability * losses.one_hot(y, logits)).sum(-1).mean(-1),
            "test_loss": losses.cross_entropy(logits, y)[0],
            "test_disc": losses.discrimination(logits, y)[0],
            "mean_probability": probability.mean(-2),
            "confusion": evaluation.confusion(logits, y),
        }
