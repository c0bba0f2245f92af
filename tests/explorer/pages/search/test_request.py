"""The search page's form as a configuration and as options of the command line: one and the same search."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from explorer.pages.search.request import SearchForm, base_config, request
from search.config.config import SearchConfig
from search.config.presets import presets
from sizer.errors import SizerError, StudyError

FORM = SearchForm(
    preset="none",
    device="raspberry-pi-5",
    max_size="2MB",
    max_memory="",
    min_decode="",
    trials=20,
    steps=1000,
    minutes=None,
    sampler="auto",
    workers=1,
    seed=0,
    corpus="",
    keep_finalists=True,
    study="s",
)


class TestRequest:
    """The form's fields as a configuration and as options of the command line."""

    def test_the_form_as_it_opens_is_the_default_search(self, folder: Path) -> None:
        wanted = request(FORM, folder)
        assert wanted.config == SearchConfig()
        assert wanted.options == ()

    def test_every_field(self, folder: Path) -> None:
        (folder / "text.jsonl").write_text("{}")
        wanted = request(
            FORM._replace(
                device="iphone-15-pro",
                max_size="1.5MB",
                max_memory="300 MB",
                min_decode="12.5",
                trials=8,
                steps=4000,
                sampler="random",
                workers=2,
                seed=7,
                corpus="text.jsonl:story",
                keep_finalists=False,
            ),
            folder,
        )
        assert wanted.options == (
            "--device=iphone-15-pro",
            "--max-size=1.5MB",
            "--max-memory=300MB",
            "--min-decode=12.5",
            "--steps=4000",
            "--sampler=random",
            "--workers=2",
            "--seed=7",
            "--corpus=text.jsonl:story",
            "--trials=8",
            "--no-keep-finalists",
        )
        c = wanted.config
        assert (c.budget.device, c.budget.max_size_bytes, c.budget.max_memory_bytes) == (
            "iphone-15-pro",
            1_500_000,
            300_000_000,
        )
        assert (c.training.trials, c.training.steps, c.training.seed, c.training.keep_finalists) == (
            8,
            4000,
            7,
            False,
        )

    @pytest.mark.parametrize("name", sorted(presets()))
    def test_the_command_line_reads_it_as_the_page_does(
        self, folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What `sizer search run` makes of the options is the configuration that the page showed."""
        import cli
        from search.run import runner

        base = base_config(name)
        form = FORM._replace(
            preset=name, device=base.budget.device or "", trials=9, max_size="123457B", steps=900
        )
        wanted = request(form._replace(max_memory="", min_decode="", minutes=None), folder)
        seen: list[SearchConfig] = []

        def caught(config: SearchConfig, *_: Any, **named: Any) -> None:
            seen.append(config)
            raise StudyError("caught")

        monkeypatch.setattr(runner, "check", caught)
        assert cli.main(["search", "run", *wanted.options, "--study=s"]) == 2
        assert seen == [wanted.config]
        assert wanted.config == base.changed(
            trials=9, max_size_bytes=123457, steps=900, sampler="auto", workers=1, seed=0
        )

    def test_minutes_leave_the_number_of_models_open(self, folder: Path) -> None:
        assert request(FORM._replace(minutes=12.5, trials=3), folder).options == ("--minutes=12.5",)

    @pytest.mark.parametrize(
        ("field", "value", "message"),
        [
            ("max_size", "two", "max-size: cannot read 'two'"),
            ("max_size", "5kB", "max_size_bytes: must be a whole number from 10000"),
            ("max_memory", "-1MB", "max-memory: "),
            ("min_decode", "fast", "min-decode: cannot read 'fast'"),
            ("min_decode", "-1", "min_decode_tokens_per_s: must be a number above 0"),
            ("min_decode", "inf", "min_decode_tokens_per_s: must be a number above 0"),
            ("device", "toaster", "unknown device 'toaster'"),
            ("device", "/etc/board.toml", "unknown device '/etc/board.toml'"),
            ("sampler", "dice", "unknown sampler 'dice'"),
            ("trials", 0, "trials: must be a whole number from 1"),
            ("minutes", 0.0, "minutes: must be more than 0"),
            ("study", "<script>", "study: '<script>' cannot be a name"),
            ("study", "../s", "cannot be a name"),
            ("corpus", "nowhere.txt", "corpus: 'nowhere.txt' is no file or directory in the directory"),
            ("corpus", "/etc/hostname", "is no file or directory in the directory"),
            ("corpus", "..", "is no file or directory in the directory"),
            ("corpus", "link/hostname", "is no file or directory in the directory"),
            ("corpus", "link", "is no file or directory in the directory"),
            ("corpus", "hf:roneneldan/TinyStories", "is no file or directory in the directory"),
            ("corpus", "a\0b", "is no file or directory in the directory"),
            ("corpus", "x" * 5000, "is no file or directory in the directory"),
        ],
    )
    def test_what_cannot_be_is_one_line(self, folder: Path, field: str, value: Any, message: str) -> None:
        (folder / "link").symlink_to("/etc")
        with pytest.raises(SizerError) as caught:
            request(FORM._replace(**{field: value}), folder)
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_link_within_the_directory_is_followed(self, folder: Path) -> None:
        (folder / "texts").mkdir()
        (folder / "here").symlink_to("texts")
        assert request(FORM._replace(corpus="here"), folder).config.training.corpus == "here"

    def test_the_whole_space_goes_into_a_file_that_the_command_line_reads(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import cli
        from search.run import runner

        others = (
            ("formats", "Q4_0, Q8_0"),
            ("max_executed_layers", "12"),
            ("head_dims", "32"),
            ("tie_embeddings", "yes"),
            ("rungs", "1"),
            ("max_ffn_ratio", "3"),
            ("sharing", ""),
        )
        wanted = request(FORM._replace(others=others, context=512), folder)
        c = wanted.config
        assert c.space.formats == ("Q4_0", "Q8_0")
        assert (c.space.head_dims, c.space.tie_embeddings) == ((32,), (True,))
        assert (c.space.max_executed_layers, c.training.rungs, c.space.max_ffn_ratio) == (12, 1, 3.0)
        assert c.budget.context_tokens == 512
        wanted.write_file(folder)
        seen: list[SearchConfig] = []

        def caught(config: SearchConfig, *_: Any, **named: Any) -> None:
            seen.append(config)
            raise StudyError("caught")

        monkeypatch.setattr(runner, "check", caught)
        assert cli.main(["search", "run", *wanted.options, "--study=s"]) == 2
        assert seen == [wanted.config]

    def test_a_budget_beyond_what_can_be_trained_goes_to_proxies(self, folder: Path) -> None:
        large = request(FORM._replace(max_size="300MB", others=(("vocab_size", "32000"),)), folder).config
        assert large.training.proxy_width_scale == 0.125
        assert large.training.proxy_vocab_size == 256
        assert large.space.max_hidden_size == 2048
        assert large.budget.max_memory_bytes is None  # of the preset only its space
        itself = request(FORM._replace(max_size="300MB", others=(("proxy_width_scale", "1"),)), folder)
        assert itself.config.training.proxy_width_scale == 1
        assert request(FORM._replace(max_size="20MB"), folder).config.training.proxy_width_scale is None

    @pytest.mark.parametrize(
        ("field", "typed", "message"),
        [
            ("formats", "Q9_K", "unknown llama.cpp format 'Q9_K'"),
            ("head_dims", "wide", "head_dims: must be a number, got 'wide'"),
            ("tie_embeddings", "maybe", "tie_embeddings: must be yes or no, got 'maybe'"),
            ("min_executed_layers", "40", "min_executed_layers: must not exceed max_executed_layers"),
            ("rungs", "0", "rungs: must be a whole number from 1 to 8"),
        ],
    )
    def test_what_cannot_be_in_the_space_is_one_line(
        self, folder: Path, field: str, typed: str, message: str
    ) -> None:
        with pytest.raises(SizerError) as caught:
            request(FORM._replace(others=((field, typed),)), folder)
        assert message in str(caught.value)
