"""The log: whole lines in order, nothing lost at the end, and nobody held up by its reader."""

import io
import json
import logging
import os
import sys
import threading
import time

from denseam.guard.server import logging_as_json, logs

log = logging.getLogger("denseam.guard.server.gate")


def lines(text):
    return [json.loads(line) for line in text.splitlines()]


def test_every_line_is_there_when_the_block_has_ended(capsys):
    with logging_as_json("info"):
        for number in range(500):
            log.info("request", extra={"number": number})
            if number % 100 == 0:
                time.sleep(0.03)
    found = lines(capsys.readouterr().err)
    assert [line["number"] for line in found] == list(range(500))
    assert {line["event"] for line in found} == {"request"}


def test_the_last_line_is_not_lost_while_others_are_written(monkeypatch):
    class Slow(io.StringIO):
        writing = threading.Event()

        def write(self, text):
            self.writing.set()
            time.sleep(0.1)
            return super().write(text)

    stream = Slow()
    monkeypatch.setattr(sys, "stderr", stream)
    with logging_as_json("info"):
        log.info("first")
        assert stream.writing.wait(5)
        log.info("last")
    assert [line["event"] for line in lines(stream.getvalue())] == ["first", "last"]


def test_levels_errors_and_who_else_logs(capsys, caplog):
    with logging_as_json("warning"):
        log.info("not this")
        log.warning("this", extra={"path": object})
        try:
            int("why")
        except ValueError:
            log.exception("and this")
        logging.getLogger("uvicorn.error").info("nor that")
    first, second = lines(capsys.readouterr().err)
    assert (first["event"], first["level"]) == ("this", "warning")
    assert "ValueError: invalid" in json.dumps(second)
    assert not caplog.records  # no second copy by the root
    log.warning("outside")
    assert [record.message for record in caplog.records] == ["outside"]


def test_nobody_waits_for_a_reader_that_does_not_read(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr(logs, "_CLOSE", 0.1)
    with os.fdopen(writing, "w") as stream, os.fdopen(reading) as reader:
        monkeypatch.setattr(sys, "stderr", stream)
        with logging_as_json("info"):
            log.info("x" * 200_000)  # more than a pipe holds
            time.sleep(0.1)
            started = time.monotonic()
            for _ in range(logs._WAITING + 7):
                log.info("more")
            assert time.monotonic() - started < 2
            assert len(reader.readline()) > 200_000
            time.sleep(0.2)  # the others are written
            log.info("again")
            read = []
            for line in reader:
                read.append(json.loads(line))
                if read[-1]["event"] == "again":
                    break
    assert len(read) == logs._WAITING + 1
    assert [line.get("dropped") for line in read] == [None] * logs._WAITING + [7]


def test_a_record_that_cannot_be_told_costs_only_its_own_line(capsys):
    with logging_as_json("info"):
        log.info("first")
        log.info("wanted %d", "a number")
        log.info("half a letter", extra={"path": "\udc80"})
        log.info("last")
    first, *bad, last = lines(capsys.readouterr().err)
    assert (first["event"], last["event"]) == ("first", "last")
    assert [line["event"] for line in bad] == ["a line could not be made"] * 2
    assert "UnicodeEncodeError" in bad[1]["error"]


def test_a_stream_that_is_gone_is_passed_over(monkeypatch):
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with logging_as_json("info"):
        stream.close()
        log.info("nobody reads this")
        time.sleep(0.1)
        log.info("nor this")
