"""Products within a compiled step."""

from __future__ import annotations

import pytest
import torch

from synobench.stages import products


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("rows", "out"), [(12, 40_000), (13, 40_000), (12, 10)])
def test_a_product_by_parts_is_the_product(threads: int, rows: int, out: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_threads", lambda: threads)
    draw = torch.Generator().manual_seed(0)
    a, weight = torch.randn(rows, 7, generator=draw), torch.randn(out, 7, generator=draw)
    bias = torch.randn(out, generator=draw)
    torch.testing.assert_close(products.product(a, weight.t()), a @ weight.t())
    torch.testing.assert_close(products.affine(a, weight, bias), torch.nn.functional.linear(a, weight, bias))
    torch.testing.assert_close(products.affine(a, weight, None), a @ weight.t())
