"""The page for people: what /status says, to be read at a glance. No script, nothing from elsewhere.

It asks the browser to come again every five seconds; state is told by words, colour only repeats it.
Everything that goes into it is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

_GOOD, _WAITING = ("tailing",), ("standby", "starting", "catching-up")

_MEANING = {
    "tailing": "caught up: every committed row is in Kafka within service.ready_lag",
    "starting": "not reading the log yet",
    "standby": "another instance works; this one takes over when that falls silent",
    "catching-up": "further behind than service.ready_lag, and getting on",
    "stalled": "further behind than service.ready_lag, and nothing is being committed",
    "disconnected": "the database or Kafka does not answer; tried again for ever",
    "fenced": "ended: a newer instance has taken over",
    "stopped": "ended, or about to",
}

_HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="refresh" content="5">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark; --line: #8884; --soft: #8881; --good: #1a7f37; --wait: #9a6700; --bad: #cf222e; }}
@media (prefers-color-scheme: dark) {{ :root {{ --good: #3fb950; --wait: #d29922; --bad: #f85149; }} }}
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }}
h1 {{ font-size: 1.3rem; margin: 0; }} h2 {{ font-size: 1.1rem; margin: 0; }}
p {{ margin: .3rem 0; }} code, dd {{ font-variant-numeric: tabular-nums; overflow-wrap: anywhere; }}
section {{ border: 1px solid var(--line); border-radius: .5rem; padding: 1rem 1.2rem; margin: 1.2rem 0; }}
dl {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(11rem, 1fr)); gap: .8rem 1.5rem;
  margin: 1rem 0 0; }}
dt {{ font-size: .8rem; opacity: .75; }} dd {{ margin: 0; font-size: 1.05rem; }} .wide {{ grid-column: 1 / -1; }}
.state {{ font-weight: 600; border: 1px solid; border-radius: 1rem; padding: .05rem .6rem; margin-left: .6rem;
  font-size: .85rem; white-space: nowrap; }}
.good {{ color: var(--good); }} .wait {{ color: var(--wait); }} .bad {{ color: var(--bad); }}
.error {{ background: var(--soft); border-left: .25rem solid var(--bad); padding: .5rem .8rem; margin: 1rem 0 0; }}
.quiet {{ opacity: .75; font-size: .9rem; }}
</style>
</head>
<body>
"""


def page(status: Mapping[str, Any]) -> str:
    """The page, of what /status says."""
    return "".join(_parts(status))


def _parts(status: Mapping[str, Any]) -> Iterator[str]:
    yield _HEAD.format(title=escape(f"{status['state']} · cdc tailer {status['instance']}"))
    yield f"<header><h1>cdc tailer {escape(status['instance'])}{_badge(status['state'])}</h1>"
    up = duration(status["uptime_seconds"])
    yield f'<p class="quiet">version {escape(status["version"])}, up {up}, since {escape(status["started_at"])}</p>'
    yield "</header>\n<main>\n"
    for name, source in status["sources"].items():
        yield from _source(name, source)
    yield '</main>\n<footer class="quiet">The same for programs: <a href="status">/status</a>, '
    yield '<a href="metrics">/metrics</a>, <a href="readyz">/readyz</a>, <a href="livez">/livez</a>.</footer>\n'
    yield "</body>\n</html>\n"


def _source(name: str, source: Mapping[str, Any]) -> Iterator[str]:
    yield f"<section><h2>{escape(name)}{_badge(source['state'])}</h2>"
    yield f'<p class="quiet">{escape(_meaning(source))}</p>\n<dl>'
    for term, value in facts(source):
        wide = ' class="wide"' if term == "position" else ""
        yield f"<div{wide}><dt>{escape(term)}</dt><dd>{escape(value)}</dd></div>"
    yield "</dl>"
    if (error := source["last_error"]) is not None:
        yield f'<div class="error"><p>Last error, {escape(error["at"])}: <b>{escape(error["error"])}</b></p>'
        yield f"<p>{escape(error['message'])}</p>"
        yield f"<p>Hint: {escape(error['hint'])}</p></div>" if error["hint"] else "</div>"
    yield "</section>\n"


def _meaning(source: Mapping[str, Any]) -> str:
    if source["state"] == "standby" and source["waiting_for"]:
        return f"instance {source['waiting_for']} works; this one takes over when that falls silent"
    return _MEANING[source["state"]]


def _badge(state: str) -> str:
    look = "good" if state in _GOOD else "wait" if state in _WAITING else "bad"
    return f'<span class="state {look}">{escape(state)}</span>'


def facts(source: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """A source's facts as words, those that are nothing left out; the terminal shows the same."""
    if source["lag_seconds"] is not None:
        yield "behind", duration(source["lag_seconds"])
    elif source["not_known_because"]:
        yield "behind", f"not known: {source['not_known_because']}"
    if source["behind_bytes"] is not None:
        files = f" in {source['behind_files'] + 1} files" if source["behind_files"] else ""
        yield "left in the log", size(source["behind_bytes"]) + files
    yield "events published", f"{source['events']:,}"
    if source["checkpoint_age_seconds"] is not None:
        yield "checkpoint is", f"{duration(source['checkpoint_age_seconds'])} old"
    if source["retained_seconds"] is not None:
        yield "kept by the server for", duration(source["retained_seconds"])
    for term, key in (
        ("passed over", "passed_over"),
        ("dead letters", "dead_letters"),
        ("dead letters parked in all", "dead_letters_parked"),
        ("headers dropped", "dropped_headers"),
        ("set aside", "set_aside"),
    ):
        if source[key]:
            yield term, ", ".join(f"{reason} {count:,}" for reason, count in source[key].items())
    if source["restarts"]:
        yield "restarts", f"{source['restarts']:,}"
    if source["doubts"]:
        yield "Kafka transactions in doubt", f"{source['doubts']:,}"
    yield "server", source["server"]
    if (at := source["position"]) is not None:
        gtids = f" ({at['gtid_set']})" if at["gtid_set"] else ""
        yield "position", f"{at['file']}:{at['position']}{gtids}"


def duration(seconds: float) -> str:
    """`3.2 s`, `4 min 5 s`, `3 h 2 min`, `9 d 4 h`."""
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.1f} s"
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1)):
        count, seconds = divmod(int(seconds), length)
        if count or parts:
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])


def size(count: float) -> str:
    """`17 B`, `3.4 MiB`."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:  # noqa: PLR2004 - of the next unit
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
