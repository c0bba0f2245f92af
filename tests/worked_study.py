"""A study in rungs whose every score is set here, so that what is said of it can be worked out by hand."""

from __future__ import annotations

from dataclasses import replace

from search.analysis.extrapolation import Extrapolation
from search.config.config import SearchConfig
from search.quality.law import LawPrediction
from search.store.results import Candidate, ProxyResult, SearchResult, TrialRecord, TrialStatus, combined
from search.training.scaled_proxy import scaled_proxy
from sizer.architecture import Architecture
from sizer.prediction import Basis, Prediction

# Layers and bits per byte at 100, 300 and 990 steps of five models of one size; a sixth diverges.
_LADDER = (
    (2, (3.0, 2.6)),
    (4, (2.0, 1.9, 1.7)),
    (8, (4.0, 2.0)),
    (4, (2.5,)),
    (4, (2.6,)),
)


def _run(rung: int, bits: float | None) -> ProxyResult:
    complete = bits is not None
    steps = (100, 300, 990)[rung]
    return ProxyResult(
        status=TrialStatus.COMPLETE if complete else TrialStatus.DIVERGED,
        val_bits_per_byte=bits,
        val_bits_per_byte_sd=0.5 if complete else None,
        val_bits_per_byte_full=bits - 0.25 if bits is not None else None,
        num_parameters=100_000,
        steps=steps,
        trained_tokens=steps * 8 * 128,
        wall_s=steps / 100,
        seed=7,
        rung=rung,
        val_chunk_bits=(bits - 0.5, bits + 0.5) if bits is not None else (),
    )


def study_in_rungs() -> SearchResult:
    """A study whose rungs are worked out by hand: one bin of size, one of three goes on, trial 5 diverged."""
    ladder = [*_LADDER, (4, (None,))]
    records = []
    for number, (layers, scores) in enumerate(ladder):
        runs = tuple(_run(rung, bits) for rung, bits in enumerate(scores))
        shape = Architecture(
            name=f"proxy-{layers}x64",
            vocab_size=256,
            num_layers=layers,
            hidden_size=64,
            intermediate_size=160,
            num_heads=2,
            num_kv_heads=1,
            head_dim=32,
        )
        records.append(
            TrialRecord(
                number=number,
                candidate=Candidate(architecture=shape, format="Q4_0"),
                num_parameters=100_000,
                file_bytes=100_000,
                memory_bytes=2_000_000,
                decode_tokens_per_s=Prediction(
                    value=1000.0 / layers, low=800.0 / layers, high=1300.0 / layers, basis=Basis.FITTED
                ),
                proxy=combined(runs),
                runs=runs,
            )
        )
    config = SearchConfig.build(
        max_size_bytes=100_000, trials=6, steps=900, lowest_rung_steps=100, size_bins=1, seed=7, audit_pairs=0
    )
    return SearchResult(
        study="by-hand",
        device="raspberry-pi-5",
        runtime="llama.cpp",
        budget={"max_size_bytes": 100_000.0, "max_memory_bytes": None, "min_decode_tokens_per_s": None},
        corpus="builtin",
        corpus_digest="6f1c3c0d9b3a4b5e8f77d0a1c2b3d4e5",
        trials_requested=6,
        settings={"context_tokens": 2048, "seed": 7, "rungs": "100, 300, 900"},
        records=tuple(records),
        config=config,
        versions={"sizer": "0.1.0, commit abc", "python": "3.11.7", "torch": "2.13.0", "optuna": "5.0.0"},
    )


# Bits per byte of five scaled proxies, smallest file first, and what is extrapolated to their models. The
# first was stopped a rung before the others.
_PROXIES = (3.0, 2.9, 2.5, 2.6, 2.7)
_CARRIED = (2.8, 2.9, 2.7, 2.4, 2.5)
PROXIES_FRONT, CARRIED_FRONT = [1, 2], [0, 2, 3]


def study_of_proxies() -> tuple[SearchResult, Extrapolation]:
    """A study whose frontier is another by the proxies' scores than by those extrapolated, and the latter.

    Larger files are slower and here take less memory.
    """
    records = [_stood_in_for(n, 2 + n, 256 + 64 * n, bits) for n, bits in enumerate(_PROXIES)]
    early = _run(0, _PROXIES[0])
    records[0] = replace(records[0], proxy=early, runs=(early,))
    result = replace(
        study_in_rungs(),
        study="proxies",
        settings={"context_tokens": 2048, "proxy_width_scale": 0.25, "proxy_vocab_size": 256},
        records=tuple(records),
        trials_requested=len(records),
        config=None,
    )
    found = Extrapolation(
        steps=990,
        fitted_steps=300,
        proxies=5,
        predictions={n: LawPrediction(value=value, sd=0.1) for n, value in enumerate(_CARRIED)},
        agreement=0.4,
    )
    return result, found


def study_of_a_lucky_proxy() -> SearchResult:
    """Nine models of a grid, whose proxies' scores follow depth and width but for a lucky one's.

    That is trial 4, whose file is larger than that of trial 7, as deep and twice as wide.
    """
    grid = [(depth, width) for width in (256, 512, 1024) for depth in (2, 4, 8)]
    scores = [1.0 + depth**-0.5 + 8 * (width / 4) ** -0.5 for depth, width in grid]
    scores[4] = min(scores) - 0.01
    records = [
        _stood_in_for(n, *shape, bits) for n, (shape, bits) in enumerate(zip(grid, scores, strict=True))
    ]
    records[4] = replace(records[4], file_bytes=records[7].file_bytes + 1)
    return replace(study_of_proxies()[0], records=tuple(records), trials_requested=9)


def _stood_in_for(number: int, layers: int, width: int, bits: float) -> TrialRecord:
    model = Architecture(
        name=f"{layers}x{width}",
        vocab_size=1000,
        num_layers=layers,
        hidden_size=width,
        intermediate_size=2 * width,
        num_heads=width // 64,
        num_kv_heads=width // 64,
        head_dim=64,
    )
    run = replace(_run(1, bits), val_bits_per_byte_sd=0.01, val_bits_per_byte_full=bits)
    speed = 1000.0 / (1 + number)
    return TrialRecord(
        number=number,
        candidate=Candidate(architecture=model, format="Q4_0"),
        num_parameters=1_000_000 * (1 + number),
        file_bytes=100_000 * (1 + number),
        memory_bytes=9_000_000 - 500_000 * number,
        decode_tokens_per_s=Prediction(value=speed, low=0.8 * speed, high=1.3 * speed, basis=Basis.FITTED),
        proxy=run,
        runs=(run,),
        scaled=scaled_proxy(model, width_scale=0.25, vocab_size=256),
    )
