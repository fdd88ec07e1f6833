"""Nightly retraining: choose verified photographs, fit and calibrate, gate, publish as challenger, perhaps promote.

`run.py` is the flow; `select.py` and `gate.py` are pure; `fit.py` is the only user of scikit-learn.
"""
