"""Who must keep the contracts.

To add an engine: a function that yields it running, named in ENGINES. A store: one that yields its place, named in
tests/support/stores.py.
"""

import asyncio
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest

from rank1_batch.engines.scripted import ScriptedEngine
from rank1_batch.storage.store import Store, open_store
from tests.contracts.test_engine_contract import Running
from tests.support.stores import PLACES, Place


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


@pytest.fixture(scope="module", params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that runs, or a folder."""
    with PLACES[request.param](tmp_path_factory.mktemp("store")) as running:
        yield running


@pytest.fixture
def store(place: Place) -> Store:
    """An empty folder at the place."""
    return open_store(f"{place.url}/{uuid.uuid4().hex}")
