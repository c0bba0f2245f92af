"""Mean accuracy of eight zero-shot tasks over loss on neutral web text, and how families of models differ.

    accuracy = floor + (top - floor) / (1 + exp((loss - gain - middle) / width))

The eight: ARC-easy and -challenge, BoolQ, PIQA, SIQA, HellaSwag, OBQA and WinoGrande, in percent, as in
MobileLLM's tables (arXiv 2402.14905). `gain` is by how many nats a family's accuracy is ahead of the loss
that the law gives its weights and tokens: mostly its corpus. The constants are in data/accuracy.toml.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, hypot, log

from sizer.errors import UnknownName
from sizer.quality.constants import accuracy_data

# Below 150M weights tasks are near chance, and families fall apart further (points).
_SMALL_WEIGHTS, _SMALL_SD = 150e6, 1.5
# Corpora without models of their own in the tables, by letters and digits: made in the way of a known one.
_LIKE = {
    "fineweb": "RefinedWeb",
    "commoncrawl": "RefinedWeb",
    "thepile": "Pile",
    "pilededuped": "Pile",
    "minipile": "Pile",
    "smollmcorpus": "FineWeb-Edu",
    "finewebedudedup": "FineWeb-Edu",
    "dclmbaseline": "DCLM",
    "dolma17": "Dolma",
    "olmoemix0924": "DCLM",
    "redpajamav1": "RedPajama",
}
_LIKE_SD = 0.03


@dataclass(frozen=True, slots=True, kw_only=True)
class Gain:
    """Nats by which a recipe is ahead of the law, their standard deviation, and where they come from."""

    nats: float
    sd: float
    basis: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AccuracyMap:
    """Accuracy in percent over loss in nats."""

    floor: float
    top: float
    middle: float
    width: float
    sd: float  # of a family's models about its curve, in points

    def accuracy(self, loss: float) -> float:
        """Return the accuracy at a loss that gains are taken off already."""
        return self.floor + (self.top - self.floor) / (1 + exp((loss - self.middle) / self.width))

    def slope(self, loss: float) -> float:
        """Return points a nat at a loss, positive."""
        share = (self.accuracy(loss) - self.floor) / (self.top - self.floor)
        return (self.top - self.floor) / self.width * share * (1 - share)

    def loss(self, accuracy: float) -> float:
        """Return the loss of an accuracy; one at the floor or below, or at the top, is moved inside."""
        edge = 0.02 * (self.top - self.floor)
        inside = min(max(accuracy, self.floor + edge), self.top - edge)
        return self.middle + self.width * log((self.top - inside) / (inside - self.floor))

    def scatter(self, weights: float) -> float:
        """Return the deviation of one model of a known family, in points."""
        return hypot(self.sd, _SMALL_SD) if weights < _SMALL_WEIGHTS else self.sd


def accuracy_map() -> AccuracyMap:
    """Return the map that published families agree on."""
    return AccuracyMap(**accuracy_data()["map"])


def task_maps() -> dict[str, AccuracyMap]:
    """Return the map of each of the eight tasks, by its name in MobileLLM's tables."""
    fields = ("floor", "top", "middle", "width", "sd")
    return {row["name"]: AccuracyMap(**{f: row[f] for f in fields}) for row in accuracy_data()["task"]}


def unknown_gain() -> Gain:
    """Return what is known of a recipe without a corpus or an anchor: how far families differ."""
    rows = accuracy_data()["families"]
    return Gain(
        nats=0.0,
        sd=float(rows["sd"]),
        basis="the range includes how far published families differ, as no corpus or anchor is given",
    )


def corpora() -> dict[str, Gain]:
    """Return the gains of corpora by name."""
    return {
        row["name"]: Gain(nats=row["gain"], sd=row["sd"], basis=f"corpus {row['name']}: {row['source']}")
        for row in accuracy_data()["corpus"]
    }


def corpus_gain(name: str) -> Gain:
    """Return the gain of a corpus, ignoring case and marks; raise UnknownName with those that are known."""
    known = {_plain(known): gain for known, gain in corpora().items()}
    wanted = _plain(name)
    like = _LIKE.get(wanted)
    if like is None and wanted not in known:
        raise UnknownName.of("corpus", name, corpora())
    if like is None:
        return known[wanted]
    gain = known[_plain(like)]
    return Gain(nats=gain.nats, sd=hypot(gain.sd, _LIKE_SD), basis=f"taken to be like {gain.basis}")


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def anchored_gain(loss: float, accuracy: float, weights: float, *, prior: Gain, name: str) -> Gain:
    """Return the gain that an anchor of the same recipe shows: its accuracy against the loss of the law."""
    return anchored(accuracy_map(), loss, accuracy, weights, prior=prior, name=name)


def anchored(
    curve: AccuracyMap, loss: float, accuracy: float, weights: float, *, prior: Gain, name: str
) -> Gain:
    """Return the gain that an anchor shows on some map: as much of it as the anchor's noise allows."""
    seen = loss - curve.loss(accuracy)
    slope = max(curve.slope(curve.loss(accuracy)), 1e-6)
    noise = curve.scatter(weights) / slope
    share = prior.sd**2 / (prior.sd**2 + noise**2)
    return Gain(
        nats=prior.nats + share * (seen - prior.nats),
        sd=(share * noise**2) ** 0.5,
        basis=f"anchor {name} at {accuracy:g}",
    )
