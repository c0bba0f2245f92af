"""How a user names a cluster: a scheduler's address, or a batch system with options."""

from __future__ import annotations

from sizer.errors import InvalidQuantity, UnknownName

SLURM = "slurm"
ACCEPTED = "accepted: tcp://HOST:PORT of a Dask scheduler, or slurm, slurm:queue=NAME,walltime=04:00:00"


def parse_cluster(text: str) -> tuple[str, dict[str, str]]:
    """Return a scheduler's address, or the batch system and its options.

    >>> parse_cluster("slurm:queue=gpu,walltime=04:00:00")
    ('slurm', {'queue': 'gpu', 'walltime': '04:00:00'})
    """
    kind, _, rest = text.partition(":")
    if kind in ("tcp", "tls", "ucx") and rest.startswith("//"):
        return text, {}
    if kind != SLURM:
        raise UnknownName(f"cluster: {text[:200]!r} is neither an address nor a batch system; {ACCEPTED}")
    options = dict(pair.partition("=")[::2] for pair in rest.split(",") if pair)
    if not all(key.isidentifier() and value for key, value in options.items()):
        raise InvalidQuantity(f"cluster: options of slurm are key=value, got {rest[:200]!r}; {ACCEPTED}")
    return SLURM, options
