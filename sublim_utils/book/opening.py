"""How a chapter opens: one call, from the scalars of its `parameters` cell to what it works with."""

import warnings

from sublim_utils.book import figures
from sublim_utils.book.claims import Claims
from sublim_utils.runs.lab import Lab
from sublim_utils.runs.profiles import Profile
from sublim_utils.settings import Settings

__all__ = ["open_chapter"]


def open_chapter(
    chapter: str,
    results: str,
    n_seeds: int,
    n_grid_seeds: int,
    n_images: int,
    batch_size: int,
    epochs: int,
    full_grid: bool,
    device: str,
) -> tuple[Lab, Claims, Settings]:
    """Return a chapter's lab, its claims, and the paper's protocol at its profile's size; set the book's look.

    `chapter` is named as in the register of claims, without a number; the rest are the scalars of the `parameters`
    cell in their order (`Profile`), so that papermill and a reader change the same ones.

    Raises
    ------
    SettingsError
        If a scalar is of the wrong type or out of range, or the device is not there, before any work.
    """
    profile = Profile(
        results=results,
        n_seeds=n_seeds,
        n_grid_seeds=n_grid_seeds,
        n_images=n_images,
        batch_size=batch_size,
        epochs=epochs,
        full_grid=full_grid,
    )
    warnings.filterwarnings("ignore", r"`torch\.jit\.script` is deprecated", FutureWarning)  # torch's own call
    lab = Lab(profile, device)
    figures.use_style()
    return lab, Claims(results, chapter), profile.settings()
