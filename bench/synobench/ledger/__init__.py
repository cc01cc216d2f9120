"""The ledger: per-layer facts of one judged network. Reading one needs no torch; `recorder` gathers it and does."""

from synobench.ledger.ledger import INPUT, KINDS, Layer, Ledger, Vectors, digest, pack_vectors, unpack_vectors

__all__ = ["INPUT", "KINDS", "Layer", "Ledger", "Vectors", "digest", "pack_vectors", "unpack_vectors"]
