"""What all tests share: the real servers. Doubles are in `fakes.py`, records in `factories.py`."""

pytest_plugins = ["tests.servers"]
