"""The processes of Lenswatch: doors, consumer, Celery workers, HTTP service and command line, around `pipeline`."""
