"""One trace for whoever starts a run, its workflow, the runs below it, and what is done for them."""

from opentelemetry.trace import Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.contrib.opentelemetry import TracingInterceptor


class Tracing(TracingInterceptor):
    """Only the trace's own ids go into Temporal's history, which is not ours alone; never a caller's baggage."""

    def __init__(self, tracer: Tracer | None) -> None:
        super().__init__(tracer)
        self.text_map_propagator = TraceContextTextMapPropagator()
