"""The HTTP service: doors for events, answers, the review queue, dead letters, health and metrics."""
