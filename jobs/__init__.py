"""What a user runs: python -m jobs.rerank, and others."""

import os

# Before anything imports Arrow: its own allocator keeps what was freed, some 40 MB of a driver's 370 over 10⁶ rows and
# 50 MB of a replica's 300. The nodes of a Ray that a job starts inherit it.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
