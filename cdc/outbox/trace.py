"""The span an event is written in, as W3C trace context.

Taken when the event is added, not when it is published: by then the tailer's own work would
be the parent. OpenTelemetry is never imported here; where the application has a span active,
it has imported it. The two headers are W3C's, whatever propagators the application uses, so
that consumers in other languages and Debezium's tracing understand them.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

_MAX_PROPERTIES = 256  # of the column tracingspancontext
NAMES = ("traceparent", "tracestate")
_NONE: Mapping[str, str] = {}


def current() -> Mapping[str, str]:
    """`traceparent` and perhaps `tracestate` of the active span; nothing where there is none."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return _NONE
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return _NONE
    headers = {"traceparent": f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"}
    if context.trace_state and (state := context.trace_state.to_header()):
        headers["tracestate"] = state
    return headers


def properties(headers: Mapping[str, str]) -> str | None:
    """As Debezium reads it from `tracingspancontext`: lines of a Java properties file."""
    if "traceparent" not in headers:
        return None
    text = "".join(f"{name}={headers[name]}\n" for name in NAMES if name in headers)
    return text if len(text) <= _MAX_PROPERTIES else f"traceparent={headers['traceparent']}\n"
