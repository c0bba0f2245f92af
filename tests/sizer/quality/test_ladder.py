"""The ladder: cheap runs predict dear ones, whatever columns a user has; bad input names row and column."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from sizer.errors import InvalidFile
from sizer.quality.constants import published_law
from sizer.quality.ladder import LadderPrediction, climb
from sizer.quality.law import NATS, loss, shapes
from sizer.quality.runs import COLUMNS, columns, read_runs
from tests.published_facts import csv_rows

_NAMES = {
    "layers": "num_layers",
    "width": "hidden_size",
    "ffn": "intermediate_size",
    "heads": "num_heads",
    "kv_heads": "num_kv_heads",
    "vocab": "vocab_size",
    "average": "accuracy",
}
_ANSWERS = ("loss_nats", "accuracy")


def _olmo() -> list[dict[str, str]]:
    """Return OLMo's ladder (arXiv 2412.04403) by ascending cost."""
    rows = [r for r in csv_rows("quality_tables.csv") if r["table"] == "olmo_ladder"]
    rows.sort(key=lambda r: float(r["params_nonembedding"]) * float(r["tokens"]))
    return [{_NAMES.get(k, k): v for k, v in row.items()} for row in rows]


def _write(path: Path, rows: list[dict[str, str]], without: tuple[str, ...] = ()) -> Path:
    kept = [c for c in COLUMNS if c not in without]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, kept, extrasaction="ignore", restval="")
        writer.writeheader()
        writer.writerows(rows)
    return path


def _split(tmp_path: Path, count: int, without: tuple[str, ...] = ()) -> list[LadderPrediction]:
    rows = _olmo()
    return climb(
        _write(tmp_path / "runs.csv", rows[:count], without),
        _write(tmp_path / "asked.csv", rows[count:], (*without, *_ANSWERS)),
    )


@pytest.mark.parametrize("count", [4, 6, 8])
@pytest.mark.parametrize(
    "without",
    [(), ("accuracy",), ("params_nonembedding",), ("num_layers", "num_heads", "num_kv_heads", "bits")],
)
def test_olmo_s_ladder_from_its_cheapest_runs(tmp_path: Path, count: int, without: tuple[str, ...]) -> None:
    found, truth = _split(tmp_path, count, without), _olmo()[count:]
    assert [row.model for row in found] == [row["model"] for row in truth]
    losses = np.array([row.loss.value for row in found])
    published = np.array([float(row["loss_nats"]) for row in truth])
    assert np.sqrt(((losses - published) ** 2).mean()) < 0.08
    inside = [r.loss.low <= x <= r.loss.high for r, x in zip(found, published, strict=True)]
    assert np.mean(inside) > 0.6
    if "accuracy" in without:
        assert found[0].accuracy is None
    else:
        reached = np.array([row.accuracy.value for row in found if row.accuracy])
        assert np.abs(reached - [float(row["accuracy"]) for row in truth]).mean() < 3


def test_accuracy_alone_is_enough(tmp_path: Path) -> None:
    found = _split(tmp_path, 6, ("loss_nats",))
    truth = [float(row["accuracy"]) for row in _olmo()[6:]]
    reached = [row.accuracy for row in found if row.accuracy]
    assert np.mean([r.low <= x <= r.high for r, x in zip(reached, truth, strict=True)]) > 0.7
    assert "accuracy on 6" in found[0].basis


def test_shares_and_percent_give_the_same(tmp_path: Path) -> None:
    rows = _olmo()
    shares = [row | {"accuracy": str(float(row["accuracy"]) / 100)} for row in rows]
    asked = _write(tmp_path / "asked.csv", rows[6:], _ANSWERS)
    percent = climb(_write(tmp_path / "runs.csv", rows[:6]), asked)[-1].accuracy
    share = climb(_write(tmp_path / "shares.csv", shares[:6]), asked)[-1].accuracy
    assert percent is not None
    assert share is not None
    assert percent.value == pytest.approx(100 * share.value, rel=1e-6)


def test_a_law_s_own_runs_give_back_the_law(tmp_path: Path) -> None:
    """Losses that a law with another unit made, without noise: asked 100 times as dear, within 1 %."""
    made = published_law().mean + NATS * np.log(0.6)
    weights, tokens = np.meshgrid([2e7, 5e7, 1e8, 2e8, 2e9], [1e9, 4e9, 1.6e10, 4e11])
    models = shapes(weights=weights.ravel(), tokens=tokens.ravel())
    rows = [
        {"model": f"m{n}", "params_nonembedding": str(w), "tokens": str(t), "loss_nats": str(x)}
        for n, (w, t, x) in enumerate(zip(models.weights, models.tokens, loss(made, models), strict=True))
    ]
    cheap = [r for r in rows if float(r["params_nonembedding"]) * float(r["tokens"]) < 3e17]
    dear = [r for r in rows if r not in cheap]
    found = climb(_write(tmp_path / "runs.csv", cheap), _write(tmp_path / "asked.csv", dear, ("loss_nats",)))
    for row, truth in zip(found, dear, strict=True):
        assert row.loss.value == pytest.approx(float(truth["loss_nats"]), rel=0.01)
        assert row.loss.low < float(truth["loss_nats"]) < row.loss.high


