"""Ports for servers that start side by side."""

import socket

import pytest

from workers.local import processes
from workers.local.processes import LOOPBACK, ProcessFailed, free_port


@pytest.fixture
def three_ports(monkeypatch):
    monkeypatch.setattr(processes, "LOCAL_PORTS", range(19_990, 19_993))
    monkeypatch.setattr(processes, "_given", set())
    return {19_990, 19_991, 19_992}


def test_no_port_is_given_twice(three_ports):
    assert {free_port() for _ in three_ports} == three_ports
    with pytest.raises(ProcessFailed):
        free_port()


def test_a_port_in_use_is_not_given(three_ports):
    with socket.socket() as other:
        other.bind((LOOPBACK, 19_991))
        assert {free_port(), free_port()} == {19_990, 19_992}
