"""The page made of the results: every figure on it is read from results.json."""

from bench import goals
from bench.goals import ranged, significant, table

PUBLIC = "public script's method"
HEAD = "<!-- Written by `make bench` from bench/results.json; don't edit. -->"
LEGEND = "Every cell is median (min ... max) over the rounds of one run in which what is compared takes turns."
FORMULA = (
    "$$T = \\frac{t_\\text{noise} + t_\\text{targets} + \\frac{E N}{B}(t_\\text{teacher step} + t_\\text{student step})"
    " + (E + 1)\\, t_\\text{teacher evaluation} + P\\, t_\\text{student evaluation}}{\\text{seeds at once}}$$"
)


def machine(about: dict) -> str:
    """Say on what, how and when it was measured."""
    kind = (
        " **A quick run at tiny sizes: it shows that the bench works and nothing about speed.**"
        if about["quick"]
        else ""
    )
    return (
        f"Measured {about['made']} on {about['device']} with {about['threads']} threads, torch {about['torch']}, "
        f"float32.{kind} {LEGEND}"
    )


def whole(results: dict) -> str:
    """Return the table of the whole experiment, with its formula."""
    counts, candidates = results["counts"], results["candidates"]
    ours = candidates["ours"]["over ours"]
    rows = []
    for name, c in candidates.items():
        ratio = "1" if c["over ours"] is ours else ranged(c["over ours"])
        parts = [significant(1000 * c["parts"][p]["median"]) for p in counts]
        once = significant(sum(c["once"].values()))
        rows.append([name, str(c["n_seeds"]), *parts, once, ranged(c["seconds"]), ratio])
    rows += [[name, why, *("" for _ in counts), "", "", ""] for name, why in results["absent"].items()]
    head = ["method", "seeds at once", *(f"{part} [ms]" for part in counts), "once [s]", "whole [s]", "whole / ours"]
    compiled = candidates.get("vmap + torch.compile", {}).get("compile")
    note = f" Compiling took {significant(compiled)} s and is not counted." if compiled else ""
    return "\n\n".join([
        "#### A teacher and its four students",
        "Seconds for one seed of the first chapter's experiment, added up from its timed parts (times per seed; a"
        " student step is one of each of the four kinds):",
        FORMULA,
        f"with $EN/B$ = {significant(counts['teacher step'])} steps, $E + 1$ = {counts['teacher evaluation']} and $P$ ="
        f" {counts['student evaluation']} evaluations. The {PUBLIC} computes the"
        f" teachers' targets at every step, all others once.{note}",
        table(head, rows),
        whole_goals(candidates),
    ])  # fmt: skip


def whole_goals(candidates: dict) -> str:
    """Say whether the goals of the whole experiment are met."""
    lines = []
    if PUBLIC in candidates:
        over = candidates[PUBLIC]["over ours"]["median"]
        lines.append(f"- the {PUBLIC} over ours, {significant(over)}: goal {goals.OVER_PUBLIC.verdict(over)}")
    others = {n: c for n, c in candidates.items() if n != PUBLIC and not n.startswith("ours")}
    if others:
        name = min(others, key=lambda n: others[n]["over ours"]["median"])
        over = others[name]["over ours"]["median"]
        verdict = goals.OVER_BEST_OTHER.verdict(over)
        lines.append(f"- the best other, {name}, over ours, {significant(over)}: goal {verdict}")
    minutes = 100 * candidates["ours, tracked"]["seconds"]["median"] / 60
    verdict = goals.HUNDRED_SEEDS.verdict(minutes)
    lines.append(f"- the first chapter at a hundred seeds, tracked, {significant(minutes)} min: goal {verdict}")
    return "\n".join(lines)


