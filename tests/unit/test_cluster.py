import inspect
import threading

import pytest

from rank1_batch.cluster import DATA_THREADS, wait_for_data_threads


@pytest.mark.parametrize("name", DATA_THREADS)
def test_ray_is_not_shut_down_while_a_thread_of_ray_data_is_at_work(name: str) -> None:
    done = threading.Event()
    thread = threading.Thread(target=done.wait, name=f"{name}-1", daemon=True)
    thread.start()
    threading.Timer(0.2, done.set).start()
    wait_for_data_threads()
    assert done.is_set()
    assert not thread.is_alive()


def test_ray_data_still_names_its_threads_so() -> None:
    """Names are no promise of Ray's: a version that changes them is found here."""
    from ray.data._internal.block_batching import util
    from ray.data._internal.execution import metadata_fetcher, streaming_executor

    for name, module in zip(DATA_THREADS, (streaming_executor, util, metadata_fetcher), strict=True):
        assert f'"{name}' in inspect.getsource(module)
