"""Lenswatch's library: one way through the house.

::

    UploadEvent ─ ledger ─ fetch ─ decode ┬ exif ───────┬ provenance
    (Redis)      (Postgres)  (S3)         └ patches ─ Triton ─ score ─ verdict ─ Postgres ─┬ review
                                                                                            ├ drift (monitor)
                                                                                            └ retrain

Read `moderate.py` first: it is that line in one function. `examine.py` is its middle, from bytes to a score,
which `lenswatch score` runs without any server. Everything that talks to a server is behind a protocol in
`ports.py` and is implemented in `adapters/` and `store/`. Processes live in the package `workers`.
"""
