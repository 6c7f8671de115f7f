"""What gRPC makes of HTTP: a proxy's own answer to a gRPC request is 200, with the failure in a header."""

NAMES = (
    *("OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS"),
    *("PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED"),
    *("INTERNAL", "UNAVAILABLE", "DATA_LOSS", "UNAUTHENTICATED"),
)
"""The statuses by their numbers (gRPC, ``statuscodes.md``)."""

_OF_HTTP = {400: 13, 401: 16, 403: 7, 404: 12, 429: 14, 502: 14, 503: 14, 504: 14}


def is_grpc(content_type: str) -> bool:
    """Whether a content type is gRPC's (Envoy, ``Grpc::Common::hasGrpcContentType``)."""
    return content_type == "application/grpc" or content_type.startswith("application/grpc+")


def of_http(status: int) -> int:
    """The gRPC status that Envoy answers in place of an HTTP status (``Grpc::Utility::httpToGrpcStatus``)."""
    return _OF_HTTP.get(status, 2)


def named(status: int) -> str:
    """A status with its name, as ``14 UNAVAILABLE``."""
    return f"{status} {NAMES[status]}" if status < len(NAMES) else str(status)
