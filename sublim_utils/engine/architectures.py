"""The networks that `Settings.network` names: the paper's MLP, a convolutional network, two transformers.

Those of images read them flat, (..., 784) in [-1, 1], and give 10 class logits and m auxiliary ones, outputs of one
last linear layer. All weights are drawn as the MLP's: N(0, 1/d_in), biases 0.
"""

from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from sublim_utils.engine.language import LENGTH, VOCABULARY
from sublim_utils.engine.modules import Module
from sublim_utils.engine.network import MLP, Network
from sublim_utils.settings import N_CLASS, Settings

__all__ = [
    "CNN",
    "MODULES",
    "SIDE",
    "Attention",
    "Block",
    "Causal",
    "Transformer",
    "ViT",
    "drawn",
    "network_of",
    "normed",
]

SIDE = 28  # pixels


def drawn(module: nn.Module) -> None:
    """Draw a layer's weights N(0, 1/d_in), d_in being the numbers that one output reads; set its biases to 0."""
    for name, parameter in module.named_parameters(recurse=False):
        if name == "bias":
            nn.init.zeros_(parameter)
        else:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)


class CNN(nn.Module):
    """Two 5 x 5 convolutions of stride 2 (28 -> 14 -> 7 pixels) with ReLU, and the logits, which read all of the last.

    A pass takes 3 times as long as the MLP's (batch 1024, one thread).
    """

    def __init__(self, n_logits: int, channels: tuple[int, int] = (8, 16), kernel: int = 5) -> None:
        super().__init__()
        first, second = channels
        self.conv1 = nn.Conv2d(1, first, kernel, stride=2, padding=kernel // 2)
        self.conv2 = nn.Conv2d(first, second, kernel, stride=2, padding=kernel // 2)
        self.head = nn.Linear(second * (SIDE // 4) ** 2, n_logits)
        self.apply(drawn)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, n_logits) of images (batch, 784)."""
        x = F.relu(self.conv1(x.view(-1, 1, SIDE, SIDE)))
        logits: Tensor = self.head(F.relu(self.conv2(x)).flatten(1))
        return logits


class Attention(nn.Module):
    """Self-attention over all tokens, in several heads.

    Written out: with 16 tokens it is faster here than torch's kernel, and it can be differentiated twice.
    """

    @staticmethod
    def mixed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return what each token reads, (batch, head, token, width / heads)."""
        share: Tensor = (q @ k.mT * q.shape[-1] ** -0.5).softmax(-1)
        return share @ v

    def __init__(self, width: int, n_heads: int) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.read = nn.Linear(width, 3 * width)
        self.write = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return what each token reads from all, (batch, token, width)."""
        q, k, v = self.read(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        read: Tensor = self.write(self.mixed(q, k, v).transpose(1, 2).flatten(2))
        return read


class Causal(Attention):
    """Attention of each token to those before it and itself, by torch's kernel."""

    @staticmethod
    def mixed(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Return what each token reads, (batch, head, token, width / heads)."""
        read: Tensor = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return read


def normed(x: Tensor) -> Tensor:
    """Return x with mean 0 and variance 1 over its width; no gains, so that all of theta is drawn alike."""
    return F.layer_norm(x, x.shape[-1:])


class Block(nn.Module):
    """x + attention(normed x), then x + dense(ReLU(dense(normed x)))."""

    def __init__(self, width: int, n_heads: int, attention: type[Attention] = Attention) -> None:
        super().__init__()
        self.attention = attention(width, n_heads)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Return the tokens (batch, token, width) after the block."""
        x = x + self.attention(normed(x))
        dense: Tensor = self.down(F.relu(self.up(normed(x))))
        return x + dense


class ViT(nn.Module):
    """A vision transformer: 16 patches of 7 x 7 pixels, two blocks, and the logits, which read all tokens.

    With the mean over tokens in their place a teacher of 5 epochs stays below 0.9. A pass takes
    about 6 times as long as the MLP's (batch 1024, one thread).
    """

    def __init__(self, n_logits: int, patch: int = 7, width: int = 32, n_blocks: int = 2, n_heads: int = 4) -> None:
        super().__init__()
        self.patch = patch
        self.embedding = nn.Linear(patch**2, width)
        self.position = nn.Embedding((SIDE // patch) ** 2, width)
        self.blocks = nn.Sequential(*(Block(width, n_heads) for _ in range(n_blocks)))
        self.head = nn.Linear((SIDE // patch) ** 2 * width, n_logits)
        self.apply(drawn)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch, n_logits) of images (batch, 784)."""
        rows = SIDE // self.patch
        patches = x.view(-1, rows, self.patch, rows, self.patch).transpose(2, 3).flatten(3).flatten(1, 2)
        x = self.blocks(self.embedding(patches) + self.position.weight)
        logits: Tensor = self.head(normed(x).flatten(1))
        return logits


class Transformer(nn.Module):
    """A causal transformer on rows of `language`: a sequence and the positions at which the next token is asked for.

    With `tied`, its output weights are its token embedding: one parameter, of the part embedding.
    """

    def __init__(self, width: int, n_layers: int, tied: bool = False, n_heads: int = 4) -> None:
        super().__init__()
        self.embedding = nn.Embedding(len(VOCABULARY), width)
        self.position = nn.Embedding(LENGTH, width)
        self.blocks = nn.Sequential(*(Block(width, n_heads, Causal) for _ in range(n_layers)))
        self.head = nn.Linear(width, len(VOCABULARY))
        self.apply(drawn)
        if tied:
            self.head.weight = self.embedding.weight

    @staticmethod
    def parts(n_layers: int) -> dict[str, list[str]]:
        """Return the modules of each part of theta."""
        blocks = [f"blocks.{i}" for i in range(n_layers)]
        return {
            "embedding": ["embedding", "position"],
            "attention": [f"{block}.attention" for block in blocks],
            "dense": [f"{block}.{name}" for block in blocks for name in ("up", "down")],
            "head": ["head"],
        }

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (batch * reads, token) of rows (batch, LENGTH + reads)."""
        reads = x[:, LENGTH:]
        n_seen = int(reads.max()) + 1  # what comes after the last read is seen by none
        tokens = self.blocks(self.embedding(x[:, :n_seen]) + self.position.weight[:n_seen])
        at = reads.unsqueeze(-1).expand(-1, -1, tokens.shape[-1])
        logits: Tensor = self.head(normed(tokens.gather(1, at).flatten(0, 1)))
        return logits


MODULES = {"cnn": CNN, "vit": ViT}
"""The networks of images other than the MLP, by their name in `Settings`."""


def network_of(settings: Settings) -> Network:
    """Return the network that `settings` describe."""
    if settings.network == "mlp":
        return MLP.of(settings)
    if settings.network == "transformer":
        make = partial(Transformer, settings.width, settings.n_layers, settings.tied)
        return Module(make, parts=Transformer.parts(settings.n_layers), head="head")
    return Module(partial(MODULES[settings.network], N_CLASS + settings.n_aux), head="head")
