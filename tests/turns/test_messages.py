"""Messages arrive whole and in order, whatever the pieces are that the stream comes in."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import msgspec
import pytest

from pytest_crucible.turns.messages import (
    Began,
    Case,
    Channel,
    Done,
    End,
    FromSession,
    Over,
    Ready,
    Run,
    ToSession,
)

CASE = Case("e", "default", "test_a.py::test[ü]", 1, "test_a.py::test[ü]", "hash")
Ends = tuple[Channel[FromSession], Channel[ToSession], socket.socket]


@pytest.fixture
def ends() -> Iterator[Ends]:
    """The end of the command, that of a session, and its socket."""
    ours, theirs = socket.socketpair()
    command: Channel[FromSession] = Channel(ours, FromSession)  # type: ignore[arg-type]
    session: Channel[ToSession] = Channel(theirs, ToSession)  # type: ignore[arg-type]
    yield command, session, theirs
    command.close()
    session.close()


def test_messages_arrive_in_order(ends: Ends) -> None:
    command, session, _ = ends
    said = [Began("/runs/1"), Ready([CASE], 3, {"os": "/lib/os.py"}), Done(), Done("-x"), Over({})]
    for message in said:
        session.send(message)
    assert [command.receive() for _ in said] == said
    orders: list[ToSession] = [Run(0, None), Run(1, 0), End()]
    for order in orders:
        command.send(order)
    assert [session.receive() for _ in orders] == orders


def test_a_message_in_pieces_is_one_message(ends: Ends) -> None:
    command, _, theirs = ends
    for piece in (b'{"type":', b'"Done"', b'}\n{"type":"Done","sto'):
        theirs.sendall(piece)
    assert command.receive() == Done()
    with pytest.raises(TimeoutError):
        command.receive(0.01)
    theirs.sendall(b'pped":"x"}\n')
    assert command.receive(10) == Done("x")


def test_what_was_sent_before_the_end_still_arrives(ends: Ends) -> None:
    command, session, _ = ends
    command.send(End())
    command.finish()
    assert session.receive() == End()
    with pytest.raises(EOFError):
        session.receive()
    session.send(Done())  # the other direction is open
    assert command.receive() == Done()
    command.close()
    command.finish()  # nobody is there any more
    with pytest.raises(OSError, match="Broken pipe"):
        session.send(Done())


def test_a_reset_is_an_end(monkeypatch: pytest.MonkeyPatch, ends: Ends) -> None:
    """Of a process that dies with unread messages."""
    command, session, _ = ends
    command.send(End())
    session.close()
    with pytest.raises(EOFError):
        command.receive()


def test_other_things_are_no_messages(ends: Ends) -> None:
    command, _, theirs = ends
    theirs.sendall(b"hello\n")
    with pytest.raises(msgspec.DecodeError):
        command.receive()
