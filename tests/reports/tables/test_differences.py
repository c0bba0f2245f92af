"""Two models side by side: what differs is marked, by how much stands beside it, parts sum to totals."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reports.figures.compare import pair_figure, pair_infos
from reports.tables.differences import NO_CHANGE, Difference, differences
from sizer.devices.catalogue import device
from sizer.model_estimate import Estimate, estimate
from sizer.registry import model


def sized(name: str, *, on: str | None = "raspberry-pi-5") -> Estimate:
    return estimate(
        architecture=model(name).architecture,
        format="Q4_K_M",
        device=device(on) if on else None,
    )


@pytest.fixture(scope="module")
def lines() -> dict[str, dict[str, Difference]]:
    """Lines by title and label, of two models."""
    parts = differences(sized("SmolLM2-135M"), sized("Qwen3-0.6B"))
    return {part.title: {line.label: line for line in part.lines} for part in parts}


def test_fields_that_differ_are_marked(lines: dict[str, dict[str, Difference]]) -> None:
    fields = lines["Architecture"]
    # SmolLM2-135M: 30 x 576, 9 heads of 64; Qwen3-0.6B: 28 x 1024, 16 heads of 128 (their config.json)
    assert fields["num_layers"] == Difference("num_layers", "30", "28", "−2", "−6.7 %")
    assert fields["hidden_size"] == Difference("hidden_size", "576", "1,024", "+448", "+77.8 %")
    assert fields["head_dim"].percent == "+100.0 %"
    assert fields["tie_embeddings"] == Difference("tie_embeddings", "yes", "yes", NO_CHANGE, "")
    assert not fields["sharing strategy"].differs
    assert fields["num_layers"].differs
    assert "name" not in fields


def test_parts_and_totals(lines: dict[str, dict[str, Difference]]) -> None:
    one, other = sized("SmolLM2-135M"), sized("Qwen3-0.6B")
    total = lines["Parameters"]["total"]
    ratio = other.parameters.total / one.parameters.total - 1
    assert total.percent == f"{ratio:+.1%}".replace("%", " %")
    assert list(lines["Parameters"])[-1] == list(lines["File"])[-1] == list(lines["Memory"])[-1] == "total"
    assert lines["Memory"][
        "total"
    ].percent == f"{other.memory.total_bytes / one.memory.total_bytes - 1:+.1%}".replace("%", " %")
    decode = lines["Speed and energy"]["decode, tokens/s"]
    assert decode.change.startswith("−")
    assert "(" in decode.first  # with its range


def test_a_part_that_only_one_has() -> None:
    one = sized("SmolLM2-135M")
    other = estimate(architecture=one.architecture, format="F16", device=one.device)
    file = {line.label: line for line in differences(one, other)[2].lines}
    assert file["Q4_K"].second == "0 B"
    assert file["Q4_K"].percent == "−100.0 %"
    assert file["F16"].first == "0 B"
    assert file["F16"].percent == ""  # of nothing there is no share


def test_of_one_and_the_same_nothing_differs() -> None:
    one = sized("SmolLM2-135M")
    assert not any(line.differs for part in differences(one, one) for line in part.lines)


def test_without_a_device_there_is_no_speed() -> None:
    one, other = sized("SmolLM2-135M", on=None), sized("Qwen3-0.6B")
    assert differences(one, one)[4].lines == ()
    mixed = differences(one, other)[4].lines
    assert all(line.first == "-" and line.change == "differs" for line in mixed)


def test_pairs_of_bars_hold_both_models_parts() -> None:
    one, other = sized("SmolLM2-135M"), sized("Qwen3-0.6B")
    for info, totals in zip(
        pair_infos(one, other),
        (
            (one.parameters.total, other.parameters.total),
            (one.file.total, other.file.total),
            (one.memory.total_bytes, other.memory.total_bytes),
        ),
        strict=True,
    ):
        assert (sum(info.values[0]), sum(info.values[1])) == totals
        figure = pair_figure(info)
        assert [trace.name for trace in figure.data] == ["SmolLM2-135M", "Qwen3-0.6B"]
        assert max(max(values) for values in info.values) < info.axis_end


def test_names_are_escaped_shortened_and_told_apart() -> None:
    one = sized("SmolLM2-135M")
    named = replace(one, shape=replace(one.architecture, name="<script>alert(1)</script>" * 3))
    names = pair_infos(named, named)[0].names
    assert "<" not in names[0]
    assert len(names[0]) < 60
    assert names[0] != names[1]
