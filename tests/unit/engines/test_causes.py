"""Whose fault a failed start is, by the real errors of vLLM, transformers, huggingface_hub and torch."""

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx2 as httpx
import pytest
import torch
from huggingface_hub.errors import (
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
)

from rank1_batch.engines.causes import explain_start, find_root
from rank1_batch.errors import ReplicaError, SettingsError
from tests.support.paths import ROOT

CORE_FAILED = RuntimeError("Engine core initialization failed. See root cause above. Failed core proc(s): {}")
"""vllm/v1/engine/utils.py"""

WORKER_FAILED = (
    "Exception: WorkerProc initialization failed due to an exception in a background process. "
    "See stack trace for root cause."
)
"""vllm/v1/executor/multiproc_executor.py"""

HUB_IS_AWAY = (
    "We couldn't connect to 'https://huggingface.co' to load the files, and couldn't find them in the cached files.\n"
    "Check your internet connection or see how to run the library in offline mode at …"
)
"""transformers/utils/hub.py"""


def chain(*errors: Exception) -> Exception:
    """The first error, raised from the second, which was raised from the third."""
    for error, cause in itertools.pairwise(errors):
        error.__cause__ = cause
    return errors[0]


def answer(status: int) -> httpx.Response:
    return httpx.Response(status, request=httpx.Request("GET", "https://huggingface.co/api/models/x"))


SETTINGS: dict[str, Callable[[], Exception]] = {
    "a misspelt option": lambda: TypeError("AsyncEngineArgs.__init__() got an unexpected keyword argument 'enforce'"),
    "a length that the model has not": lambda: ValueError(
        "1 validation error for ModelConfig\n  Value error, User-specified max_model_len (100000) is greater than the "
        "derived max_model_len (max_position_embeddings=2048.0 or model_max_length=None in model's config.json)."
    ),
    "a name that the hub does not know": lambda: chain(
        OSError("no/such is not a local folder and is not a valid model identifier listed on 'https://hf.co/models'"),
        RepositoryNotFoundError("404 Client Error. Repository Not Found", response=answer(404)),
        httpx.HTTPStatusError("Client error '404 Not Found'", request=answer(404).request, response=answer(404)),
    ),
    "a folder without a configuration": lambda: OSError("/x does not appear to have a file named config.json."),
    "a kind of quantisation that the machine has not": lambda: NotImplementedError("awq is not supported on CPU"),
}

TROUBLE: dict[str, Callable[[], Exception]] = {
    "no network": lambda: chain(
        ValueError("Invalid repository ID or local directory specified: 'x'.\nPlease verify …"),
        OSError(HUB_IS_AWAY),
        LocalEntryNotFoundError("An error happened while trying to locate the file on the Hub and we cannot find it"),
        httpx.ConnectError("[Errno -2] Name or service not known"),
    ),
    "a hub that is down": lambda: chain(
        OSError("There was a specific connection error when trying to load x:\n503 Server Error"),
        HfHubHTTPError("503 Server Error: Service Unavailable", response=answer(503)),
    ),
    "a hub that is asked too often": lambda: HfHubHTTPError(
        "429 Client Error: Too Many Requests", response=answer(429)
    ),
    "a hub that is too slow": lambda: httpx.ReadTimeout("The read operation timed out"),
    "a node that is offline": lambda: OfflineModeIsEnabled("Cannot reach https://huggingface.co: offline mode is on."),
    "a full disk": lambda: OSError(28, os.strerror(28), "models/x"),
    "no memory of the GPU": lambda: torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
    "a broken GPU": lambda: RuntimeError("CUDA error: an illegal memory access was encountered"),
    "a GPU that others use": lambda: ValueError(
        "Free memory on device cuda:0 (3.1/79.2 GiB) on startup is less than desired GPU memory utilization "
        "(0.9, 71.3 GiB). Decrease GPU memory utilization or reduce GPU memory used by other processes."
    ),
    "a machine with other work in its memory": lambda: ValueError(
        "Available memory on node 0 (19.21/21.84 GiB) on startup is less than desired CPU memory utilization "
        "(0.92, 20.09 GiB)."
    ),
    "a driver that is too old": lambda: RuntimeError("The NVIDIA driver on your system is too old: NVML mismatch"),
}


