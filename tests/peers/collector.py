"""An OpenTelemetry collector that is not ours: OTLP over gRPC in, a JSON line a span out.

    collector.py

Its first line is the port that it serves on.
"""

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

EXPORT = "Export"
SERVICE = "opentelemetry.proto.collector.trace.v1.TraceService"
# Exports come from several processes at once, and lines must stay whole.
writing = threading.Lock()


def named(attributes) -> dict:
    value = lambda any_value: getattr(any_value, any_value.WhichOneof("value") or "string_value")
    return {attribute.key: plain(value(attribute.value)) for attribute in attributes}


def plain(value):
    return value if isinstance(value, (str, int, float, bool)) else str(value)


def line(span: Span, resource: dict, scope: str) -> str:
    return json.dumps(
        {
            "trace": span.trace_id.hex(),
            "span": span.span_id.hex(),
            "parent": span.parent_span_id.hex(),
            "name": span.name,
            "kind": Span.SpanKind.Name(span.kind),
            "start_ns": span.start_time_unix_nano,
            "end_ns": span.end_time_unix_nano,
            "status": Status.StatusCode.Name(span.status.code),
            "status_text": span.status.message,
            "attributes": named(span.attributes),
            "events": [[event.name, named(event.attributes)] for event in span.events],
            "links": len(span.links),
            "state": span.trace_state,
            "scope": scope,
            "resource": resource,
        }
    )


def export(request: ExportTraceServiceRequest, _context) -> ExportTraceServiceResponse:
    lines = [
        line(span, named(of_resource.resource.attributes), of_scope.scope.name)
        for of_resource in request.resource_spans
        for of_scope in of_resource.scope_spans
        for span in of_scope.spans
    ]
    with writing:
        for each in lines:
            print(each)
        sys.stdout.flush()
    return ExportTraceServiceResponse()


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(4), maximum_concurrent_rpcs=64)
    handler = grpc.unary_unary_rpc_method_handler(
        export, ExportTraceServiceRequest.FromString, ExportTraceServiceResponse.SerializeToString
    )
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, {EXPORT: handler}),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    print(port, flush=True)
    server.wait_for_termination()


main()
