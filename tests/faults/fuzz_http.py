"""Damaged HTTP requests in great number: `python -m tests.faults.fuzz_http --requests 100000`.

Valid requests of every kind are changed in their bytes, headers, lengths, chunks, compression and
JSON structure. Every answer must be a good one, or an error in its proper form; no 5xx but those
that a row of the list of faults names: 503 for a model that is not there to answer (27, 28, 35)
and 504 for a deadline (33).
"""

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Callable
from random import Random

import httptools

from tests.faults import fuzz
from tests.faults.answers import told_nothing
from tests.faults.fuzz import Finding, Report
from tests.faults.fuzz_seeds import SEEDS, Seed
from tests.faults.mutate import INTERESTING, changed_document, damaged
from tests.faults.server import InferencePlane
from tests.faults.wire import Answer, Connection, NoAnswer, request

ALLOWED_5XX = (503, 504)

Mutator = Callable[[Seed, Random], bytes]

_METHODS = ("GET", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "post", "X", "POST ")
_LENGTHS = ("0", "-1", "1", "00012", "+5", "0x10", "99999999999999999999", "a", "", "12, 12")
_HEADERS = (
    *("content-type", "content-encoding", "accept-encoding", "x-request-id", "host", "accept"),
    *("inference-header-content-length", "content-length", "transfer-encoding", "expect", "cookie"),
)


def _any_bytes(seed: Seed, random: Random) -> bytes:
    return damaged(seed.request(), random)


def _head_bytes(seed: Seed, random: Random) -> bytes:
    head, _, body = seed.request().partition(b"\r\n\r\n")
    return damaged(head, random) + b"\r\n\r\n" + body


def _body_bytes(seed: Seed, random: Random) -> bytes:
    """The length fits what is sent: the damage reaches whoever reads the body."""
    return seed.request(body=damaged(seed.body, random))


def _json(seed: Seed, random: Random) -> bytes:
    length = int(seed.headers.get("inference-header-content-length", len(seed.body)))
    try:
        document = json.loads(seed.body[:length])
    except ValueError:
        return _body_bytes(seed, random)
    text = json.dumps(changed_document(document, random)).encode()
    headers = dict(seed.headers)
    if length != len(seed.body):
        headers["inference-header-content-length"] = str(len(text))
    return seed.request(body=text + seed.body[length:], headers=headers)


def _compressed(seed: Seed, random: Random) -> bytes:
    pack = random.choice((gzip.compress, zlib.compress))
    body = pack(seed.body)
    for _ in range(random.randrange(3)):
        body = damaged(body, random)
    name = random.choice(("gzip", "deflate", "x-gzip", "br", "gzip, gzip", "identity", ""))
    return seed.request(body=body, headers={**seed.headers, "content-encoding": name})


def _header(seed: Seed, random: Random) -> bytes:
    value = random.choice((*_LENGTHS, *(b.decode("latin-1") for b in INTERESTING)))
    headers = {**seed.headers, random.choice(_HEADERS): value.replace("\r\n", " ")}
    return seed.request(headers=headers)


def _target(seed: Seed, random: Random) -> bytes:
    target = damaged(seed.target.encode(), random).replace(b" ", b"%20").replace(b"\n", b"%0a")
    return request(seed.method, target, seed.body, seed.headers)


def _method(seed: Seed, random: Random) -> bytes:
    return request(random.choice(_METHODS), seed.target, seed.body, seed.headers)


def _chunked(seed: Seed, random: Random) -> bytes:
    pieces = []
    rest = seed.body
    while rest:
        size = random.randint(1, max(1, len(rest)))
        pieces.append(b"%x\r\n%s\r\n" % (size, rest[:size]))
        rest = rest[size:]
    body = b"".join([*pieces, b"0\r\n\r\n"])
    if random.random() < 0.7:
        body = damaged(body, random)
    headers = {**seed.headers, "transfer-encoding": "chunked"}
    plain = request(seed.method, seed.target, body, headers)
    return plain if random.random() < 0.1 else _without_length(plain)


def _without_length(data: bytes) -> bytes:
    head, separator, body = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"content-length")]
    return b"\r\n".join(lines) + separator + body


def _untouched(seed: Seed, _: Random) -> bytes:
    return seed.request()


MUTATORS: tuple[Mutator, ...] = (
    *(_any_bytes, _head_bytes, _body_bytes, _body_bytes, _json, _json, _json, _json),
    *(_compressed, _header, _target, _method, _chunked, _untouched),
)


def mutated(random: Random) -> bytes:
    return random.choice(MUTATORS)(random.choice(SEEDS), random)


class _Parsed:
    """What uvicorn's own parser makes of bytes: whether an answer can be expected at all."""

    def __init__(self, data: bytes) -> None:
        self.complete = False
        self.wrong = False
        parser = httptools.HttpRequestParser(self)
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.complete = True
        except httptools.HttpParserError:
            self.wrong = True
        self.method = parser.get_method().decode() if self.complete else "GET"

    def on_message_complete(self) -> None:
        self.complete = True


def run(plane: InferencePlane, start: int, count: int, seed: int) -> Report:
    report = Report(Counter(), [])
    for index, random in fuzz.counted(plane, report, fuzz.numbered(start, count, seed)):
        data = mutated(random)
        parsed = _Parsed(data)
        with Connection(plane.port) as connection:
            if not parsed.complete and not parsed.wrong:
                connection.socket.sendall(data)  # and leave, since it would wait for the rest
                report.answers["left"] += 1
                continue
            try:
                answer = connection.exchange(data, method=parsed.method)
            except NoAnswer as error:
                report.findings.append(Finding(index, data, str(error)))
                continue
        report.answers[str(answer.status)] += 1
        problem = problem_of(answer, parsed.method)
        if problem:
            report.findings.append(Finding(index, data, problem))
    return report


def problem_of(answer: Answer, method: str) -> str:
    """What is wrong with an answer; nothing if it is as it may be."""
    if answer.status != 200 and not 400 <= answer.status < 500 and answer.status not in ALLOWED_5XX:
        return f"{answer.status} {answer.body[:300]!r}"
    if answer.status == 200 or method == "HEAD":
        return ""
    try:
        text = answer.body.decode()
        document = json.loads(text)
        told_nothing(text)
    except (ValueError, AssertionError) as error:
        return f"{answer.status} {error}: {answer.body[:300]!r}"
    if answer.status == 503 and document.get("ready") is False:
        return ""  # readiness is an answer, not an error: some models of the server never are
    kind = answer.headers.get("content-type")
    if kind == "application/json" and set(document) == {"error"}:
        return ""
    if kind == "application/problem+json" and document["status"] == answer.status:
        return "" if document["error"] else "an error without a text"
    return f"{answer.status} {kind} {answer.body[:300]!r}"


if __name__ == "__main__":
    fuzz.main(run)
