"""The stages of a job: plan, judge (streamed by Ray Data), rank, finish."""
