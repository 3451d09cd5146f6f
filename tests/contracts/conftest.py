"""The engines that must keep the contract. To add one: a function that yields it running, named in ENGINES."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from rank1_batch.engines.scripted import ScriptedEngine
from tests.contracts.test_engine_contract import Running


@contextmanager
def run_scripted() -> Iterator[Running]:
    """The scripted engine, on a loop that runs while it is asked."""
    with asyncio.Runner() as runner:
        engine = ScriptedEngine(4096)
        yield Running(engine, runner.run)
        runner.run(engine.close())


ENGINES: dict[str, Callable[[], AbstractContextManager[Running]]] = {"scripted": run_scripted}


@pytest.fixture(scope="module", params=ENGINES)
def engine(request: pytest.FixtureRequest) -> Iterator[Running]:
    """A running engine, and how to ask it."""
    with ENGINES[request.param]() as running:
        yield running
