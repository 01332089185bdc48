"""Traces: spans that the core noted, sent on by OTLP."""
