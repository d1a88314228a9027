"""What a campaign came to, as Markdown: each kind of fault on each server, the counts, and what went wrong."""

import statistics
from collections.abc import Sequence
from typing import Any

from tests.checker.judge import FAULTS as KINDS
from tests.crash.faults import FAULTS

MUST_BE_ZERO = (*KINDS, "unlike_live")

_RECOVERY = (
    "Recovery is the seconds from the end of the trouble (a server answers, the network forwards; of a "
    "tailer: its death) until something written after it is visible to a read_committed consumer."
)

Result = dict[str, Any]


def is_clean(result: Result) -> bool:
    """Nothing was stuck, and nothing was lost, doubled, torn or otherwise wrong."""
    return "stuck" not in result and not any(result[kind] for kind in MUST_BE_ZERO)


def markdown(results: Sequence[Result], title: str) -> str:
    """The whole report."""
    clean = all(map(is_clean, results))
    parts = [
        f"# Crash campaign: {'clean' if clean else 'FAULTY'}",
        f"{title}. {_RECOVERY}",
        _table(_recovery(results)),
        _table(_counts(results)),
        *map(_fault, (result for result in results if not is_clean(result))),
    ]
    return "\n\n".join(parts) + "\n"


def _servers(results: Sequence[Result]) -> list[str]:
    return sorted({result["server"] for result in results})


def _recovery(results: Sequence[Result]) -> list[list[str]]:
    servers = _servers(results)
    lines = [["fault", *(f"{server}: {what}" for server in servers for what in ("number", "median", "longest"))]]
    for fault in FAULTS:
        line = [fault]
        for server in servers:
            took = [
                seconds
                for result in results
                if result["server"] == server
                for name, seconds in result["lives"]
                if name == fault
            ]
            line += [str(len(took)), *([f"{statistics.median(took):.1f} s", f"{max(took):.1f} s"] if took else "--")]
        lines.append(line)
    return lines


def _counts(results: Sequence[Result]) -> list[list[str]]:
    lines: list[list[str]] = [["", *_servers(results)]]
    every = [[result for result in results if result["server"] == server] for server in lines[0][1:]]
    lines += [
        [_WORDS.get(word, word), *(str(sum(each.get(word, 0) for each in mine)) for mine in every)]
        for word in ("faults", "transactions", "records", *MUST_BE_ZERO, "doubts")
    ]
    lines.append(["rounds", *(str(len(mine)) for mine in every)])
    lines.append(["stuck rounds", *(str(sum("stuck" in each for each in mine)) for mine in every)])
    rates = [[each["rate"] for each in mine if "rate" in each] or [0.0] for mine in every]
    lines.append(["transactions/s written, mean over all outages", *(f"{statistics.mean(rate):.0f}" for rate in rates)])
    spreads = [max((each.get("spread", 0.0) for each in mine), default=0.0) for mine in every]
    lines.append(["largest live spread of a transaction", *(f"{spread:.2f} s" for spread in spreads)])
    lines.append(["minutes", *(f"{sum(each['seconds'] for each in mine) / 60:.0f}" for mine in every)])
    return lines


_WORDS = {
    "unlike_live": "partitions in which a later reader saw other than the live one",
    "doubts": "commits whose answer the writer did not get, settled by SELECT",
}


def _table(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    return "\n".join([rows[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *rows[1:]])


def _fault(result: Result) -> str:
    words = result.get("stuck") or "\n".join(result.get("examples", ()))
    return f"## Round {result['round']} on {result['server']}\n\n```\n{words}\n```"
