"""What a reader must know before believing a frontier: what was done, in figures, and what was not."""

from __future__ import annotations

from reports.text.scaled_proxies import proxy_notes
from reports.text.trust import trust_line
from search.analysis.ranking import RankedBy, ranking
from search.analysis.ties import comparisons
from search.store.results import SearchResult, TrialRecord, TrialStatus
from sizer.units import format_count


def trust_notes(result: SearchResult) -> tuple[str, ...]:
    """Return sentences on how far the ranking can be trusted, each from what the study holds."""
    trained = result.trained
    if not trained:
        return ("No model has a score yet, so there is no order to trust.",)
    return (
        _training(trained),
        *proxy_notes(result),
        "Scores are of the weights after rounding them to the format named, not of the weights as trained.",
        "A short run ranks models early. Deep, thin models can be behind at first and ahead at the end, so "
        "between shapes of different depth the early order can have the wrong sign.",
        f"Short runs against longer ones of this study: {trust_line(result)}.",
        _seeds(trained),
        _ties(result),
        *_not_scored(result),
        *_speed(trained),
    )


def _training(trained: tuple[TrialRecord, ...]) -> str:
    steps = sorted({r.proxy.steps for r in trained if r.proxy})
    tokens = sorted({r.proxy.trained_tokens for r in trained if r.proxy})
    return (
        f"{len(trained)} {'model was' if len(trained) == 1 else 'models were'} trained for "
        f"{_span([f'{s:,}' for s in steps])} steps, {_span([format_count(t) for t in tokens])} tokens each."
    )


def _span(texts: list[str]) -> str:
    return texts[0] if texts[0] == texts[-1] else f"{texts[0]} to {texts[-1]}"


def _seeds(trained: tuple[TrialRecord, ...]) -> str:
    repeated = sum(r.proxy is not None and r.proxy.seeds > 1 for r in trained)
    if repeated:
        return (
            f"{repeated} of the models were trained with more than one seed, those that were tied with a "
            "neighbour; their score is the mean and its ± includes the spread over seeds. The ± of the "
            "others is the standard error over the validation chunks alone."
        )
    seeds = sorted({r.proxy.seed for r in trained if r.proxy})
    which = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return (
        f"Every model was trained once ({which}). The ± is the standard error over the validation chunks; "
        "how much a score moves from seed to seed was not measured."
    )


def _ties(result: SearchResult) -> str:
    if ranking(result).by is RankedBy.CARRIED_OVER:
        return (
            "How surely neighbours on the frontier differ is not known: the law's ranges are of one model "
            "each, and no models are marked as tied."
        )
    found = comparisons(result)
    neighbours = [c for c in found if c.on_front]
    if not neighbours:
        return "The frontier has one model, so no two of its models can be compared."
    tied = sum(c.tied for c in neighbours)
    paired = all(c.paired for c in neighbours)
    how = "paired chunk by chunk of the same text" if paired else "taken as independent"
    near = sum(not c.on_front for c in found)
    near_front = (
        f" {near} dominated {'model ties' if near == 1 else 'models tie'} with the frontier." if near else ""
    )
    pairs = "pair" if len(neighbours) == 1 else "pairs"
    if not tied:
        return (
            f"The {len(neighbours)} {pairs} of neighbours on the frontier all differ by two standard errors "
            f"or more ({how}): no ties.{near_front}"
        )
    return (
        f"{tied} of {len(neighbours)} {pairs} of neighbours on the frontier differ by less than two "
        f"standard errors ({how}): treat those as ties.{near_front}"
    )


def _not_scored(result: SearchResult) -> tuple[str, ...]:
    own = [record.status for record in result.records if record.repeats is None]
    diverged, failed = own.count(TrialStatus.DIVERGED), own.count(TrialStatus.FAILED)
    notes = []
    if diverged:
        notes.append(
            f"{_trials(diverged)} diverged: the training failed, which does not mean that the shape is bad."
        )
    if failed:
        notes.append(f"{_trials(failed)} failed for reasons outside the model: no score.")
    if len(result.trained) + diverged + failed < result.trials_requested:
        notes.append(f"The study is not finished: {result.trials_requested} trials were requested.")
    return tuple(notes)


def _trials(number: int) -> str:
    return "1 trial" if number == 1 else f"{number} trials"


def _speed(trained: tuple[TrialRecord, ...]) -> tuple[str, ...]:
    bases = sorted({r.decode_tokens_per_s.basis.label for r in trained if r.decode_tokens_per_s})
    if not bases:
        return ("No device was given, so no speed was predicted.",)
    return (
        f"Speeds are predicted ({', '.join(bases)}), not measured on these models; ranges are 80 % ranges.",
    )
