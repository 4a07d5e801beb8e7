"""The state of a torch training: weights, optimizer, scale of the loss and random generators, without pickle."""

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.amp.grad_scaler import GradScaler

from models.training.recovery import Arrays, LearnerState

ARRAY = "array"  # key that stands for an array: {"array": its name}


def get_state(model: nn.Module, optimizer: torch.optim.Optimizer, scaler: GradScaler) -> LearnerState:
    """A copy, on the CPU."""
    arrays = {f"model/{name}": _to_array(tensor) for name, tensor in model.state_dict().items()}
    arrays["random/cpu"] = _to_array(torch.get_rng_state())
    if _is_on_gpu(model):
        arrays["random/cuda"] = _to_array(torch.cuda.get_rng_state())
    own = {str(number): _encoded(each, arrays) for number, each in optimizer.state_dict()["state"].items()}
    return LearnerState(arrays, {"optimizer": own, "scaler": scaler.state_dict()})


def set_state(model: nn.Module, optimizer: torch.optim.Optimizer, scaler: GradScaler, state: LearnerState) -> None:
    """Restore a state, each tensor on the device of its parameter."""
    names = model.state_dict()
    model.load_state_dict({name: torch.from_numpy(state.arrays[f"model/{name}"]) for name in names})
    own = {int(number): _decoded(values, state.arrays) for number, values in state.values["optimizer"].items()}
    optimizer.load_state_dict({"state": own, "param_groups": optimizer.state_dict()["param_groups"]})
    _order_as_parameters(optimizer)
    if scaler.is_enabled():
        scaler.load_state_dict(state.values["scaler"])
    torch.set_rng_state(torch.from_numpy(state.arrays["random/cpu"]))
    if _is_on_gpu(model):
        torch.cuda.set_rng_state(torch.from_numpy(state.arrays["random/cuda"]))


def _is_on_gpu(model: nn.Module) -> bool:
    return any(parameter.is_cuda for parameter in model.parameters())


def _order_as_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Give tensors the memory layout of their parameter, as before: another layout would change the rounding."""
    for parameter, own in optimizer.state.items():
        for name, value in own.items():
            if isinstance(value, torch.Tensor) and value.shape == parameter.shape and value.ndim > 1:
                own[name] = torch.empty_like(parameter, requires_grad=False).copy_(value)


def _to_array(tensor: torch.Tensor) -> np.ndarray:
    return np.array(tensor.detach().cpu().numpy(), order="C")


def _encoded(value: Any, arrays: Arrays) -> Any:
    """The value with its tensors moved to `arrays`."""
    if isinstance(value, torch.Tensor):
        name = f"optimizer/{len(arrays)}"
        arrays[name] = _to_array(value)
        return {ARRAY: name}
    if isinstance(value, dict):
        return {key: _encoded(each, arrays) for key, each in value.items()}
    return [_encoded(each, arrays) for each in value] if isinstance(value, list) else value


def _decoded(value: Any, arrays: Arrays) -> Any:
    if isinstance(value, dict):
        if value.keys() == {ARRAY}:
            return torch.from_numpy(arrays[value[ARRAY]])
        return {key: _decoded(each, arrays) for key, each in value.items()}
    return [_decoded(each, arrays) for each in value] if isinstance(value, list) else value
