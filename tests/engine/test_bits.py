"""Three conditions recorded before the engine was divided into rooms: it computes the same bits now.

With the library that multiplied then, on the kind of processor that recorded them (``attrs``), bit for bit; with
another within what `verify` allows between processors.
"""

import platform
from pathlib import Path

import pytest
import torch
import xarray as xr

from sublim_utils.engine import products
from sublim_utils.engine.data import Images
from sublim_utils.engine.digits import Digits
from sublim_utils.engine.seeds import generator
from sublim_utils.engine.students import train_students
from sublim_utils.engine.teachers import train_teachers
from sublim_utils.runs.verify import ALLOWED, MEASURED, deviations
from sublim_utils.settings import Condition, Settings

RECORDED = Path(__file__).with_name("recorded") / "three_conditions.nc"
SETTINGS = Settings(n_train=6144, n_test=1000, n_inputs=6144, teacher_epochs=2, student_epochs=2)
CONDITIONS = {
    "student (aux)": Condition(),
    "projected": Condition(projection=1.0),
    "liminal, two phase": Condition(liminal=1.0, schedule="two_phase"),
}


def images():
    """Ten patterns under noise, as many as the settings want."""
    rng = generator(0, "bits")
    patterns = torch.empty(10, 784).uniform_(-1, 1, generator=rng)

    def some(n):
        labels = torch.randint(10, (n,), generator=rng)
        noise = torch.empty(n, 784).uniform_(-1, 1, generator=rng)
        return 0.3 * patterns[labels] + 0.7 * noise, labels

    return Images(*some(SETTINGS.n_train), *some(SETTINGS.n_test))


def here() -> dict[str, str]:
    """What the last bits depend on, as the file's attributes name it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    vendor = next((line.split(":")[1].strip() for line in lines if line.startswith("vendor_id")), platform.processor())
    return {"vendor": vendor, "capability": torch.backends.cpu.get_cpu_capability(), "torch": torch.__version__}


@pytest.mark.slow
@pytest.mark.parametrize("library", ["MKL", "the faster one"])
def test_every_recorded_quantity_of_three_conditions_is_what_it_was(library, monkeypatch):
    if library == "MKL":
        monkeypatch.setattr(products, "are_exact", lambda: False)
    with xr.open_dataset(RECORDED, engine="netcdf4") as dataset:
        recorded = dataset.load()
    task = Digits(SETTINGS, images())
    theta, _, _ = train_teachers(task, [0])
    now, _ = train_students(task, CONDITIONS, [0], {"own": theta})
    if library == "MKL" and all(recorded.attrs[name] == value for name, value in here().items()):
        for name, values in recorded.data_vars.items():
            assert now[name].transpose(*values.dims).values.tobytes() == values.values.tobytes(), name
    for name, deviation in deviations(now, recorded).items():
        assert deviation <= ALLOWED * MEASURED[name], name
