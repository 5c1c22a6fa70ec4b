"""The tables of ``benchmarks.scaling`` and ``benchmarks.kernels`` in plain text."""

from statistics import median

from benchmarks.night import BEFORE_ALS, WEEKLY

GIB = 1 << 30
PAIRS = (  # ours, and the peers it is measured by
    ("ours: events to factors", ("implicit: ALS fit", "MLlib: ALS fit")),
    ("ours: factors to candidates", ("implicit: recommend", "MLlib: recommendForAllUsers")),
    ("ours: the same with because_of", ("implicit: recommend",)),
    ("ours: topk_product, 1 thread", ("bare product, 1 thread",)),
    (
        "ours: topk_product, 2 threads",
        ("bare product, 2 threads", "faiss: exact inner product", "implicit: recommend", "MLlib: recommendForAllUsers"),
    ),
    ("ours: pairs by cosine", ("implicit: cosine neighbors",)),
)


def night_table(size: dict) -> str:
    """Each task of both nights, below it its steps, with floors; then what the nights cost in all."""
    first, second = (by_task(night) for night in size["nights"])
    head = f"{'task':<26}{'night 1 s':>10}{'night 2 s':>10}{'ratio':>7}{'CPU s':>9}{'peak GiB':>10}  floor of night 1"
    lines = [f"{size['events']:,} events ({size['bytes'] / 1e9:.2f} GB)", head]
    for name, task in first.items():
        other = second[name]
        label = f"{name} (weekly)" if name in WEEKLY else name
        cost = f"{number(task['cpu_s'], '9.1f')}{number(task['peak_bytes'], '10.2f', GIB)}"
        lines.append(f"{label:<26}{pair(task['seconds'], other['seconds'])}{cost}")
        for step, seconds in task["steps"].items():
            told = floor(size.get("floors", {}).get(step, {}))
            lines.append(f"  {step:<24}{pair(seconds, other['steps'].get(step))}{'':19}  {told}".rstrip())
        if starts := task["seconds"] - sum(task["steps"].values()):
            left = other["seconds"] - sum(other["steps"].values())
            lines += [f"  {'starting, the rest':<24}{pair(starts, left)}"] if task["steps"] else []
    return "\n".join([*lines, *sums(size)])


def by_task(night: dict) -> dict[str, dict]:
    return {task["task"]: task for task in night["tasks"]}


def pair(first: float, second: float | None) -> str:
    """Seconds of both nights and their ratio; nothing where the second did not do it again."""
    if second is None:
        return f"{first:10.1f}{'-':>10}{'':7}"
    return f"{first:10.1f}{second:10.1f}{second / first:7.2f}" if first else f"{first:10.1f}{second:10.1f}{'':7}"


def number(value: float | None, form: str, unit: float = 1) -> str:
    width = int(form.partition(".")[0])
    return f"{'?':>{width}}" if value is None else f"{value / unit:{form}}"


def floor(known: dict[str, float]) -> str:
    """Such as ``in and out 1.2 s, ALS 30.1 s``."""
    words = {"in_out": "in and out", "als": "bare ALS", "product": "bare product"}
    return ", ".join(f"{words[key]} {value:.1f} s" for key, value in known.items() if key in words)


def sums(size: dict) -> list[str]:
    nights = [night_seconds(night) for night in size["nights"]]
    before = [by_task(night)[BEFORE_ALS]["seconds"] for night in size["nights"]]
    weekly = [task["seconds"] for task in size["nights"][0]["tasks"] if task["task"] in WEEKLY]
    return [
        f"{'nights but for the weekly':<26}{pair(*nights)}{'':9}{number(peak(size), '10.2f', GIB)}",
        f"before ALS: night 2 is {before[1] / before[0]:.2f} of night 1; weekly tasks {sum(weekly):.1f} s",
    ]


def night_seconds(night: dict) -> float:
    """All tasks, one after another, but for the weekly ones."""
    return sum(task["seconds"] for task in night["tasks"] if task["task"] not in WEEKLY)


def peak(size: dict) -> float | None:
    """The most that any nightly task of both nights held; None where it is not known."""
    tasks = [task for night in size["nights"] for task in night["tasks"] if task["task"] not in WEEKLY]
    known = [task["peak_bytes"] for task in tasks if task["peak_bytes"] is not None]
    return max(known, default=None)


def series_table(told: dict) -> str:
    """One line a size; growth is that of the first night's seconds from the size before."""
    lines = [f"{'events':>12}{'users':>11}{'items':>9}{'night 1 s':>11}{'night 2 s':>11}{'growth':>8}{'peak GiB':>10}"]
    before = None
    for size in told["sizes"]:
        first, second = map(night_seconds, size["nights"])
        grown = f"{first / before:8.1f}" if before else f"{'':8}"
        counts = f"{size['events']:12,}{size['users']:11,}{size['items']:9,}"
        lines.append(f"{counts}{first:11.1f}{second:11.1f}{grown}{number(peak(size), '10.2f', GIB)}")
        before = first
    return "\n".join(lines)


def kernel_table(told: dict) -> str:
    """Medians of each kernel, then of ours over each peer's, by the wall and by CPU."""
    costs = {name: (middle(some, "seconds"), middle(some, "cpu_s"), len(some)) for name, some in told["costs"].items()}
    lines = [f"{'':<36}{'seconds':>9}{'CPU s':>9}{'runs':>6}"]
    for name, (seconds, cpu_s, runs) in costs.items():
        lines.append(f"{name:<36}{seconds:9.2f}{number(cpu_s, '9.2f')}{runs:6}")
    if told["faiss"] == "not installed":
        lines.append(f"{'faiss: exact inner product':<36}{'not installed':>18}")
    if told["mllib"] != "ran":
        lines.append(f"{'MLlib':<36}  {told['mllib']}")
    lines.append(f"\n{'ours over theirs':<62}{'seconds':>9}{'CPU':>9}")
    for ours, peer, by_wall, by_cpu in ratios(told):
        lines.append(f"{ours:<32}{peer:<30}{by_wall:9.2f}{number(by_cpu, '9.2f')}")
    return "\n".join(lines)


def ratios(told: dict) -> list[tuple[str, str, float, float | None]]:
    """Ours, a peer's, and ours over the peer's: medians of seconds by the wall and of CPU."""
    costs = {name: (middle(some, "seconds"), middle(some, "cpu_s")) for name, some in told["costs"].items()}
    found = []
    for ours, theirs in PAIRS:
        for peer in (peer for peer in theirs if peer in costs):
            (wall, cpu), (wall_0, cpu_0) = costs[ours], costs[peer]
            found.append((ours, peer, wall / wall_0, cpu / cpu_0 if cpu and cpu_0 else None))
    return found


def middle(some: list[dict], name: str) -> float | None:
    known = [cost[name] for cost in some if cost[name] is not None]
    return median(known) if known else None
