"""Deterministic damage to files: flipped, overwritten, missing, inserted and repeated bytes."""

import random

RUNS = (b"\xff" * 8, bytes(8), b"\xff\xff\xff\x7f" + bytes(4))
BYTES = b'\x00\x01\x7f\x80\xff."x{}0'


def damaged(data: bytes, seed: object) -> bytes:
    """Return a copy with one to sixteen damages, drawn from a seed."""
    draw, changed = random.Random(str(seed)), bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 4, 16])):
        at, size = draw.randrange(len(changed) + 1), draw.choice([1, 2, 8, 64])
        match draw.randrange(8):
            case 0 if at < len(changed):
                changed[at] ^= 1 << draw.randrange(8)
            case 1:
                changed[at : at + 1] = bytes([draw.choice(BYTES)])
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + size]
            case 4:
                changed[at:at] = draw.randbytes(size)
            case 5:
                changed[at : at + 8] = draw.choice(RUNS)
            case 6:
                source = draw.randrange(len(changed) + 1)
                changed[at : at + size] = changed[source : source + size]
            case _:
                changed[at:at] = changed[at : at + 4 * size]
    return bytes(changed)
