"""The description of the HTTP port's calls (OpenAPI 3.1), made of the models as they stand."""

from serving.protocols.openapi.document import Documents, document

__all__ = ["Documents", "document"]
