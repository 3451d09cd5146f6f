"""An S3 server with faults: a proxy in front of a real one that answers a seeded share of requests badly.

Clients sign requests for the proxy's host, and the server behind it sees that same host: signatures hold.
"""

import asyncio
import contextlib
import random
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

SLOW_DOWN = (503, "SlowDown", "Please reduce your request rate.")
EXPIRED = (403, "ExpiredToken", "The provided token has expired.")
FAULTS = ("slow_down", "hang", "reset", "cut", "delay")
HOP_HEADERS = {"connection", "keep-alive", "transfer-encoding", "expect", "te", "upgrade"}
"""Headers that belong to one connection, and are not passed on."""
LARGEST_BODY = 1 << 30

T = TypeVar("T")


class Faults(NamedTuple):
    """Which share of the requests (0 to 1) meets a fault, of these kinds; how long delays and hung requests take."""

    share: float = 0.1
    seed: int = 1
    kinds: tuple[str, ...] = FAULTS
    delay_s: float = 2.0
    hang_s: float = 60.0


class Proxy:
    """A running proxy. `faults` may be replaced at any time; `counts` counts requests, and faults by their kind."""

    def __init__(self, upstream: str, faults: Faults) -> None:
        self.faults, self.counts = faults, Counter[str]()
        self.refuses = False
        """While true, every request is answered with 403 ExpiredToken."""
        self._upstream = upstream
        self._chance = random.Random(faults.seed)
        self._port = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)

    @property
    def url(self) -> str:
        """Where clients find it: the same port also after it was away."""
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()
        self._wait(self._start())

    def stop(self) -> None:
        """End for good."""
        self._wait(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def go_away(self) -> None:
        """Refuse connections from now on, and cut those that are open."""
        self._wait(self._go_away())

    def come_back(self) -> None:
        """Accept connections again."""
        self._wait(self._listen())

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _start(self) -> None:
        self._client = aiohttp.ClientSession(
            auto_decompress=False,
            connector=aiohttp.TCPConnector(force_close=True, limit=0),
            skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding", "Content-Type"),
        )
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, auto_decompress=False, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await self._listen()

    async def _listen(self) -> None:
        self._site = web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True)
        await self._site.start()
        self._port = self._port or int(self._runner.addresses[0][1])

    async def _go_away(self) -> None:
        await self._site.stop()
        for connection in list(self._runner.server.connections if self._runner.server else ()):
            if connection.transport is not None:
                connection.transport.abort()

    async def _stop(self) -> None:
        await self._runner.cleanup()
        await self._client.close()
        left = asyncio.all_tasks() - {asyncio.current_task()}  # requests that hang, by their fault
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        self.counts["requests"] += 1
        if self.refuses:
            return _s3_error(*EXPIRED)
        fault = self._draw_fault()
        self.counts[fault] += 1
        match fault:
            case "slow_down":
                return _s3_error(*SLOW_DOWN)
            case "hang":
                # This wait is the fault itself.
                await asyncio.sleep(self.faults.hang_s)
                return _abort(request)
            case "reset":
                return _abort(request)
            case "delay":
                # This wait is the fault itself.
                await asyncio.sleep(self.faults.delay_s)
        return await self._forward(request, cut=fault == "cut")

    def _draw_fault(self) -> str:
        if self._chance.random() >= self.faults.share:
            return "none"
        return self._chance.choice(self.faults.kinds)

    async def _forward(self, request: web.Request, *, cut: bool) -> web.StreamResponse:
        """The server's own answer; with `cut` the server has done its work, but half of the answer's body is lost."""
        headers = [(name, value) for name, value in request.headers.items() if name.lower() not in HOP_HEADERS]
        try:
            body = await request.read()
        except ConnectionError:  # the client is gone, as killed ones are
            return _abort(request)
        url = URL(self._upstream + request.raw_path, encoded=True)
        try:
            async with self._client.request(request.method, url, headers=headers, data=body or None) as answer:
                content = await answer.read()
        except aiohttp.ClientError:
            return _abort(request)
        kept = CIMultiDict((name, value) for name, value in answer.headers.items() if name.lower() not in HOP_HEADERS)
        response = web.StreamResponse(status=answer.status, headers=kept)
        if request.method != "HEAD":
            response.content_length = len(content)
        with contextlib.suppress(ConnectionError):
            await response.prepare(request)
            await response.write(content[: len(content) // 2] if cut else content)
        return _abort(request) if cut else response


@contextmanager
def run_proxy(upstream: str, faults: Faults) -> Iterator[Proxy]:
    """A proxy in front of a server, for as long as the block runs."""
    proxy = Proxy(upstream, faults)
    proxy.start()
    try:
        yield proxy
    finally:
        proxy.stop()


def _s3_error(status: int, code: str, message: str) -> web.Response:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{message}</Message></Error>'
    return web.Response(status=status, text=body, content_type="application/xml")


def _abort(request: web.Request) -> web.StreamResponse:
    """Cut the connection, so that no answer arrives."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)