def test_one_run_is_enough_and_its_range_is_wide(tmp_path: Path) -> None:
    one, six = _split(tmp_path, 1)[-1].loss, _split(tmp_path, 6)[-1].loss
    assert one.high - one.low > 1.3 * (six.high - six.low)


def test_weights_are_counted_the_same_way_in_both_tables(tmp_path: Path) -> None:
    rows = _olmo()
    path = _write(tmp_path / "runs.csv", rows)
    runs = read_runs(path)
    exact = columns(path, runs, like=runs).weights
    totals = _write(tmp_path / "totals.csv", rows, ("params_nonembedding",))
    by_total = read_runs(totals)
    # OLMo has a head of its own: total less two tables, to the norms
    np.testing.assert_allclose(columns(totals, by_total, like=by_total).weights, exact, rtol=0.002)
    by_layers = read_runs(_write(tmp_path / "layers.csv", rows, ("params_nonembedding", "params_total")))
    np.testing.assert_allclose(columns(path, by_layers, like=by_layers).weights, exact, rtol=0.35)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "row 1: no known column"),
        ("model,tokens\n", "no rows"),
        ("a,b\n1,2\n", "row 1: no known column"),
        (
            "params_total,tokens,loss_nats\n1e8,x,3\n",
            "row 2, tokens: must be a number above 0 or empty, got 'x'",
        ),
        ("params_total,tokens,loss_nats\n1e8,1e9,3\n1e8,-5,3\n", "row 3, tokens: must be a number above 0"),
        ("params_total,tokens,loss_nats\n1e8,1e9,inf\n", "row 2, loss_nats: must be"),
        (
            "params_total,tokens,accuracy\n1e8,1e9,101\n",
            "row 2, accuracy: must be 0 to 100 or empty, got '101'",
        ),
        ("params_total,tokens,loss_nats\n1e8,,3\n2e8,1e9,3\n", "row 2, tokens: is empty"),
        ("model,tokens,loss_nats\nm,1e9,3\n", "row 2, params_nonembedding: is empty; needs"),
        ("params_total,tokens\n1e8,1e9\n", "row 2, loss_nats: no row has a loss or an accuracy"),
        (
            "params_total,tokens,tokens,loss_nats\n1e8,1e9,2e9,3\n",
            "row 1, tokens: is there twice; accepted: one column of a name",
        ),
        ("params_total;tokens;loss_nats\n1e8;1e9;3,4\n", "row 2, loss_nats: must be a number above 0"),
        ("params_total,tokens,loss_nats\n1e8,1e9,3,4\n", "row 2: has more fields than the header"),
    ],
)
def test_bad_input_names_row_and_column(tmp_path: Path, text: str, message: str) -> None:
    runs = tmp_path / "runs.csv"
    runs.write_text(text, encoding="utf-8")
    asked = tmp_path / "asked.csv"
    asked.write_text("params_total,tokens\n1e9,1e11\n", encoding="utf-8")
    with pytest.raises(InvalidFile) as caught:
        climb(runs, asked)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_or_binary_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="cannot be read"):
        read_runs(tmp_path / "none.csv")
    (tmp_path / "x.csv").write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InvalidFile, match="not text"):
        read_runs(tmp_path / "x.csv")


def test_an_accuracy_of_nothing_is_one(tmp_path: Path) -> None:
    """LAMBADA early in training: no answer right."""
    runs = tmp_path / "runs.csv"
    runs.write_text(
        "params_total,tokens,accuracy\n7e7,1e9,0\n7e7,1e10,0.05\n1.6e8,1e10,0.2\n", encoding="utf-8"
    )
    asked = tmp_path / "asked.csv"
    asked.write_text("params_total,tokens\n1e9,1e11\n", encoding="utf-8")
    (found,) = climb(runs, asked)
    assert found.accuracy is not None
    assert 0.2 < found.accuracy.value < 0.8


def test_numbers_as_people_write_them(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("Params_Total, tokens ,loss_nats\n125M,1T,nan\n", encoding="utf-8-sig")
    run = read_runs(path)[0]
    assert (run["params_total"], run["tokens"]) == (125e6, 1e12)
    assert not run.has("loss_nats")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_tables_as_spreadsheets_write_them(tmp_path: Path, mark: str) -> None:
    path = tmp_path / "runs.csv"
    rows = [["Params Total", "Tokens", "Loss_Nats"], ['"125,000,000"', '"2,500,000,000"', "3.4"]]
    path.write_text("\r\n".join(mark.join(row) for row in rows) + "\r\n", encoding="utf-8-sig")
    (run,) = read_runs(path)
    assert (run["params_total"], run["tokens"], run["loss_nats"]) == (125e6, 2.5e9, 3.4)
