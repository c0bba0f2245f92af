"""What tests of training share: one thread, the built-in text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from search.text.corpus import Corpus, load_corpus


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Models this small are slower on more threads, and much slower when the machine is shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    """The built-in text."""
    return load_corpus("builtin")
