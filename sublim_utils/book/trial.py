"""The page that runs a small experiment in the reader's browser: its protocol, its digits, the library it needs."""

import base64
import gzip
import hashlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from sublim_utils.engine import data, sources
from sublim_utils.engine.data import Images
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.files import write_atomically
from sublim_utils.settings import Settings

__all__ = ["EVERY", "LIBRARY", "PICTURES", "PROTOCOL", "VERSION", "digits", "library", "protocol", "task", "write"]

PROTOCOL = Settings(
    hidden=(64, 64), n_aux=10, n_train=3000, n_inputs=3000, n_test=500, batch_size=60, trait_batch_size=300,
    teacher_epochs=8, student_epochs=8, teacher_lr=1e-3, student_lr=1e-3,
)  # fmt: skip
"""The small protocol: the page's, and the one that the package runs beside it in a test."""

EVERY, PICTURES = 20, 6
"""Steps between two readings of the page, and how many hidden units' weights it shows."""

VERSION = "4.22.0"
LIBRARY: Mapping[str, tuple[str, str, str]] = {
    "core": (
        "@tensorflow/tfjs-core",
        "dist/tf-core.min.js",
        "0924438788ff7da57b14d0f7c45a05d81611a5a4b52653da6d065e86d348757c",
    ),
    "wasm": (
        "@tensorflow/tfjs-backend-wasm",
        "dist/tf-backend-wasm.min.js",
        "691bbec0ef8b5a7f17f212e9c5d85832030f90d030b46e99acb4dea1fb16f009",
    ),
    "simd": (
        "@tensorflow/tfjs-backend-wasm",
        "dist/tfjs-backend-wasm-simd.wasm",
        "77ebb28a6d34f371dbbf2086b7f2de8994acd8ea5a3cf1fa24d2c26c840cac7b",
    ),
    "plain": (
        "@tensorflow/tfjs-backend-wasm",
        "dist/tfjs-backend-wasm.wasm",
        "70a5d516060464e5269f01c74bac1772d6b8ab6cb612acf16b5cdaf61f78d892",
    ),
}
"""The files of TensorFlow.js that the page needs: package, path in it, SHA-256. Their first lines hold its licence."""


def task(images: Images) -> Digits:
    """Return the task of the small protocol, on the first of the images."""
    return Digits(PROTOCOL, images)


def digits(images: Images) -> tuple[bytes, list[int]]:
    """Return the pixels of the protocol's training and test images, one byte each, and their labels."""
    p = PROTOCOL
    parts = ((images.train, images.train_labels, p.n_train), (images.test, images.test_labels, p.n_test))
    pixels = b"".join(((x[:n] + 1) * 127.5).round().byte().numpy().tobytes() for x, _, n in parts)
    return pixels, [int(label) for _, y, n in parts for label in y[:n]]


def protocol() -> dict[str, object]:
    """Return the small protocol as the page's script reads it."""
    p = PROTOCOL
    return {
        "sizes": list(p.sizes), "train": p.n_train, "batch": p.batch_size, "look": p.trait_batch_size,
        "epochs": p.student_epochs, "rate": p.student_lr, "every": EVERY, "pictures": PICTURES,
    }  # fmt: skip


def library() -> dict[str, bytes]:
    """Return the library's files, from the cache or from the npm registry, each of the sum that is written here.

    Raises
    ------
    SourceError
        If a file can't be had; the message says why.
    """
    files = {}
    for name, (package, member, sha256) in LIBRARY.items():
        cached = data.data_dir() / "tfjs" / VERSION / Path(member).name
        content = cached.read_bytes() if cached.is_file() else sources.npm_member(f"{package}@{VERSION}", member)
        if hashlib.sha256(content).hexdigest() != sha256:
            raise sources.SourceError(f"{cached.name} of {package} {VERSION} has not the SHA-256 {sha256}")
        if not cached.is_file():
            cached.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(cached, content)
        files[name] = content
    return files


def write(folder: str | Path) -> None:
    """Write ``data.js`` into `folder`, beside the page's scripts: library, digits, protocol and the worker's text.

    Where the library can't be had the file says so instead, and so does a line on stderr: the rest of the book does
    not need it.
    """
    folder = Path(folder)
    try:
        files = library()
    except (sources.SourceError, OSError) as error:
        sys.stderr.write(f"The page 'Try it' is built without its library: {error}\n")
        content: dict[str, object] = {"missing": str(error).splitlines()[0]}
    else:
        pixels, labels = digits(data.load("mnist"))
        texts = {name: files[name].decode() for name in ("core", "wasm")}
        binary = {name: base64.b64encode(files[name]).decode() for name in ("simd", "plain")}
        content = {
            "library": {**texts, **binary}, "labels": labels, "protocol": protocol(),
            "digits": base64.b64encode(gzip.compress(pixels, mtime=0)).decode(),
            "worker": (folder / "worker.js").read_text(encoding="utf-8"),
        }  # fmt: skip
    write_atomically(folder / "data.js", f"window.TRIAL = {json.dumps(content)};\n".encode())
