"""The admin port's 404: what lies on another port says so."""

from __future__ import annotations

_DATA = ("/v2", "/v1", "/predict", "/predictions", "/invocations", "/inference.")
_HEALTH = ("/health", "/healthz", "/livez", "/readyz")


def not_found(path: str, http_port: int) -> str:
    """``http_port`` 0: which one it became is not known here."""
    where = f"the HTTP port, {http_port}" if http_port else "the HTTP port"
    if path.startswith(_DATA):
        return f"Not Found: this is the admin port; models answer on {where}"
    if path.startswith(_HEALTH):
        return "Not Found: health is GET /v2/health/live and /v2/health/ready"
    return "Not Found: GET / and /api/openapi.json say what is here"
