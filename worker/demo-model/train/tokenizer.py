"""The tokenizer: byte-pair encoding of about 700 pieces, digits one by one, bytes as a last resort.

usage: python tokenizer.py SCRATCH_FOLDER
"""
import os
import sys

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from data import Split

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
           "<image_soft_token>"]
PROMPTS = {"xray": "Report the findings on this chest radiograph.", "ct": "Report the findings on this chest CT slice."}
CHARACTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789▁.,;:!?'\"()[]{}<>/%-_\n+*=#&@"


def train(texts):
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.Split(Regex(r"[\[\]{};.:]"), "merged_with_previous")])
    trainer = trainers.BpeTrainer(
        vocab_size=704, special_tokens=SPECIAL + [f"<0x{byte:02X}>" for byte in range(256)],
        initial_alphabet=list(CHARACTERS), max_token_length=24, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    return tokenizer


if __name__ == "__main__":
    folder = sys.argv[1]
    texts = [row["target"] for row in Split(folder, "val").rows]
    # Prompts and turns are few among the answers: show them often enough to become whole pieces.
    texts += [PROMPTS["xray"] + "\n", PROMPTS["ct"] + "\n", "user\n\n\n", "\n\n", "model\n", '{"findings":[]}'] * 3000
    tokenizer = train(texts)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    lengths = [len(tokenizer.encode(text).ids) for text in texts[:1000]]
    assert all(tokenizer.decode(tokenizer.encode(text).ids) == text for text in texts[:1000])
    print(tokenizer.get_vocab_size(), "pieces; answers have", sum(lengths) / len(lengths), "tokens on average, at most", max(lengths))
    print(tokenizer.encode(texts[3]).tokens)
