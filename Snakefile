# The whole pipeline: runs -> chapters (papermill) -> claims -> book.
# One job trains one experiment for one range of seeds, or several that are small; the run store makes a repeated job free.
import os
import sys
import time
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError

from sublim_utils.engine.files import not_in_future
from sublim_utils.runs.experiments import chapter_of, of_chapter
from sublim_utils.runs.filling import ASKED
from sublim_utils.runs.jobs import jobs
from sublim_utils.runs.missing import lacking, report, unasked
from sublim_utils.runs.profiles import RECORDED, Profile, profile_parameters
from sublim_utils.runs.store import Store
from sublim_utils.settings import SettingsError

START = time.monotonic()
PROFILE = config.get("profile", "laptop")
try:
    SIZE = Profile.of_parameters(**profile_parameters("profiles.toml", PROFILE))
except SettingsError as error:
    raise WorkflowError(str(error))
RESULTS, BUILD = f"results/{PROFILE}", f"_build/{PROFILE}"
LOG = f"{BUILD}/log"  # what the jobs write; one that fails is named, with what it wrote
OUTPUT = "." if PROFILE == "laptop" else BUILD  # jupyter-book appends _build/html
STORE = Store(Path(RESULTS))
INDEX = str(Path(OUTPUT, "_build", "html", "index.html"))
EARLY = f"{BUILD}/first"  # the pages while most chapters are still being computed
FIRST = str(Path(EARLY, "_build", "html", "index.html"))
HAS_FIRST = PROFILE not in ("smoke", RECORDED)  # whose whole book is there soon
ASKED_FOR = config.get("train", "no")  # yes, no, or experiments by name; snakemake reads some words as truth values
NAMED = {True: "yes", False: "no"}.get(ASKED_FOR, str(ASKED_FOR))
TRAIN = "no" if NAMED == "no" else "yes"  # into the recorded store only if asked
SEEDS_PER_JOB = int(config.get("seeds_per_job", 10))

TOC = yaml.safe_load(Path("_toc.yml").read_text())
FILES = [entry["file"] for part in TOC["parts"] for entry in part["chapters"]]
CHAPTERS = [Path(f).stem for f in FILES if f.startswith("notebooks/")]
FIRST_CHAPTER = CHAPTERS[0]  # and the primary tests: what the first pages have
VERDICTS = next(c for c in CHAPTERS if chapter_of(c) == "verdicts")  # reads all other chapters' claims
PAGES = [str(p) for p in Path("book").rglob("*") if p.is_file()]
BESIDE = ["_config.yml", "_toc.yml", "CITATION.cff", "environment.yml", "requirements.lock", "profiles.toml"]
PAGE_TOOLS = [f"sublim_utils/book/{name}.py" for name in ("browser", "explorer", "pdf", "preview", "sphinx_ext", "trial")]  # no chapter's
PACKAGE = sorted(str(p) for p in Path("sublim_utils").rglob("*") if p.is_file() and "__pycache__" not in p.parts)
COMPUTING = [p for p in PACKAGE if p not in PAGE_TOOLS]

BUILT = [*Path(BUILD).glob("notebooks/*.ipynb"), *Path(RESULTS).glob("claims.json")]
try:
    for late in not_in_future(map(Path, [*BESIDE, *PAGES, *PACKAGE, *(f"{f}.ipynb" for f in FILES if "notebooks/" in f), *BUILT])):
        sys.stderr.write(f"{late} was dated in the future; it has the present's date now\n")
except OSError as error:
    raise WorkflowError(f"a file is dated in the future, which hides whether it has changed: {error}")


localrules: claims, first, html  # short: never a cluster's jobs


try:
    LACKS = unasked(lacking(SIZE, STORE.root), NAMED) if PROFILE == RECORDED else []
except SettingsError as error:
    raise WorkflowError(str(error))
if LACKS:
    raise WorkflowError(report(LACKS, STORE.root))
PLANNED = jobs(SIZE, STORE, SEEDS_PER_JOB)
MISSING = {name: [f"{RESULTS}/manifests/{job}.json" for job in planned] for name, planned in PLANNED.items()}


rule book:
    input: INDEX, FIRST if HAS_FIRST else [], *MISSING.values()  # by name: of an executed chapter, snakemake does not miss what only its inputs lack


