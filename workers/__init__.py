"""The processes of Lenswatch: doors, consumer, Celery workers, HTTP service and command line, around `pipeline`."""

import os

# Before NumPy is imported. Its matrices here are small: threads of BLAS gain nothing on them, and where the cores are
# busy with other workers they wait for each other (scoring an image took 2.7 s instead of 0.06 s).
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
