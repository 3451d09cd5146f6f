"""The charts of the first page, out of what was counted."""

from collections import Counter

from rank1_batch.jobs.report.charts import Bin, Chart, bin_counts, describe_middle, draw_histogram
from rank1_batch.jobs.report.figures import MOST_ODDS, SCORE_STEPS, Figures, choose_step
from rank1_batch.jobs.report.words import format_share

FEW_BARS = 36


def draw_charts(figures: Figures, budget: int | None) -> dict[str, Chart]:
    """The charts by name. `budget` is the most tokens of reasoning. Those of nothing are left out."""
    charts = {}
    if figures.scores:
        charts["scores"] = _draw_scores(figures)
        charts["prompts"] = _draw_tokens("Prompt length", figures.prompt_tokens, None)
    if figures.odds:
        charts["odds"] = _draw_odds(figures)
    if any(figures.trace_tokens):
        charts["traces"] = _draw_tokens("Reasoning length", figures.trace_tokens, budget)
    if figures.moves:
        charts["moves"] = _draw_moves(figures)
    return charts


def _draw_scores(figures: Figures) -> Chart:
    bins = [_describe_scores(place, figures.scores[place]) for place in range(SCORE_STEPS)]
    summary = f"{format_share(figures.labels[True], figures.labels.total())} of the judged rows are called relevant."
    return draw_histogram("Score", summary, bins, {0: "0 not relevant", 0.5: "0.5", 1: "relevant 1"})


def _describe_scores(place: int, rows: int) -> Bin:
    low, high = place / SCORE_STEPS, (place + 1) / SCORE_STEPS
    tone = "true" if 2 * place >= SCORE_STEPS else "false"
    title = f"{rows:,} rows with a score from {low:.2f} to {high:.2f}"
    return Bin(low, high, rows, title, tone, f"rows&score={low:.2f}..{high:.2f}")


def _draw_odds(figures: Figures) -> Chart:
    def describe(low: int, high: int, count: int) -> Bin:
        return Bin(low, high, count, f"{count:,} rows from {low:+d} to {high:+d}", "true" if low >= 0 else "false")

    bins = bin_counts(figures.odds, -MOST_ODDS, MOST_ODDS, 1, describe)
    ticks = {-MOST_ODDS: f"{-MOST_ODDS} or less", 0.0: "0", MOST_ODDS: f"+{MOST_ODDS} or more"}
    return draw_histogram("Log-odds of “true”", "The same as the score, where it is near 0 or 1.", bins, ticks)


def _draw_tokens(title: str, counts: Counter[int], budget: int | None) -> Chart:
    largest = max(counts)
    step = choose_step(largest, FEW_BARS)
    high = (largest // step + 1) * step
    if budget is not None and budget <= 2 * largest:
        high = max(high, -(-budget // step) * step)

    def describe(low: int, high: int, count: int) -> Bin:
        tone = "closed" if budget is not None and low <= budget < high else "plain"
        return Bin(low, high, count, f"{count:,} rows with {low:,} to {high - 1:,} tokens", tone)

    bins = bin_counts(counts, 0, max(high, step), step, describe)
    middle = describe_middle(counts)
    markers = {float(budget): f"budget {budget:,}"} if budget is not None and budget <= bins[-1].high else {}
    summary = f"Half of the rows have at most {middle['median']:,} tokens, 95 % at most {middle['p95']:,}."
    end = bins[-1].high
    ticks = {0.0: "0", end / 2: f"{end / 2:,.0f}", end: f"{end:,.0f} tokens"}
    return draw_histogram(title, summary, bins, ticks, markers)


def _draw_moves(figures: Figures) -> Chart:
    """Rows that stayed have a bar of their own in the middle."""
    step = choose_step(max(map(abs, figures.moves)), FEW_BARS // 2)
    steps: Counter[int] = Counter()
    for places, rows in figures.moves.items():
        steps[-(-abs(places) // step) * (1 if places > 0 else -1)] += rows
    reach = max(map(abs, steps))

    def describe(low: int, high: int, rows: int) -> Bin:
        if low == 0:
            return Bin(low, high, rows, f"{rows:,} rows stayed")
        tone, last = ("up", low * step) if low > 0 else ("down", -low * step)
        first = last - step + 1
        places = f"{first}" if first == last else f"{first} to {last}"
        return Bin(low, high, rows, f"{rows:,} rows moved {tone} by {places}", tone)

    bins = bin_counts(steps, -reach, reach + 1, 1, describe)
    summary = f"{format_share(figures.moves[0], figures.moved_rows)} of the rows stayed where the first stage had them."
    ticks = {float(-reach): f"down {reach * step}", 0.5: "0", float(reach + 1): f"up {reach * step}"}
    return draw_histogram("Moves against the first stage", summary, bins, ticks)
