"""Celery tasks: a few lines each, around a use case of `pipeline`."""
