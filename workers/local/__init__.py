"""The whole of Lenswatch's surroundings on one machine: real Postgres, Redis, S3 and Triton, started from wheels.

`guard` -> `processes` -> `server` -> `postgres | redis | s3 | triton` -> `stack`; nothing here is used in production.
"""
