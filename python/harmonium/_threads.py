"""threadpoolctl sets harmonium's threads like those of BLAS and OpenMP libraries."""

from __future__ import annotations

import threadpoolctl


class _HarmoniumController(threadpoolctl.LibController):
    user_api = "harmonium"
    internal_api = "harmonium"
    filename_prefixes = ("_core",)
    check_symbols = ("harmonium_get_num_threads", "harmonium_set_num_threads")

    def get_num_threads(self) -> int:
        return int(self.dynlib.harmonium_get_num_threads())

    def set_num_threads(self, num_threads: int) -> None:
        self.dynlib.harmonium_set_num_threads(num_threads)

    def get_version(self) -> str:
        from . import __version__

        return __version__


def register_with_threadpoolctl() -> None:
    threadpoolctl.register(_HarmoniumController)
