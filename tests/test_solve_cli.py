"""`sizer solve --rank law`: shapes of a budget by the loss that published models let expect."""

from __future__ import annotations

from typing import Any


def test_solve_ranks_by_the_law(sizer: Any) -> None:
    asked = (
        "solve",
        "--device",
        "raspberry-pi-5",
        "--max-size",
        "8MB",
        "--vocab-size",
        "2048",
        "--rank",
        "law",
    )
    ran = sizer(*asked, "--top", "4")
    assert ran.code == 0
    assert "the lowest" in ran.out
    assert "Extrapolated" not in ran.out
    tiny = sizer("solve", "--max-size", "200KB", "--vocab-size", "256", "--rank", "law")
    assert "Extrapolated in: weights outside the embedding" in " ".join(tiny.out.split())
    document = sizer(*asked, "--top", "4", "--json").json
    assert document["schema"] == "sizer.solve/1"
    assert [law["loss_above"] for law in document["law"]] == sorted(
        law["loss_above"] for law in document["law"]
    )
    assert document["law"][0] == {
        "loss_above": 0.0,
        "low": 0.0,
        "high": 0.0,
        "outside": [],
    }
    assert all(sized["weights"]["file_bytes"] <= 8_000_000 for sized in document["estimates"])
    plain = sizer(*asked[:-2], "--top", "4", "--json").json
    assert "law" not in plain
    refused = sizer("solve", "--max-size", "8MB", "--rank", "size")
    assert (refused.code, refused.err) == (2, "error: unknown rank 'size'; known: law, parameters, quality\n")


def test_solve_ranks_by_quality_after_training(sizer: Any) -> None:
    asked = ("solve", "--max-size", "60MB", "--rank", "quality", "--top", "3")
    ran = sizer(*asked)
    assert ran.code == 0
    assert "20 tokens a weight" in ran.out
    assert "1T tokens" in ran.out
    document = sizer(*asked, "--json").json
    at_20, at_1t = zip(*document["quality"], strict=True)
    assert [q["tokens"] for q in at_1t] == [10**12] * 3
    assert [q["tokens"] for q in at_20] == [20 * e["parameters"]["total"] for e in document["estimates"]]
    losses = [law["loss_above"] for law in document["law"]]
    assert losses == sorted(losses)
    values = [q["accuracy_8"]["value"] for q in at_1t]
    assert values == sorted(values, reverse=True)
    one = sizer(*asked, "--tokens", "300B", "--corpus", "fineweb-edu", "--json").json
    assert [len(row) for row in one["quality"]] == [1, 1, 1]
    assert one["quality"][0][0]["corpus"] == "fineweb-edu"
    refused = sizer("solve", "--max-size", "60MB", "--tokens", "1T")
    assert (refused.code, refused.err) == (
        2,
        "error: tokens: is about training; accepted with --rank quality\n",
    )
