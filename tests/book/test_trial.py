"""What the page that runs in the browser is given: the small protocol, its digits, and a library of a known sum."""

import base64
import gzip
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from sublim_utils.book import trial
from sublim_utils.engine import data, sources


def written(folder):
    text = (folder / "data.js").read_text(encoding="utf-8")
    return json.loads(text.removeprefix("window.TRIAL = ").removesuffix(";\n"))


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "worker.js").write_text("// text")
    return tmp_path


@pytest.fixture
def few(monkeypatch, images):
    monkeypatch.setattr(
        trial,
        "PROTOCOL",
        replace(trial.PROTOCOL, n_train=30, n_inputs=30, n_test=20, batch_size=10, trait_batch_size=10),
    )
    monkeypatch.setattr(data, "load", lambda _: images)
    return images


def test_the_page_has_the_protocols_digits_and_sizes(folder, few, monkeypatch):
    monkeypatch.setattr(trial, "library", lambda: {name: name.encode() for name in trial.LIBRARY})
    trial.write(folder)
    content = written(folder)
    pixels = np.frombuffer(gzip.decompress(base64.b64decode(content["digits"])), np.uint8).reshape(-1, 784)
    assert len(pixels) == len(content["labels"]) == 50
    assert content["labels"][30:] == few.test_labels[:20].tolist()
    back = torch.from_numpy(pixels.astype(np.float32)) / 127.5 - 1
    assert (back[:30] - few.train[:30]).abs().max() <= 1 / 127.5
    assert content["protocol"]["sizes"] == [784, 64, 64, 20]
    assert base64.b64decode(content["library"]["simd"]) == b"simd"
    assert content["library"]["core"] == "core"
    assert content["worker"] == "// text"


@pytest.mark.parametrize("reason", ["npm: not there", "wrong sum"])
def test_without_the_library_the_page_says_why(folder, monkeypatch, capsys, reason):
    def nothing():
        raise sources.SourceError(reason)

    monkeypatch.setattr(trial, "library", nothing)
    trial.write(folder)
    assert written(folder) == {"missing": reason}
    assert reason in capsys.readouterr().err


def test_a_library_of_another_sum_is_refused_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBLIM_DATA", str(tmp_path))
    monkeypatch.setattr(sources, "npm_member", lambda package, member: b"something else")
    with pytest.raises(sources.SourceError, match="tf-core.min.js"):
        trial.library()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_the_library_is_fetched_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SUBLIM_DATA", str(tmp_path))
    asked = []
    monkeypatch.setattr(sources, "npm_member", lambda package, member: asked.append(member) or member.encode())
    known = {name: (p, m, trial.hashlib.sha256(m.encode()).hexdigest()) for name, (p, m, _) in trial.LIBRARY.items()}
    monkeypatch.setattr(trial, "LIBRARY", known)
    assert trial.library() == trial.library() == {name: m.encode() for name, (_, m, _) in known.items()}
    assert len(asked) == len(known)