def tracked(results: dict) -> str:
    """Return the table of tracked steps."""
    rows, lines = [], []
    for n, row in results.items():
        for name, seconds in row["seconds"].items():
            over = row["ratios"].get(name)
            rows.append([f"{n} x {name}", ranged(seconds, 1000), ranged(over) if over else "1"])
        over = row["ratios"]["public script's plain step"]["median"]
        lines.append(f"- {n} tracked and projected over {n} plain by the {PUBLIC}, {significant(over)}"
                     + (f": goal {goals.TRACKED_OVER_PUBLIC.verdict(over)}" if n == "1" else ""))  # fmt: skip
    head = ["conditions of one seed", "step [ms]", "tracked and projected / this"]
    return "\n\n".join(["#### Tracking at every layer, and projecting", table(head, rows), "\n".join(lines)])


def roofline(results: dict) -> str:
    """Return the tables of the limits, the phases and the whole steps."""
    limits = [[f"product, {n}", ranged(r, 1e-9), "GFLOP/s"] for n, r in results["products"].items()]
    limits.append(["copy of a large tensor", ranged(results["copy"], 1e-9), "GB/s"])
    rows = []
    for name, row in results["phases"].items():
        part = row["products"] if row["products"]["work"] else row["bytes"]
        unit = "GFLOP/s" if part is row["products"] else "GB/s"
        rows.append([name, ranged(part["seconds"], 1000), f"{significant(part['rate']['median'] / 1e9)} {unit}",
                     ranged(part["share"], 100)])  # fmt: skip
    steps = [
        [name, ranged(row["seconds"], 1000), ranged(row["share"], 100),
         goals.PRODUCT_SHARE.verdict(100 * row["share"]["median"])]
        for name, row in results["steps"].items()
    ]  # fmt: skip
    return "\n\n".join([
        "#### Share of the machine's rate",
        "The limits, measured in the same rounds:",
        table(["limit", "rate", "unit"], limits),
        "Phases of a step with the four students of a seed: share of the best product rate of the round where a phase"
        " has products, else of the copying rate (above 100 % where the caches serve it):",
        table(["phase", "time [ms]", "rate", "share [%]"], rows),
        "Whole training steps, all of whose time counts but only whose products do work:",
        table(["step", "time [ms]", "share of the product rate [%]", "goal"], steps),
    ])  # fmt: skip


def growth(results: dict) -> str:
    """Return the tables of memory and time over seeds and conditions."""
    names = {
        "in turn": ("seeds in turn, four students each", "seeds"),
        "batched": ("seeds together, one student each", "seeds"),
        "conditions": ("conditions of one seed", "conditions"),
        "public": (PUBLIC, "seeds"),
    }
    rows = []
    for key, (text, axis) in names.items():
        for row in results[key]:
            whole = significant((row["bytes"] + row["noise lacking"]) / 1e9) if "noise lacking" in row else ""
            rows.append([text, str(row[axis]), significant(row["bytes"] / 1e9), whole,
                         significant(row["seconds"])])  # fmt: skip
    last, few = results["in turn"][-1], results["batched"][0]["n_inputs"]
    head = ["what", "how many", "peak memory [GB]", "with all noise [GB]", "time [s]"]
    return "\n\n".join([
        "#### Memory and time as they grow",
        "Peak memory beyond a process that has the libraries and MNIST loaded; time of drawing the noise, computing the"
        f" targets, {results['steps']} steps and an evaluation (of the {PUBLIC}: noise and steps). Seeds are trained in"
        f" turn; trained together they were given only {few} noise images each, and the next column adds the others'"
        " memory by calculation.",
        table(head, rows),
        f"- memory at {last['seeds']} seeds in turn, {significant(last['bytes'] / 1e9)} GB: goal"
        f" {goals.MEMORY.verdict(last['bytes'] / 1e9)}",
    ])  # fmt: skip


def processes(results: dict) -> str:
    """Return the table of threads against processes."""
    rows = [[name, ranged(rate)] for name, rate in results["steps a second"].items()]
    ratio = f"Processes over threads: {ranged(results['processes over threads'])}."
    return "\n\n".join(["#### Threads or processes", table(["way", "tracked steps a second"], rows), ratio])


