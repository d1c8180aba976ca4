"""A chapter's last block: how this copy of it was made, and how to make it again."""

import platform
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path

import nbformat
import torch
import yaml
from nbformat import NotebookNode

from sublim_utils.runs.profiles import Profile
from sublim_utils.runs.provenance import provenance

__all__ = ["KEY", "VERSIONS", "command", "duration", "finish", "finished", "made", "text"]

KEY = "made"
"""Where the result of `made` lies in a notebook's metadata."""

VERSIONS = ("numpy", "scipy", "xarray", "matplotlib", "papermill")


def made(device: torch.device) -> dict[str, str]:
    """Return what is recorded in an executed chapter: device, engine, commit and the versions of what computed it."""
    known = provenance(device)
    about = {name: known[name] for name in ("device", "engine", "commit", "torch")}
    return {**about, "python": platform.python_version(), **{name: version(name) for name in VERSIONS}}


def command(chapter: str, profile: str) -> str:
    """Return the command that executes a chapter, given its notebook's stem.

    >>> command("00_chapter", "laptop")
    'python -m sublim_utils execute notebooks/00_chapter.ipynb out.ipynb --profile laptop'
    """
    return f"python -m sublim_utils execute notebooks/{chapter}.ipynb out.ipynb --profile {profile}"


def duration(seconds: float) -> str:
    """Return a run time in words.

    >>> duration(12.34), duration(754)
    ('12 s', '12 min 34 s')
    """
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def text(chapter: str, metadata: Mapping[str, Mapping[str, object]], repository: str = "") -> str:
    """Return the block as MyST Markdown, from an executed notebook's metadata.

    `repository`: where the book's sources lie; empty if that is not known.
    """
    run, known = metadata["papermill"], metadata[KEY]
    profile = Profile.of_parameters(**run["parameters"])
    scale = f"{profile.n_images:,} images, batches of {profile.batch_size:,}, {profile.epochs} epochs"
    seeds = ", ".join(f"{n} ({tier})" for tier, n in profile.tiers.items())
    rows = [
        ("profile", f"`{profile.name}`: {scale}, {'all' if profile.full_grid else 'a few'} points of the grids"),
        ("seeds by tier", seeds),
        ("device", known["device"]),
        ("versions", ", ".join(f"{name} {known[name]}" for name in ("python", "torch", *VERSIONS))),
        ("engine, commit", f"{known['engine']}, `{known['commit']}`"),
        ("run time of this page", f"{duration(run['duration'])} on {run['start_time'][:10]}; stored runs are read"),
    ]
    about = "\n\n".join(f"{name}\n: {value}" for name, value in rows)
    colab = f"On Colab, run `%pip install git+{repository}` first.\n\n" if repository else ""
    return (
        f"## How this page was made\n\n{about}\n\n```\n{command(chapter, profile.name)}\n```\n\n"
        f"Download: {{download}}`this notebook, as executed <{chapter}.ipynb>`, "
        "{download}`environment.yml <../environment.yml>` and the lock that it installs, "
        f"{{download}}`requirements.lock <../requirements.lock>`.\n\n{colab}"
        "{doc}`../book/reproduce` says how to set it up."
    )


def finished(
    notebook: NotebookNode,
    chapter: str,
    prose: Callable[[str], str],
    shown: Callable[[str], str],
    repository: str = "",
) -> NotebookNode:
    """Return a notebook as the book shows it.

    The block is its last cell if it was executed; of the two parameters cells the default one, which the injected
    one overrides, is gone, and the injected one folded. `prose` fills in the claims that the text quotes, `shown` those
    of captions and of texts in place of figures, which are about what this copy shows.
    """
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", [])]
    if "injected-parameters" in tags:
        notebook.cells = [c for c in notebook.cells if "parameters" not in c.metadata.get("tags", [])]
    for cell in notebook.cells:
        if "injected-parameters" in cell.metadata.get("tags", []):
            cell.metadata.tags.append("hide-input")
        if cell.cell_type == "markdown":
            cell.source = prose(cell.source)
        for part, text_of in (("image", "alt"), ("figure", "caption")):
            if about := cell.metadata.get("mystnb", {}).get(part):
                about[text_of] = shown(about[text_of])
    if KEY in notebook.metadata:
        block = text(chapter, notebook.metadata, repository)
        notebook.cells.append(nbformat.v4.new_markdown_cell(block, id="how-this-page-was-made"))
    return notebook


def finish(
    paths: Iterable[str | Path], config: str | Path, prose: Callable[[str], str], shown: Callable[[str], str]
) -> None:
    """Finish notebooks in place; the repository's address is that of the book's `config`."""
    repository = yaml.safe_load(Path(config).read_text(encoding="utf-8")).get("repository", {}).get("url", "")
    for path in map(Path, paths):
        notebook = finished(nbformat.read(path, 4), path.stem, prose, shown, repository)
        nbformat.write(notebook, path)
