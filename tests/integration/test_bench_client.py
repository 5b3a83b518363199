"""The bench's client and its wire, against a server of the test."""

import asyncio
import contextlib
import json

from standardwebhooks import Webhook

from infra.bench.client import Client, Job

SECRET = "whsec_" + "QUJD" * 8


async def test_the_client_signs_what_it_sends_and_tells_when_each_post_was_accepted():
    bodies: list[bytes] = []
    closed = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # Until the client closes.
        with contextlib.suppress(asyncio.IncompleteReadError):
            while True:
                await answer_one((await reader.readuntil(b"\r\n\r\n")).decode(), reader, writer)
        writer.close()
        closed.set()

    async def answer_one(head: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        headers = {name.lower(): value for name, value in (line.split(": ") for line in head.split("\r\n")[1:-2])}
        body = await reader.readexactly(int(headers["content-length"]))
        bodies.append(body)
        told = Webhook(SECRET).verify(body, headers)
        results = json.dumps({"results": [{"outcome": "accepted"} for _ in told["items"]]}).encode()
        writer.write(b"HTTP/1.1 202 Accepted\r\ncontent-length: %d\r\n\r\n%s" % (len(results), results))

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    posts = [(f"p{number}", "http://127.0.0.1/x.jpg") for number in range(6)]
    job = Job(f"http://127.0.0.1:{port}/w", SECRET, posts=posts, batch=3, connections=1, keep_times=True)
    sent = await Client(job).run()
    await asyncio.wait_for(closed.wait(), 10)
    server.close()
    await server.wait_closed()
    assert (sent.accepted, sent.statuses, sent.outcomes) == (6, {"202": 2}, {"accepted": 6})
    assert sorted(sent.accepted_at) == [post_id for post_id, _ in posts]
    assert len(bodies) == 2
