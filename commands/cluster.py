"""`sizer cluster`: how to start a cluster that searches train on."""

from __future__ import annotations

import socket
from typing import Annotated

import typer

from commands.console import JSON, out_json

_PORT = 8786  # Dask's own default


def cluster_command(
    host: Annotated[
        str | None, typer.Option(help="Machine of the scheduler. [this machine]", show_default=False)
    ] = None,
    port: Annotated[int, typer.Option(help="Port of the scheduler.", min=1, max=65535)] = _PORT,
    slots: Annotated[int, typer.Option(help="Models that a machine trains at a time.", min=1, max=512)] = 1,
    json_output: Annotated[bool, JSON] = False,
) -> None:
    """Print the commands that start a cluster by hand, over SSH and under SLURM; nothing is started.

    \b
    Examples:
      sizer cluster
      sizer cluster --host node1 --slots 4
    """
    recipes = _recipes(host or socket.gethostname(), port, slots)
    if json_output:
        out_json({"schema": "sizer.cluster/1", "recipes": recipes})
        return
    for title, commands in recipes.items():
        print(f"# {title}")
        print("\n".join(commands))
        print()


def _recipes(host: str, port: int, slots: int) -> dict[str, list[str]]:
    """Return the commands by what they are for."""
    address = f"tcp://{host}:{port}"
    # a process trains one model at a time; Dask must not pause or end one for the memory that it uses
    options = "--nthreads 1 --memory-limit 0 --no-dashboard"
    worker = f"dask worker {address} --nworkers {slots} {options}"
    return {
        "needs, on every machine: the same sizer with its extra, and a folder that all share": [
            "pip install 'sizer[cluster]'",
            "cd /shared/project",
        ],
        "by hand: the scheduler on one machine, workers on each": [
            f"dask scheduler --port {port} --no-dashboard",
            worker,
        ],
        "by hand, on a machine with cards: one worker for each card": [
            f"CUDA_VISIBLE_DEVICES=0 dask worker {address} {options}",
            f"CUDA_VISIBLE_DEVICES=1 dask worker {address} {options}",
        ],
        "over SSH, from the scheduler's machine": [
            f"dask scheduler --port {port} --no-dashboard &",
            f'for node in node1 node2; do ssh "$node" "cd $PWD && {worker}" & done',
        ],
        "under SLURM: a job for each slot; other options from ~/.config/dask/jobqueue.yaml": [
            f"sizer search run --workers {max(2, slots)} --cluster slurm:queue=gpu,walltime=04:00:00"
        ],
        "then, in the shared folder": [
            f"sizer search run --workers {max(2, slots)} --cluster {address} --study mine",
            f"sizer search resume mine --cluster {address}",
        ],
    }
