"""Paths without a trailing slash; fixed words win over parameters; a segment is whatever has no slash."""

from rest_framework.routers import SimpleRouter


class Router(SimpleRouter):
    """DRF's router for ``/executions`` and ``/executions/{id}``; ``lookup_value_converter`` defaults to any segment."""

    def __init__(self) -> None:
        super().__init__(trailing_slash=False, use_regex_path=False)