rule all_runs:
    input: *MISSING.values()


def kept(what):
    """Return the end of a shell command "(...": all it writes goes to its log; where no display is, a line says it's done."""
    return f") > {{log}} 2>&1; test -t 2 || echo 'done: {what}' >&2"


def half(_):
    """Two jobs at a time: each has parts that keep one core busy. On a cluster the profile's set-threads overrides it."""
    return max(1, workflow.cores // 2)


rule runs:
    output: RESULTS + "/manifests/{name}/{first}-{stop}.json"
    log: LOG + "/runs/{name}-{first}-{stop}.log"
    wildcard_constraints: name="[a-z0-9_+]+"
    threads: half
    priority: 1  # before chapters, which are short: the longest of the runs must not be begun last
    resources: mem_mb=4000, runtime=240
    shell: "(python -m sublim_utils run {wildcards.name} {output} --profile " + PROFILE
           + " --seeds {wildcards.first}:{wildcards.stop}"
           + kept("runs {wildcards.name}, seeds {wildcards.first}:{wildcards.stop}")


rule chapter:
    input:
        "notebooks/{chapter}.ipynb", "profiles.toml", COMPUTING,
        lambda w: [m for name in of_chapter(chapter_of(w.chapter), SIZE) for m in MISSING[name]],
        lambda w: f"{RESULTS}/claims.json" if w.chapter == VERDICTS else [],
    output: BUILD + "/notebooks/{chapter}.ipynb"
    log: LOG + "/{chapter}.log"
    threads: half
    resources: mem_mb=4000, runtime=240
    shell: f"({ASKED}={TRAIN} python -m sublim_utils execute {{input[0]}} {{output}} --profile {PROFILE}"
           + kept("chapter {wildcards.chapter}")


rule claims:
    input: expand(BUILD + "/notebooks/{chapter}.ipynb", chapter=[c for c in CHAPTERS if c != VERDICTS])
    output: f"{RESULTS}/claims.json"
    log: f"{LOG}/claims.log"
    shell: f"(python -m sublim_utils collect {RESULTS}" + kept("claims")


def pages(output, notebooks, check):
    """Return the shell command that builds the book's pages of executed notebooks; `check` are jupyter-book's options."""
    source = f"{output}/source" if output == EARLY else f"{BUILD}/source"  # with the package, some of whose source is shown
    return (
        f"(rm -rf {source} {output}/_build/html && mkdir -p {source}/notebooks"
        f" && cp -r {' '.join(BESIDE)} book sublim_utils {source}"
        f" && cp {' '.join(f'notebooks/{chapter}.ipynb' for chapter in CHAPTERS)} {source}/notebooks"
        f" && cp {notebooks} {source}/notebooks"
        f" && {ASKED}={TRAIN} python -m sublim_utils pages {RESULTS} {source} {notebooks}"
        f" && jupyter-book build {source} --path-output {output} -q -n {check} --all"
    )


rule first:  # its other inputs change nothing that would be worth building it again
    input: ancient([*BESIDE, *PAGES, *PAGE_TOOLS, *MISSING["primary"]]), chapter=f"{BUILD}/notebooks/{FIRST_CHAPTER}.ipynb"
    output: FIRST
    log: f"{LOG}/first.log"
    shell: pages(EARLY, "{input.chapter}", "") + kept("the first pages, {output}")


rule html:
    input:
        BESIDE, PAGES, PAGE_TOOLS, f"{RESULTS}/claims.json",
        notebooks=expand(BUILD + "/notebooks/{chapter}.ipynb", chapter=CHAPTERS),
    output: INDEX
    log: f"{LOG}/html.log"
    shell:
        pages(OUTPUT, "{input.notebooks}", "-W --keep-going")
        + f" && python -m sublim_utils pdf {Path(INDEX).parent}" + kept("pages")


onstart:
    if HAS_FIRST:
        print(f"first  {Path(FIRST).absolute()} has chapter 01 and the ten tests as soon as they are there", file=sys.stderr)


onsuccess:
    from sublim_utils.book.report import ending  # only here: a cluster's jobs read this file as well

    pages = Path(LOG, "html.log")
    print(ending(RESULTS, INDEX, time.monotonic() - START, pages.read_text() if pages.is_file() else ""), file=sys.stderr)
