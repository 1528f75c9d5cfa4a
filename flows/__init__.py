"""Prefect flows: the same DVC stages with retries and lineage."""
