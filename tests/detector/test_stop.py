"""When a run ends before its last epoch."""

import os
import signal

from examples.detector.stop import EarlyStopping, Termination


def test_early_stopping_is_yolov5s():
    stopping = EarlyStopping(patience=3)
    fitness = [0.1, 0.2, 0.2, 0.1, 0.15, 0.3]
    assert [stopping(epoch, f) for epoch, f in enumerate(fitness)] == [False, False, False, False, True, False]
    constant = EarlyStopping(patience=100)
    assert [constant(epoch, 0.0) for epoch in range(130)].index(True) == 100
    assert EarlyStopping(3, **stopping.progress()).stops is False  # 0.3 was better
    assert EarlyStopping(100, **constant.progress()).stops  # a run that is resumed after it stopped has stopped
    assert not any(EarlyStopping(patience=0)(epoch, 0.0) for epoch in range(1000))


def test_sigterm_is_noted_within_and_handled_as_before_after():
    before = signal.getsignal(signal.SIGTERM)
    with Termination() as termination:
        assert not termination.reached(1)
        os.kill(os.getpid(), signal.SIGTERM)
        assert termination.reached(2)
    assert signal.getsignal(signal.SIGTERM) == before
