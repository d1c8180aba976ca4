"""Every kind of file, damaged: named, set aside, and fetched or computed again where it can be."""

import shutil
from pathlib import Path

import pytest
import xarray as xr

from sublim_utils.book import chapters, claims
from sublim_utils.engine import sources
from sublim_utils.runs import lab as module
from sublim_utils.runs.addresses import student_address
from sublim_utils.runs.experiments import EXPERIMENTS
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.store import DamagedFileWarning, Store
from sublim_utils.runs.stored import stored
from sublim_utils.settings import Condition
from tests import small
from tests.faults import children, tally
from tests.faults.conftest import PROFILES, ROOT, RUN
from tests.small import SETTINGS


def flip(content: bytes) -> bytes:
    """Flip the highest bit of a byte near the middle: no text stays UTF-8."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 0x80]) + content[middle + 1 :]


DAMAGES = {
    "truncated": lambda content: content[: len(content) // 2],
    "one bit flipped": flip,
    "empty": lambda content: b"",
    "foreign": lambda content: b"\x89PNG\r\n" + bytes(100),
}
damages = pytest.mark.parametrize("damage", DAMAGES)


def damaged(path: Path, damage: str) -> bytes:
    """Damage a file, count it, and return what it now holds."""
    content = DAMAGES[damage](path.read_bytes())
    path.write_bytes(content)
    tally.counts["damaged"] += 1
    return content


@damages
def test_raw_files_are_set_aside_and_fetched_again(place, mnist, server, damage):
    cache = place.folder / "cache" / "mnist"
    shutil.copytree(mnist, cache)
    lying = {name: damaged(cache / name, damage) for name in sources.SHA256["mnist"]}
    done = place.call("fetch", SUBLIM_DATA=cache.parent, faults=[(children.mirrors, [server])])
    assert done.code == 0, done.output
    for name, content in lying.items():
        assert (cache / f"{name}.damaged").read_bytes() == content
    assert place.call("fetch", SUBLIM_DATA=cache.parent, faults=[(children.mirrors, [])]).code == 0


def test_raw_files_that_were_swapped_are_told_apart(place, mnist):
    cache = place.folder / "cache" / "mnist"
    shutil.copytree(mnist, cache)
    (cache / sources.TEST_LABELS).write_bytes((cache / sources.TRAIN_LABELS).read_bytes())
    tally.counts["damaged"] += 1
    done = place.call("fetch", SUBLIM_DATA=cache.parent, faults=[(children.mirrors, [])])
    done.failed("DataError", sources.TEST_LABELS, *sources.SHA256["mnist"].values())
    assert not (cache / sources.TEST_LABELS).exists()


@damages
def test_runs_are_set_aside_and_trained_again_bit_for_bit(place, undisturbed, damage):
    shutil.copytree(undisturbed.folder / "results", place.folder / "results")
    files = [sorted(place.folder.glob(f"results/{kind}/*/*.nc"))[0] for kind in ("students", "weights")]
    lying = {path: damaged(path, damage) for path in files}
    done = place.call(*RUN)
    assert done.code == 0, done.output
    for path, content in lying.items():
        assert f"{path.relative_to(place.folder)} is damaged; set aside" in done.output
        assert path.with_name(f"{path.name}.damaged").read_bytes() == content
    assert place.numbers() == undisturbed.numbers()


@stored(kind="pictures", part="drawn", version=1)
def drawn(lab, seed, advance, *, of):
    return xr.Dataset({"x": ("p", [seed, 2.0])})


@damages
@pytest.mark.parametrize("kind", ["students", "teachers", "weights", "pictures"])
def test_every_kind_of_run_is_computed_again(lab, damage, kind):
    """Kinds that no command alone reads, at the size of the unit tests."""
    ask = {
        "students": lambda: lab.students(SETTINGS, {"baseline": Condition()}, [0, 1]),
        "teachers": lambda: lab.teachers(SETTINGS, [0, 1]),
        "weights": lambda: xr.Dataset({"theta": ("p", lab.teacher_weights(SETTINGS, 0, "own").ravel().numpy())}),
        "pictures": lambda: lab.ask(drawn, [0, 1], of="this"),
    }[kind]
    first = ask()
    path = sorted((lab.store.root / kind).rglob("*.nc"))[0]
    damaged(path, damage)
    with pytest.warns(DamagedFileWarning, match=path.name):
        xr.testing.assert_equal(ask(), first)
    assert path.with_name(f"{path.name}.damaged").exists()


@damages
def test_recorded_runs_are_set_aside_and_nothing_there_is_written(tmp_path, damage):
    recorded, conditions = Store(tmp_path / module.RECORDED), EXPERIMENTS["phenomenon"].conditions
    for seed in range(3):
        run = xr.Dataset({"accuracy": (("seed", "eval"), [[seed / 10]])}, {"seed": [seed]})
        path = recorded.save("students", student_address(small.SETTINGS, conditions["student (aux)"]), run)
    where = student_address(Profile(results="r").settings(), conditions["student (aux)"])
    path.parent.rename(path.parent.with_name(where))
    path = path.parent.with_name(where) / path.name
    others = {p: p.read_bytes() for p in recorded.root.rglob("*.nc") if p != path}
    content = damaged(path, damage)
    with pytest.warns(DamagedFileWarning, match=path.name):
        found = Lab(Profile(results=str(tmp_path / "laptop")), "cpu").recorded("phenomenon")
    assert found["student (aux)"]["seed"].values.tolist() == [0, 1]
    aside = path.with_name(f"{path.name}.damaged")
    assert {p: p.read_bytes() for p in recorded.root.rglob("*") if p.is_file()} == {**others, aside: content}


def recorded_claims(folder: Path) -> tuple[Path, Path]:
    """Write one chapter's claims and claims.json."""
    recorded = claims.Claims(folder / "results", "phenomenon")
    for name, entry in claims.registered().items():
        if entry.chapter == recorded.chapter:
            recorded.record(name, [0.5, 0.6, 0.7])
    claims.collect(folder / "results")
    return recorded.path, folder / "results" / "claims.json"


