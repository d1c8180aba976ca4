"""No network, and mirrors that lie, stall or never end, met by the real command: an error in bounded time."""

import contextlib
import gzip
import shutil
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from sublim_utils.engine import data, sources
from tests.engine.test_data import WAYS_TO_FAIL
from tests.faults import children, tally

PATIENCE, DEADLINE = 1.0, 3.0  # seconds, in place of 20 and 300


@pytest.fixture(scope="module")
def liar():
    """A mirror that fails in the way its address names."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            way = self.path.split("/")[1].replace("%20", " ")
            with contextlib.suppress(OSError):  # the client hangs up, as it should
                WAYS_TO_FAIL[way](self, gzip.compress(b"labels" * 10_000))

        def log_message(self, *_):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.daemon_threads, http.block_on_close = True, False
    threading.Thread(target=http.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{http.server_port}"
    http.shutdown()
    http.server_close()


@pytest.mark.parametrize("task", ["mnist", "fashion"])
def test_mirrors_that_fail_in_every_way_are_one_error_in_bounded_time(place, liar, task):
    urls = [f"{liar}/{way.replace(' ', '%20')}/" for way in WAYS_TO_FAIL]
    begun, cache = time.monotonic(), place.folder / "cache"
    done = place.call("fetch", task, SUBLIM_DATA=cache, faults=[(children.mirrors, urls, PATIENCE, DEADLINE)])
    assert time.monotonic() - begun < 60 + len(urls) * (PATIENCE + DEADLINE)
    done.failed("DataError", *urls, *sources.SHA256[task].values(), "SUBLIM_DATA")
    assert {path.name for path in cache.rglob("*")} <= {task, ".lock"}
    tally.counts["mirrors"] += len(urls)


def test_after_mirrors_that_fail_in_every_way_a_good_one_serves(place, liar, server):
    urls = [f"{liar}/{way.replace(' ', '%20')}/" for way in WAYS_TO_FAIL]
    cache = place.folder / "cache"
    shutil.copytree(data.fetch("mnist"), cache / "mnist")
    (cache / "mnist" / sources.TEST_LABELS).unlink()  # one file only: each way takes its time
    faults = [(children.mirrors, [*urls, server], PATIENCE, DEADLINE)]
    done = place.call("fetch", SUBLIM_DATA=cache, faults=faults)
    assert done.code == 0, done.output
    assert place.call("fetch", SUBLIM_DATA=cache, faults=[(children.mirrors, [])]).code == 0
    tally.counts["mirrors"] += len(urls)


@pytest.mark.parametrize("task", ["mnist", "fashion"])
def test_without_any_network_the_real_sources_are_one_error_in_bounded_time(place, task):
    folders = {"SUBLIM_DATA": place.folder / "cache", "npm_config_cache": place.folder / "npm"}
    done = place.call("fetch", task, faults=[(children.no_network,)], **folders)
    if "unshare" in done.output:
        pytest.skip("leaving the network needs root")
    done.failed("DataError", "torchvision's mirrors", *sources.SHA256[task].values())
    assert done.seconds < 120
    assert {path.name for path in (place.folder / "cache").rglob("*")} <= {task, ".lock"}
    tally.counts["mirrors"] += 1
