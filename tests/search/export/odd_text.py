"""Text on which tokenizers can differ: many scripts, blanks, controls, numbers, names of special tokens."""

from __future__ import annotations

import random
import unicodedata
from functools import cache

from tests.search_runs import TEXT

NUM_BYTES = 100_000
_ODD = (
    "naïve Größe ÿ é e\u0301 Ａ ﬁ ½ ² ٣ 三 한국어 日本語 עברית العربية हिन्दी ไทย",
    "🙂 👩‍👩‍👧 🇩🇪 \u200b\u200d\ufeff\u2028\u2029\x85",
    "it's they'll I'VE we're 'tis don’t 's't'd",
    "1234567890 3.14 1,000,000 0x1F 1e-9 ²³ ½",
    "a  b   c\td\t\te\n\n\nf \n g\r\nh\r\ri\x0b\x0cj\xa0k\u3000l  \n",
    "<s></s><unk><pad><|endoftext|><|im_start|>[INST]<0x0A> ▁▁ Ġ Ċ Ā þþ þþ",
    "\x00\x01\x02\x1b[0m\x7f",
    "!!!???...---___===+++***///\\\\\\$$$%%%&&&((([[[{{{",
)


@cache
def odd_text() -> str:
    """Text of 100 kB, the same each time: a third code, a third odd lines, a third random characters."""
    made = random.Random(0)
    parts = [TEXT[: NUM_BYTES // 3]]
    size = len(parts[0])
    while size < 2 * NUM_BYTES // 3:
        line = made.choice(_ODD) + made.choice((" ", "\n", ""))
        parts.append(line)
        size += len(line.encode())
    while size < NUM_BYTES:
        character = chr(made.randrange(0x20, 0x30000))
        if unicodedata.category(character) not in ("Cn", "Co", "Cs"):
            word = character * made.choice((1, 1, 2)) + made.choice(("", "", " "))
            parts.append(word)
            size += len(word.encode())
    return "".join(parts)
