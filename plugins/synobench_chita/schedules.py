r"""How sparsity rises over the stages of CHITA++ (Benbaki et al. 2023, Algorithm 1).

With T stages, t from 0, the first sparsity :math:`s_0` and the last s, each ends at s:

- ``exp``: :math:`s_0 + (s - s_0) \frac{2^{T-1}}{2^{T-1}-1} (1 - 2^{-t})`
- ``poly``: :math:`s + (s_0 - s)(1 - t/(T-1))^3` (Zhu and Gupta 2017)
- ``linear``: :math:`s_0 + (s - s_0)\,t/(T-1)`
- ``const``: s
- ``mfac``: :math:`1 - (1-s_0) ((1-s)/(1-s_0))^{(t+1)/T}`, the same share of what is left at each stage (Frantar 2021)
"""

from __future__ import annotations

SCHEDULES = ("exp", "poly", "linear", "const", "mfac")
"""The names that `sparsities` knows."""


def sparsities(name: str, stages: int, first: float, last: float, settle: int = 0) -> list[float]:
    """Return the sparsity of each stage; the last `settle` of them lie at `last`, the schedule's own end before them.

    A first sparsity above the last counts as the last.
    """
    rising = max(1, stages - settle)
    told = [_at(name, t, rising, min(first, last), last) for t in range(rising)]
    return [*told, *[last] * (stages - rising)]


def _at(name: str, t: int, stages: int, first: float, last: float) -> float:
    if t == stages - 1 or name == "const":
        return last
    if name == "mfac":
        return 1.0 - (1.0 - first) * ((1.0 - last) / (1.0 - first)) ** ((t + 1) / stages) if first < 1.0 else last
    done = t / (stages - 1)
    shares = {
        "exp": (1.0 - 2.0**-t) / (1.0 - 2.0 ** (1 - stages)),
        "poly": 1.0 - (1.0 - done) ** 3,
        "linear": done,
    }
    return first + (last - first) * shares[name]
