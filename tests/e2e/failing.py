"""The n-th allocation fails, or the n-th write: tests/preload/failing.c, told what by a shared page."""

import errno
import mmap
import struct

from gateway import TOOLS

MEMORY, FILES, ERRNO, STAYS, MEMORY_COUNT, FILES_COUNT, FAILED, HALF = range(8)


class Failing:
    """`env` is for the process in which things are to fail."""

    def __init__(self, path):
        path.write_bytes(bytes(64))
        self.env = {"FAILING": str(path), "LD_PRELOAD": str(TOOLS / "failing.so")}
        with open(path, "r+b") as file:
            self.page = mmap.mmap(file.fileno(), 64)

    def __getitem__(self, number):
        return struct.unpack_from("q", self.page, number * 8)[0]

    def __setitem__(self, number, value):
        struct.pack_into("q", self.page, number * 8, value)

    def arm(self, what, n, error=errno.ENOSPC, stays=False, half=False):
        """The n-th from now on fails, and maybe all after it."""
        self[ERRNO], self[STAYS], self[HALF] = error, int(stays), int(half)
        self[MEMORY_COUNT] = self[FILES_COUNT] = self[FAILED] = 0
        self[what] = n

    def disarm(self):
        """How many failed."""
        self[MEMORY] = self[FILES] = 0
        return self[FAILED]