def bfloat16(results: dict) -> str:
    """Return the table of the cosine's error."""
    rows = [
        [name, *(f"{row[k]:.1e}" for k in ("median error", "max error")), f"{row['wrong signs']} of {results['steps']}"]
        for name, row in results["errors"].items()
    ]
    head = ["products in", "median error", "largest error", "wrong sign"]
    return "\n\n".join([
        "#### bfloat16",
        f"The tracked cosine against float64, over the first {results['steps']} steps of a real run, where its size is"
        f" {results['median size']:.1e} (median). The engine has no such option; its two gradients would take"
        f" 1 / {ranged(results['speed'])} of the time.",
        table(head, rows),
    ])  # fmt: skip


def modules(results: dict) -> str:
    """Return the table of networks made of modules."""
    rows = [
        [f"{n} x {name}", ranged(seconds, 1000), ranged(row["over written out"][name])]
        for n, row in results.items()
        for name, seconds in row["seconds"].items()
    ]
    head = ["models of one seed", "pass [ms]", "this / MLP, written out"]
    return "\n\n".join([
        "#### Any module as a network",
        "One forward and backward pass over a batch: of the MLP written out, and of the same MLP and the other networks"
        " as modules, whose models the engine runs one after the other; and by vmap, which it does not use.",
        table(head, rows),
    ])  # fmt: skip


def language(results: dict) -> str:
    """Return the table of the language task's student."""
    over = results["loop over engine"]
    reached = {"plain": goals.LANGUAGE_PLAIN, "tracked": goals.LANGUAGE_TRACKED}
    rows = [[name, ranged(seconds, 1000)] for name, seconds in results["seconds"].items()]
    sums = "; ".join(f"{n} {ranged(over[n])} ({g.verdict(over[n]['median'])})" for n, g in reached.items())
    return "\n\n".join([
        "#### A student of the language task",
        "Seconds of a step for one student of the small transformer, beside the same student in a loop of plain torch,"
        " one at a time.",
        table(["step", "one student's [ms]"], rows),
        f"The loop's seconds over the engine's: {sums}.",
    ])  # fmt: skip


def book(results: dict | None) -> str:
    """Return the table of the time from an empty cache to the built book."""
    title = "### From an empty cache to the book"
    if not results:
        return f"{title}\n\nNot measured yet: `python -m bench.parts` measures it."
    rows = [[part["name"], str(part["jobs"]), significant(part["seconds"])] for part in results["parts"]]
    minutes = results["book"] / 60
    about = (
        f"`make setup` and `make book` at the {results['profile']} profile in a fresh clone, {results['made']}; jobs "
        "overlap, so their seconds add up to more than the whole."
    )
    goal = f"- `make book` after the installation, {significant(minutes)} min: goal {goals.LAPTOP.verdict(minutes)}"
    return "\n\n".join([title, about, table(["part", "jobs", "seconds"], rows), goal])


PARTS = {
    "whole": whole, "tracked": tracked, "roofline": roofline, "growth": growth, "processes": processes,
    "bfloat16": bfloat16, "modules": modules, "language": language,
}  # fmt: skip


def section(title: str, results: dict | None) -> str:
    """Return everything measured on one device."""
    if not results:
        why = ": no such device was at hand" if title == "GPU" else " yet"
        return f"### {title}\n\nNot measured{why}."
    blocks = [f"### {title}", machine(results["about"])]
    for name, render in PARTS.items():
        if name not in results:
            continue
        absent = results[name].get("not measured")
        blocks.append(f"#### {name}\n\nNot measured: {absent}" if absent else render(results[name]))
    if title == "GPU" and "candidates" in results.get("whole", {}):
        seconds = 100 * results["whole"]["candidates"]["ours"]["seconds"]["median"]
        verdict = goals.HUNDRED_SEEDS_GPU.verdict(seconds)
        blocks.append(f"- a teacher and four students at a hundred seeds, {significant(seconds)} s: goal {verdict}")
    return "\n\n".join(blocks)


def page(results: dict, parts: dict | None) -> str:
    """Return the page of results.json and of book.json, if there is one."""
    blocks = [HEAD, section("CPU", results.get("cpu")), section("GPU", results.get("cuda")), book(parts)]
    return "\n\n".join(blocks) + "\n"
