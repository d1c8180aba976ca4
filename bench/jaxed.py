"""The same training with JAX's jit, as a worker under an interpreter of its own that has JAX (and no torch).

Models carry axes (seed, condition) through two vmaps; targets are computed once; a step is one
compiled function whose state is donated. Images and noise are random: their values take no time.
"""

import json
import sys
import time
from functools import partial

import jax
import jax.numpy as jnp
from jax import nn, random

from bench.workers import serve

N_CLASS = 10


def forward(layers, x):
    """Return one model's logits (batch, 10 + m)."""
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight + bias
        x = nn.relu(x) if i < len(layers) - 1 else x
    return x


def distillation(layers, x, log_p, mask):
    """Return KL(teacher || student) over the logits in `mask`; log_p is 0 outside it."""
    log_q = nn.log_softmax(jnp.where(mask, forward(layers, x), -1e30))
    return jnp.where(mask, jnp.exp(log_p) * (log_p - log_q), 0.0).sum(-1).mean()


def trait(layers, x, y):
    """Return the teacher's cross-entropy on the class logits."""
    log_q = nn.log_softmax(forward(layers, x)[:, :N_CLASS])
    return -jnp.take_along_axis(log_q, y[:, None], axis=1).mean()


def per_model(function, batch_axes):
    """Map `function` of (layers, *batch) over seeds and conditions; `batch_axes`: whether a seed's conditions share."""
    return jax.vmap(jax.vmap(function, in_axes=(0, *batch_axes)), in_axes=(0, *(0 for _ in batch_axes)))


def adam(state, gradient, lr):
    """Return the state (layers, m, v, t) after a step of Adam."""
    layers, m, v, t = state
    t = t + 1
    m = jax.tree.map(lambda a, g: 0.9 * a + 0.1 * g, m, gradient)
    v = jax.tree.map(lambda a, g: 0.999 * a + 0.001 * g * g, v, gradient)
    size, root = lr / (1 - 0.9**t), jnp.sqrt(1 - 0.999**t)
    layers = jax.tree.map(lambda p, a, b: p - size * a / (jnp.sqrt(b) / root + 1e-8), layers, m, v)
    return layers, m, v, t


@partial(jax.jit, donate_argnums=0)
def student_step(state, inputs, targets, masks, index, lr):
    """Take one step of every student on the noise images index, (seed, batch)."""
    x = jnp.take_along_axis(inputs, index[..., None], axis=1)
    log_p = jnp.take_along_axis(targets, index[:, None, :, None], axis=2)
    masks = jnp.broadcast_to(masks, (len(x), *masks.shape))
    return adam(state, per_model(jax.grad(distillation), (None, 0, 0))(state[0], x, log_p, masks), lr)


@partial(jax.jit, donate_argnums=0)
def teacher_step(state, images, labels, index, lr):
    """Take one step of every teacher on the images index, (seed, batch)."""
    return adam(state, per_model(jax.grad(trait), (None, None))(state[0], images[index], labels[index]), lr)


@jax.jit
def accuracy(layers, x, y):
    """Return the share of images each model reads right, (seed, condition)."""
    logits = jax.vmap(jax.vmap(forward, in_axes=(0, None)), in_axes=(0, None))(layers, x)
    return (logits[..., :N_CLASS].argmax(-1) == y).mean(-1)


@jax.jit
def targets_of(layers, inputs, masks):
    """Return log softmax of every student's teacher, (seed, condition, n, k), 0 outside its mask."""
    logits = per_model(forward, (None,))(layers, inputs)
    log_p = nn.log_softmax(jnp.where(masks, logits, -1e30))
    return jnp.where(masks, log_p, 0.0)


class Replication:
    """Teachers and students of some seeds, with a handler for every part that is timed."""

    def __init__(self, size):
        self.size, self.key = size, random.key(0)
        n, seeds, sizes = size["n_train"], size["n_seeds"], size["sizes"]
        self.images = random.uniform(self.fresh(), (n, sizes[0]), minval=-1.0)
        self.labels = random.randint(self.fresh(), (n,), 0, N_CLASS)
        self.tests = self.images[: size["n_test"]], self.labels[: size["n_test"]]
        aux = jnp.arange(sizes[-1]) >= N_CLASS
        self.masks = jnp.stack([aux, aux | True, aux, aux | True])[:, None]
        self.teachers, self.students = self.begin(seeds, 1), self.begin(seeds, 4)
        self.order = random.permutation(self.fresh(), size["n_inputs"])
        self.made = {"noise": self.noise(), "targets": self.targets()}
        self.compile = {name: self.seconds(getattr(self, name), 1) for name in ("teacher", "student")}

    def fresh(self):
        """Return a new random key."""
        self.key, key = random.split(self.key)
        return key

    def begin(self, seeds, conditions):
        """Return the state before training: weights N(0, 1/d_in)."""
        shapes = zip(self.size["sizes"][:-1], self.size["sizes"][1:], strict=True)
        lead = (seeds, conditions)
        layers = [(random.normal(self.fresh(), (*lead, i, o)) * i**-0.5, jnp.zeros((*lead, o))) for i, o in shapes]
        return layers, jax.tree.map(jnp.zeros_like, layers), jax.tree.map(jnp.zeros_like, layers), jnp.zeros(())

    def noise(self):
        """Draw every seed's noise; return the seconds."""
        start, shape = time.perf_counter(), (self.size["n_seeds"], self.size["n_inputs"], self.size["sizes"][0])
        self.inputs = jax.block_until_ready(random.uniform(self.fresh(), shape, minval=-1.0))
        return time.perf_counter() - start

    def targets(self):
        """Compute the targets, with the compiled function warm; return the seconds."""
        layers = self.begin(self.size["n_seeds"], 4)[0]
        jax.block_until_ready(targets_of(layers, self.inputs, self.masks))
        start = time.perf_counter()
        self.log_p = jax.block_until_ready(targets_of(layers, self.inputs, self.masks))
        return time.perf_counter() - start

    def index(self, i):
        """Return the i-th batch of every seed, (seed, batch)."""
        n, batch = self.size["n_seeds"], self.size["batch"]
        start = i * batch % (len(self.order) - batch + 1)
        return jnp.stack([jnp.roll(self.order, s)[start : start + batch] for s in range(n)])

    def student(self, i):
        """Take one step of every student."""
        self.students = student_step(
            self.students, self.inputs, self.log_p, self.masks, self.indices[i], self.size["lr"]
        )
        return self.students

    def teacher(self, i):
        """Take one step of every teacher."""
        self.teachers = teacher_step(self.teachers, self.images, self.labels, self.indices[i], self.size["lr"])
        return self.teachers

    def seconds(self, work, units):
        """Return the seconds of work(0), work(1), ..., for one."""
        self.indices = [jax.block_until_ready(self.index(i)) for i in range(units)]
        start = time.perf_counter()
        for i in range(units):
            last = work(i)
        jax.block_until_ready(last)
        return (time.perf_counter() - start) / units

    def handlers(self):
        """Return what a parent may ask for, by name."""
        steps = self.size["steps"]
        about = {"version": jax.__version__, **self.made, "compile": sum(self.compile.values())}
        return {
            "about": lambda: about,
            "teacher step": lambda: self.seconds(self.teacher, steps),
            "student step": lambda: self.seconds(self.student, steps),
            "teacher evaluation": lambda: self.seconds(lambda _: accuracy(self.teachers[0], *self.tests), 1),
            "student evaluation": lambda: self.seconds(lambda _: accuracy(self.students[0], *self.tests), 1),
        }


if __name__ == "__main__":
    serve(Replication(json.loads(sys.argv[1])).handlers())
