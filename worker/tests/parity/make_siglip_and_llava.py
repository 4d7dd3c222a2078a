"""Tiny checkpoints with random weights, and what transformers makes of them: SigLIP, and LLaVA with DINOv2 and Llama.

    pip install torch transformers pillow
    python make_siglip_and_llava.py FOLDER        # with tests/data/parity/{tiny-siglip,tiny-llava-dinov2} for tokenizers and pictures

The committed goldens were made with transformers 5.23 and torch 2.15. Another version may draw other random numbers: then
weights and goldens change together, and the tests compare the new ones.
"""

import json
import pathlib
import shutil
import sys

import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import (
    BitImageProcessor,
    LlavaConfig,
    LlavaForConditionalGeneration,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

HERE = pathlib.Path(__file__).resolve().parents[3] / "tests" / "data" / "parity"
TEXTS = ["findings : no focal consolidation", "there is a small left pleural effusion", "cardiomegaly"]


def overwrite_all(model, seed):
    """Every parameter, so that none is trivially 0 or 1: norms around 1, matrices so that their products keep their size."""
    numbers = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            drawn = torch.randn(parameter.shape, generator=numbers)
            if parameter.ndim <= 1:
                is_norm = "norm" in name and name.endswith("weight")
                parameter.copy_(0.1 * drawn + (1.0 if is_norm else 0.0))
            else:
                inputs = parameter[0].numel()
                parameter.copy_(drawn / inputs**0.5)
    return model.eval()


def keep(folder, file, tensors):
    save_file({name: tensor.detach().contiguous().clone() for name, tensor in tensors.items()}, folder / file)


def take_along(folder, name, files):
    folder.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copy(HERE / name / file, folder / file)


def siglip(folder):
    take_along(folder, "tiny-siglip", ["tokenizer.json", "tokenizer_config.json", "image0.png", "image1.png"])
    text = dict(vocab_size=400, hidden_size=48, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
                max_position_embeddings=64, projection_size=48)
    vision = dict(hidden_size=48, intermediate_size=112, num_hidden_layers=3, num_attention_heads=4, image_size=112,
                  patch_size=14)
    overwrite_all(SiglipModel(SiglipConfig(text_config=text, vision_config=vision)), 3).save_pretrained(folder)
    processor = SiglipImageProcessor(size={"height": 112, "width": 112}, resample=2)
    processor.save_pretrained(folder)
    model = SiglipModel.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    ids = tokenizer(TEXTS, padding="max_length", max_length=64, truncation=True, return_tensors="pt")["input_ids"]
    images = [Image.open(folder / f"image{number}.png") for number in range(2)]
    pixels = processor(images=images, return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        out = model(input_ids=ids, pixel_values=pixels)
    keep(folder, "golden.safetensors", {
        "input_ids": ids,
        "pixel_values": pixels,
        "image_embeds": out.image_embeds,
        "text_embeds": out.text_embeds,
        "logits_per_image": out.logits_per_image,
        "logits_per_text": out.logits_per_text,
        "vision_last_hidden_state": out.vision_model_output.last_hidden_state,
        "vision_pooler": out.vision_model_output.pooler_output,
        "text_last_hidden_state": out.text_model_output.last_hidden_state,
        "text_pooler": out.text_model_output.pooler_output,
    })
    (folder / "golden_meta.json").write_text(json.dumps({"texts": TEXTS}, indent=1))


def llava(folder):
    take_along(folder, "tiny-llava-dinov2", ["tokenizer.json", "tokenizer_config.json", "image0.png"])
    # Positions for 9 x 9 patches and pictures of 8 x 8: they are interpolated.
    vision = dict(model_type="dinov2", hidden_size=48, num_hidden_layers=3, num_attention_heads=4, mlp_ratio=4,
                  image_size=126, patch_size=14, reshape_hidden_states=False)
    text = dict(model_type="llama", vocab_size=420, hidden_size=64, intermediate_size=160, num_hidden_layers=4,
                num_attention_heads=4, num_key_value_heads=4, max_position_embeddings=1024, rms_norm_eps=1e-5,
                bos_token_id=1, eos_token_id=2, pad_token_id=2,
                rope_parameters={"rope_type": "linear", "factor": 1.5, "rope_theta": 10000.0})
    config = LlavaConfig(vision_config=vision, text_config=text, image_token_index=419, vision_feature_layer=-1,
                         vision_feature_select_strategy="default", projector_hidden_act="gelu")
    overwrite_all(LlavaForConditionalGeneration(config), 7).save_pretrained(folder)
    processor = BitImageProcessor(size={"shortest_edge": 112}, crop_size={"height": 112, "width": 112}, resample=3,
                                  image_mean=[0.5307] * 3, image_std=[0.2583] * 3)
    processor.save_pretrained(folder)
    model = LlavaForConditionalGeneration.from_pretrained(folder, attn_implementation="eager").eval()
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    pixels = processor(images=[Image.open(folder / "image0.png")], return_tensors="pt")["pixel_values"]
    prompt = "<s>" + "<image>" * 64 + "findings : the heart size is"
    words = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    inputs = dict(input_ids=words["input_ids"], attention_mask=words["attention_mask"], pixel_values=pixels)
    with torch.no_grad():
        states = model.model.vision_tower(pixels, output_hidden_states=True).hidden_states[-1]
        features = model.model.get_image_features(pixels, return_dict=True).pooler_output
        logits = model(**inputs, use_cache=False).logits
        greedy = model.generate(**inputs, max_new_tokens=16, min_new_tokens=16, do_sample=False)
    keep(folder, "golden_one_image_f32.safetensors", {
        **inputs,
        "vision_hidden_last_prenorm": states,
        "image_features": features[0] if isinstance(features, (tuple, list)) else features,
        "logits": logits.float(),
        "greedy_tokens": greedy[:, inputs["input_ids"].shape[1]:],
    })


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    target = pathlib.Path(sys.argv[1])
    siglip(target / "tiny-siglip")
    llava(target / "tiny-llava-dinov2")
