"""What a contestant cost: time, processor, memory; medians over rounds; a table."""

import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

Rounds = dict[str, dict[str, list[dict[str, float]]]]
"""By contestant and log: the figures of each round."""


def cost_of(work: Callable[[], int]) -> dict[str, float]:
    """Run work in this process; what it cost for the number of rows it returns."""
    used, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
    count = work()
    seconds, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return {"rows_per_second": count / seconds, "cpu_us_per_row": 1e6 * cpu / count}


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def summary(rounds: list[dict[str, float]]) -> dict[str, Any]:
    """The median of each figure, and the spread of the first."""
    out: dict[str, Any] = {name: rounded(statistics.median(r[name] for r in rounds)) for name in rounds[0]}
    if len(rounds) > 1:
        first = [r[next(iter(rounds[0]))] for r in rounds]
        out["spread"] = round((max(first) - min(first)) / statistics.median(first), 2)
        out["rounds"] = len(rounds)
    return out


def rounded(value: float) -> float:
    return round(value) if abs(value) >= 1000 else round(value, 2)


def table(results: dict[str, Any]) -> str:
    lines = [""]
    for contestant, logs in results["contestants"].items():
        for log, figures in logs.items():
            shown = ", ".join(f"{name} {value:,}" for name, value in figures.items())
            lines.append(f"{contestant:28} {log:24} {shown}")
    lines += ["", *(f"{name:32} {value:g}" for name, value in results["ratios"].items())]
    lines += ["", f"{'':44} {'measured':>10} {'target':>10}"]
    for target in results["targets"]:
        bound = f"{target['relation']} {target['bound']:g}" if target["relation"] else "-"
        lines.append(f"{target['what']:44} {target['measured']:>10g} {bound:>10}  {target['verdict']}")
    return "\n".join(lines)
