"""The referee: a proposal is checked whole, then applied; removed weights stay at zero."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from synobench import PrunerEntry
from synobench.errors import ContractError
from synobench.surgery import Proposal, Referee

STILL = PrunerEntry("still", summary="s")
MOVING = PrunerEntry("moving", summary="s", changes_survivors=True)


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2), nn.Linear(2, 2))


def mask(*rows: str) -> Tensor:
    return torch.tensor([[c == "1" for c in row] for row in rows])


FIRST, LAST = mask("101", "010"), mask("10", "11")


def test_masks_are_applied_and_kept() -> None:
    model = net()
    before = copy.deepcopy(model.state_dict())
    referee = Referee(model, ["*"])
    referee.apply(Proposal({"0.weight": FIRST}), STILL)
    assert torch.equal(model[0].weight != 0, FIRST)
    assert torch.equal(model[0].weight[FIRST], before["0.weight"][FIRST])
    assert torch.equal(model[2].weight, before["2.weight"])
    with torch.no_grad():
        model[0].weight.add_(1.0)
    with pytest.raises(ContractError, match=r"3 removed weights of 0\.weight are not zero"):
        referee.verify()
    referee.enforce()
    referee.verify()
    assert torch.equal(model[0].weight != 0, FIRST)


def test_a_later_proposal_replaces_its_own_masks_alone_and_weights_may_grow() -> None:
    model = net()
    referee = Referee(model, ["*"])
    referee.apply(Proposal({"0.weight": FIRST, "2.weight": LAST}), STILL)
    referee.apply(Proposal({"0.weight": ~FIRST}), STILL)
    assert torch.count_nonzero(model[0].weight) == 0
    with torch.no_grad():
        model[0].weight.add_(1.0)
        model[2].weight.add_(1.0)
    referee.enforce()
    assert torch.equal(model[0].weight != 0, ~FIRST)
    assert torch.equal(model[2].weight != 0, LAST)


def test_a_mask_is_the_referees_own() -> None:
    model, proposed = net(), FIRST.clone()
    referee = Referee(model, ["*"])
    referee.apply(Proposal({"0.weight": proposed}), STILL)
    proposed.fill_(True)
    with torch.no_grad():
        model[0].weight.add_(1.0)
    referee.enforce()
    assert torch.equal(model[0].weight != 0, FIRST)


BAD = [
    ({"masks": {"0.bias": torch.ones(2, dtype=torch.bool)}}, "it masks '0.bias', which is not prunable"),
    ({"masks": {"9.weight": FIRST}}, "it masks '9.weight', which is not prunable (prunable: 0.weight, 2.weight)"),
    ({"masks": {"0.weight": FIRST.float()}}, "must be bool of shape [2, 3], not float32 of shape [2, 3]"),
    ({"masks": {"0.weight": FIRST[0]}}, "must be bool of shape [2, 3], not bool of shape [3]"),
    ({"masks": {"0.weight": np.ones((2, 3), dtype=bool)}}, "must be a bool tensor of shape [2, 3], not ndarray"),
    ({"masks": {"0.weight": [[True] * 3] * 2}}, "must be a bool tensor of shape [2, 3], not list"),
    ({"tensors": {"9.bias": torch.ones(2)}}, "new values for '9.bias', which the network does not have"),
    ({"tensors": {"0.bias": torch.ones(3)}}, "new values of 0.bias must be a finite tensor of shape [2]"),
    ({"tensors": {"0.bias": torch.tensor([1.0, math.nan])}}, "must be a finite tensor of shape [2]"),
    ({"tensors": {"0.bias": torch.tensor([1.0, 1e300], dtype=torch.float64)}}, "must be a finite tensor of shape [2]"),
    ({"tensors": {"0.bias": [1.0, 2.0]}}, "must be a finite tensor of shape [2]"),
]


@pytest.mark.parametrize(("wrong", "told"), BAD, ids=[t for _, t in BAD])
def test_a_bad_proposal_changes_nothing(wrong: dict[str, Any], told: str) -> None:
    model = net()
    referee = Referee(model, ["*"])
    referee.apply(Proposal({"2.weight": LAST}), MOVING)
    before = copy.deepcopy(model.state_dict())
    good = {"masks": {"0.weight": FIRST}, "tensors": {"2.bias": torch.zeros(2)}}
    mixed = {part: {**good[part], **wrong.get(part, {})} for part in good}
    with pytest.raises(ContractError) as caught:
        referee.apply(Proposal(**mixed), MOVING)
    assert told in str(caught.value)
    assert all(torch.equal(v, before[n]) for n, v in model.state_dict().items())
    assert list(referee.masks) == ["2.weight"]


def test_new_values_need_a_declaration() -> None:
    model = net()
    proposal = Proposal({}, tensors={"0.weight": torch.ones(2, 3)})
    with pytest.raises(ContractError, match="does not declare changes_survivors"):
        Referee(model, ["*"]).apply(proposal, STILL)
    Referee(model, ["*"]).apply(proposal, MOVING)
    assert torch.equal(model[0].weight, torch.ones(2, 3))


def test_new_values_are_masked_and_reach_buffers_in_their_kind() -> None:
    model = net()
    tensors = {
        "0.weight": torch.full((2, 3), 2.0, dtype=torch.float64),
        "1.running_mean": torch.tensor([3.0, 4.0]),
        "1.num_batches_tracked": torch.tensor(7),
    }
    Referee(model, ["*"]).apply(Proposal({"0.weight": FIRST}, tensors=tensors), MOVING)
    assert torch.equal(model[0].weight, 2.0 * FIRST)
    assert model[0].weight.dtype == torch.float32
    assert model[1].running_mean.tolist() == [3.0, 4.0]
    assert int(model[1].num_batches_tracked) == 7


def test_the_report_counts_weight_by_weight() -> None:
    model = net()
    referee = Referee(model, ["*"])
    referee.apply(Proposal({"0.weight": FIRST}), STILL)
    with torch.no_grad():
        model[0].weight[0, 0] = 0.0
    assert referee.report(0.3) == {
        "asked": 0.3,
        "reached": 3 / 10,
        "prunable": 10,
        "kept": 7,
        "nonzero": 6,
        "parameters": 18,
        "parameters_kept": 15,
        "layers": [
            {"name": "0.weight", "total": 6, "kept": 3, "nonzero": 2},
            {"name": "2.weight", "total": 4, "kept": 4, "nonzero": 4},
        ],
    }


def test_only_what_the_patterns_name_is_prunable() -> None:
    referee = Referee(net(), ["2.*"])
    assert referee.report(None)["prunable"] == 4
    with pytest.raises(ContractError, match=r"'0\.weight', which is not prunable"):
        referee.apply(Proposal({"0.weight": FIRST}), STILL)
