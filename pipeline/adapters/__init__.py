"""Implementations of `ports.py` over real servers and programs. Vendor errors become ours here."""
