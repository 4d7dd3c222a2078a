"""Writes model.safetensors: weights as compressed-tensors packs them, beside what it makes of them.

pip install compressed-tensors==0.20.1 torch safetensors && python make.py
Each NAME.weight_packed, NAME.weight_scale and NAME.weight_shape has a NAME.values in bf16.
"""
import torch
from compressed_tensors.compressors import BaseCompressor
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from compressed_tensors.quantization.utils import calculate_qparams
from safetensors.torch import save_file

packer = BaseCompressor.get_value_from_registry("pack-quantized")
torch.manual_seed(7)
tensors = {}
for bits in (8, 4):
    for group in (32, 128, None):
        strategy = {"strategy": "channel"} if group is None else {"strategy": "group", "group_size": group}
        args = QuantizationArgs(num_bits=bits, type="int", symmetric=True, **strategy)
        weight = (torch.randn(9, 256) * torch.logspace(-3, 1, 9)[:, None]).to(torch.bfloat16)
        parts = weight.float().reshape(9, -1, group or 256)
        scale, _ = calculate_qparams(parts.amin(-1), parts.amax(-1), args)
        state = {"weight": weight, "weight_scale": scale.to(torch.bfloat16)}
        scheme = QuantizationScheme(targets=["Linear"], weights=args)
        packed = packer.compress(state, scheme)
        name = f"int{bits}_{group or 'row'}"
        for key in ("weight_packed", "weight_scale", "weight_shape"):
            tensors[f"{name}.{key}"] = packed[key].contiguous()
        tensors[f"{name}.values"] = packer.decompress(packed, scheme)["weight"].contiguous()
        assert tensors[f"{name}.values"].dtype == torch.bfloat16
save_file(tensors, "model.safetensors")