@damages
def test_claims_are_one_error_that_says_what_to_do(place, damage):
    chapter, joined = recorded_claims(place.folder)
    (place.folder / "README.md").write_text((ROOT / "README.md").read_text())
    whole = joined.read_bytes()
    damaged(chapter, damage)
    place.call("collect", "results").failed("DataError", "results/claims/phenomenon.json", "delete it")
    assert joined.read_bytes() == whole
    damaged(joined, damage)
    for words in (("pages", "results", "out"), ("readme", "results")):
        place.call(*words).failed("DataError", "results/claims.json", "delete it")
    assert (place.folder / "README.md").read_text() == (ROOT / "README.md").read_text()


def test_a_digit_of_a_claim_that_changed_is_found(place):
    chapter, _ = recorded_claims(place.folder)
    for old, new in ((b"0.6", b"0.5"), (b'"n_seeds": 3', b'"n_seeds": 4'), (b"not tested", b"not tasted")):
        content = chapter.read_bytes()
        assert old in content
        chapter.write_bytes(content.replace(old, new, 1))
        tally.counts["damaged"] += 1
        place.call("collect", "results").failed("DataError", "results/claims/phenomenon.json")
        chapter.write_bytes(content)


@damages
def test_an_executed_notebook_is_set_aside_before_the_book_is_built(place, damage):
    (place.folder / "results").mkdir()
    paths = [place.folder / f"{n}.ipynb" for n in (1, 2)]
    for path in paths:
        path.write_bytes(chapters.sealed((ROOT / "notebooks" / "01_phenomenon.ipynb").read_bytes()))
    chapters.check_executed(paths)  # whole ones pass
    content = damaged(paths[1], damage)
    place.call("pages", "results", "out", *paths).failed("DataError", paths[1], "again")
    assert paths[0].exists()
    assert not paths[1].exists()
    assert (place.folder / "2.ipynb.damaged").read_bytes() == content


@damages
def test_a_notebook_to_execute_is_named(place, damage):
    path = place.folder / "01.ipynb"
    shutil.copy(ROOT / "notebooks" / "01_phenomenon.ipynb", path)
    damaged(path, damage)
    done = place.call("execute", path, "out.ipynb", "--profiles", "profiles.toml", "--profile", "results")
    done.failed("SettingsError", "01.ipynb")


@damages
def test_a_file_of_profiles_is_named(place, damage):
    (place.folder / "profiles.toml").write_text(PROFILES)
    damaged(place.folder / "profiles.toml", damage)
    place.call(*RUN).failed("SettingsError", "profiles.toml")
    assert not (place.folder / "results").exists()


@damages
def test_a_manifest_is_written_anew(place, undisturbed, damage):
    """Nothing reads what it says; snakemake asks only whether it is there."""
    shutil.copytree(undisturbed.folder / "results", place.folder / "results")
    shutil.copy(undisturbed.folder / "manifest.json", place.folder)
    damaged(place.folder / "manifest.json", damage)
    assert place.call(*RUN).code == 0
    assert (place.folder / "manifest.json").read_bytes() == (undisturbed.folder / "manifest.json").read_bytes()
