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
    assert "The law was not fitted to such a " in " ".join(ran.out.split())
    document = sizer(*asked, "--top", "4", "--json").json
    assert document["schema"] == "sizer.solve/1"
    assert [law["loss_above"] for law in document["law"]] == sorted(
        law["loss_above"] for law in document["law"]
    )
    assert document["law"][0] == {
        "loss_above": 0.0,
        "low": 0.0,
        "high": 0.0,
        "outside": ["width", "bits_x_size"],
    }
    assert all(sized["weights"]["file_bytes"] <= 8_000_000 for sized in document["estimates"])
    plain = sizer(*asked[:-2], "--top", "4", "--json").json
    assert "law" not in plain
    refused = sizer("solve", "--max-size", "8MB", "--rank", "size")
    assert (refused.code, refused.err) == (2, "error: unknown rank 'size'; known: law, parameters\n")
