"""Keys and signatures."""

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.keys import hash_key, new_key
from workers.signature import is_valid, sign

NOW = 1_700_000_000
SECRET = "shared-between-us"


def test_a_key_is_random_and_only_its_hash_is_kept():
    first, second = new_key(), new_key()
    assert first != second
    assert len(first) == 43  # 256 bits, base64
    assert hash_key("a") == "sha256:" + hashlib.sha256(b"a").hexdigest()


def test_a_signature_is_hmac_of_timestamp_and_body():
    expected = hmac.new(b"key", b'1700000000.{"a":1}', hashlib.sha256).hexdigest()
    assert sign(b'{"a":1}', ["key"], NOW) == f"t=1700000000,v1={expected}"


@given(body=st.binary(), secrets=st.lists(st.text(min_size=1), min_size=1, max_size=3, unique=True))
def test_either_of_two_secrets_satisfies_the_receiver(body, secrets):
    header = sign(body, secrets, NOW)
    assert all(is_valid(header, body, secret, now=NOW, window=300) for secret in secrets)
    assert not is_valid(header, body + b"x", secrets[0], now=NOW, window=300)
    assert not is_valid(header, body, secrets[0] + "x", now=NOW, window=300)


@pytest.mark.parametrize(("seconds", "valid"), [(-301, False), (-300, True), (0, True), (300, True), (301, False)])
def test_a_signature_ages(seconds, valid):
    header = sign(b"body", [SECRET], NOW)
    assert is_valid(header, b"body", SECRET, now=NOW + seconds, window=300) is valid


def test_the_time_is_signed_too():
    header = sign(b"body", [SECRET], NOW)
    assert not is_valid(header.replace(f"t={NOW}", f"t={NOW + 1000}"), b"body", SECRET, now=NOW + 1000, window=300)


@given(header=st.text() | st.from_regex(r"t=[0-9]{1,20}(,v1=[0-9a-f]*){0,3}"))
def test_no_other_header_signs_anything(header):
    assert not is_valid(header, b"body", SECRET, now=NOW, window=1e12)
