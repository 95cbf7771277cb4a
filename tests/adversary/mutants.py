"""Damaged files, as bad disks, broken downloads and enemies make them: the same index, the same damage."""

import random
from collections.abc import Callable

EXTREMES = (0, 1, 0x7F, 0xFF, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**63 - 1, 2**64 - 1)


def somewhere(content: bytes, chance: random.Random) -> int:
    """A position: half of the time near the beginning or the end, where files say what they are."""
    edge = min(len(content), 1024)
    return chance.choice(
        (
            chance.randrange(len(content)),
            chance.randrange(len(content)),
            chance.randrange(edge),
            len(content) - 1 - chance.randrange(edge),
        )
    )


def replaced(content: bytes, start: int, new: bytes) -> bytes:
    return content[:start] + new[: len(content) - start] + content[start + len(new) :]


def flip(content: bytes, other: bytes, chance: random.Random) -> bytes:
    damaged = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        damaged[somewhere(content, chance)] ^= 1 << chance.randrange(8)
    return bytes(damaged)


def replace(content: bytes, other: bytes, chance: random.Random) -> bytes:
    new = chance.choice((chance.randbytes(chance.randint(1, 8)), b"\x00" * 16, b"\xff" * 4, b"\n", b'"', b"{"))
    return replaced(content, somewhere(content, chance), new)


def number(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """A count or an address becomes another, at a place where such numbers stand."""
    size = chance.choice((2, 4, 8))
    value = chance.choice(EXTREMES) % 256**size
    start = somewhere(content, chance) // size * size
    return replaced(content, start, value.to_bytes(size, chance.choice(("little", "big"))))


def swap(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """Two fields change places."""
    size = chance.choice((1, 2, 4, 8))
    one, two = (somewhere(content, chance) // size * size for _ in range(2))
    fields = content[one : one + size], content[two : two + size]
    return replaced(replaced(content, one, fields[1]), two, fields[0])


def truncate(content: bytes, other: bytes, chance: random.Random) -> bytes:
    return content[: somewhere(content, chance)]


def delete(content: bytes, other: bytes, chance: random.Random) -> bytes:
    start = somewhere(content, chance)
    return content[:start] + content[start + chance.choice((1, 2, 8, 64)) :]


def insert(content: bytes, other: bytes, chance: random.Random) -> bytes:
    start = somewhere(content, chance)
    return content[:start] + chance.randbytes(chance.choice((1, 2, 8, 64))) + content[start:]


def duplicate(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """A block stands there twice, the second time in the wrong place."""
    start, size = somewhere(content, chance), chance.choice((4, 64, 512))
    into = chance.choice((start, somewhere(content, chance)))
    return content[:into] + content[start : start + size] + content[into:]


def splice(content: bytes, other: bytes, chance: random.Random) -> bytes:
    """It begins as one file and goes on as another."""
    start = somewhere(content, chance)
    return content[:start] + other[chance.choice((start, chance.randrange(len(other)))) :]


MUTATORS: tuple[Callable[[bytes, bytes, random.Random], bytes], ...] = (
    flip,
    replace,
    number,
    swap,
    truncate,
    delete,
    insert,
    duplicate,
    splice,
)
RESIZING = frozenset({"truncate", "delete", "insert", "duplicate"})


def mutant(content: bytes, other: bytes, index: int) -> tuple[str, bytes]:
    """The name of the damage, and the damaged file; every ninth suffers the same."""
    chance = random.Random(f"{len(content)} {index}")
    mutate = MUTATORS[index % len(MUTATORS)]
    return mutate.__name__, mutate(content, other, chance)
