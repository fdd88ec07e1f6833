"""What all tests share: the real servers and databases. Doubles are in `fakes.py`, records in `factories.py`."""

pytest_plugins = ["tests.servers", "tests.databases"]
