"""Small things that several tests use."""

import contextlib

import grpc
import pytest


@contextlib.contextmanager
def refused(*codes, words=()):
    """The RPC inside fails with one of the codes and a message that has the words."""
    with pytest.raises(grpc.RpcError) as caught:
        yield caught
    error = caught.value
    assert error.code() in codes, f'{error.code()}: {error.details()}'
    assert error.details(), 'an error without a message'
    for word in words:
        assert word.lower() in error.details().lower(), error.details()


CODE = grpc.StatusCode