@pytest.mark.parametrize("name", SETTINGS)
def test_a_fault_of_the_settings_is_the_settings(name: str) -> None:
    error = explain_start("org/model", SETTINGS[name](), "")
    assert isinstance(error, SettingsError)
    assert "org/model: vLLM cannot load it with these settings" in str(error)


@pytest.mark.parametrize("name", TROUBLE)
def test_network_hub_disk_and_gpu_are_no_fault_of_the_settings(name: str) -> None:
    error = explain_start("org/model", TROUBLE[name](), "")
    assert isinstance(error, ReplicaError)
    assert "org/model: vLLM could not start on this machine" in str(error)


def test_an_error_is_told_with_its_root() -> None:
    told = str(explain_start("org/model", TROUBLE["no network"](), ""))
    assert "Invalid repository ID" in told
    assert "caused by ConnectError: [Errno -2] Name or service not known" in told


LOGS = {
    "RuntimeError: Cannot find any model weights with `/model`": SettingsError,
    "ValueError: To serve at least one request with the model's max seq len (4096), (1.5 GiB KV cache is needed, which "
    "is larger than the available KV cache memory (0.5 GiB).": SettingsError,
    "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.": ReplicaError,
    "OSError: [Errno 28] No space left on device": ReplicaError,
    "huggingface_hub.errors.LocalEntryNotFoundError: An error happened while trying to locate the file": ReplicaError,
}


@pytest.mark.parametrize("root", LOGS)
def test_the_cause_is_read_from_the_log_where_vllm_names_none(root: str) -> None:
    """As vLLM 0.32 wrote it for a folder without weights: a worker's traceback, and the engine's about the worker."""
    worker = "(Worker pid=158) ERROR 11-24 14:29:27 [multiproc_executor.py:953]"
    core = "(EngineCore pid=148) ERROR 11-24 14:29:32 [core.py:1510]"
    printed = "\n".join(
        [
            "(EngineCore pid=148) INFO 11-24 14:28:29 [core.py:133] Initializing a V1 LLM engine (v0.32.0)",
            f"{worker} WorkerProc failed to start.",
            f"{worker} Traceback (most recent call last):",
            f'{worker}   File "default_loader.py", line 259, in _prepare_weights',
            f"{worker}     raise RuntimeError(",
            f"{worker} {root}",
            f"{core} EngineCore failed to start.",
            f"{core} {WORKER_FAILED}",
            "Process EngineCore:",
            WORKER_FAILED,
        ]
    )
    error = explain_start("/model", CORE_FAILED, printed)
    kind, _, text = root.partition(": ")
    assert str(error).endswith(f"{kind.rpartition('.')[2]}: {text}")
    assert isinstance(error, LOGS[root])


def test_a_log_without_an_error_leaves_what_vllm_says() -> None:
    assert find_root("INFO all is well\n") is None
    error = explain_start("/model", CORE_FAILED, "")
    assert isinstance(error, ReplicaError)
    assert "Engine core initialization failed" in str(error)


def test_output_is_what_processes_write_meanwhile_into_the_files_of_stdout_and_stderr(tmp_path: Path) -> None:
    code = (
        "import os, subprocess, sys\n"
        "from rank1_batch.engines.causes import find_root, watch_output\n"
        "print('ValueError: before', flush=True)\n"
        "with watch_output() as output:\n"
        "    subprocess.run([sys.executable, '-c', 'raise OSError(\"in a child\")'])\n"
        "    os.write(1, str(find_root(output.read())).encode())\n"
    )
    with (tmp_path / "out").open("w") as out, (tmp_path / "err").open("w") as err:
        subprocess.run([sys.executable, "-c", code], stdout=out, stderr=err, cwd=ROOT, check=True)
    assert (tmp_path / "out").read_text() == "ValueError: before\nOSError: in a child"
