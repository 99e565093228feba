"""The first signal is an exception, later ones are nothing."""

from __future__ import annotations

import os
import signal
import threading

import pytest

from pytest_crucible.turns.interruption import Interruption, interruptible


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_raised(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    tidied = []

    def work() -> None:
        with interruptible():
            try:
                os.kill(os.getpid(), number)
            finally:
                os.kill(os.getpid(), number)  # while tidying up
                os.kill(os.getpid(), signal.SIGINT)
                tidied.append(True)

    with pytest.raises(Interruption, match=number.name) as caught:
        work()
    assert caught.value.number == number
    assert tidied == [True]
    assert signal.getsignal(number) is before


def test_what_is_ignored_stays_ignored() -> None:
    """As under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_in_another_thread_nothing_is_handled() -> None:
    ran = []

    def work() -> None:
        with interruptible():
            ran.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert ran == [signal.getsignal(signal.SIGTERM)]
