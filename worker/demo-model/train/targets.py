"""Prompts and answers as tokens, and what each answer token is worth in the loss."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer

from answers import BOX_MAXIMUM, BOX_STEP, PROMPTS, answer
from model import IMAGE_TOKENS
from tokenizer import END_OF_TURN, PAD

# Most tokens of an answer are punctuation that a model gets right after a hundred steps. What a reader judges are a
# few decisions, so these carry the loss from the first step on: which finding, and another one or none.
CODE_WEIGHT, CONTINUE_WEIGHT = 6.0, 3.0
# Box numbers are many and start as guesses: they weigh little until the findings are right, more towards the end.
BOX_WEIGHT, LAST_BOX_WEIGHT = 0.6, 1.2
LAST_PART = 2 / 3
# A box number that is one step off is nearly right: its target is a narrow bell over its neighbours.
BOX_SPREAD_STEPS = 0.8


def prompt_text(mod: str) -> str:
    """The templated prompt, image tokens written out: the chat template's text with one image before the question."""
    image = "\n\n<start_of_image>" + "<image_soft_token>" * IMAGE_TOKENS + "<end_of_image>\n\n"
    return f"<bos><start_of_turn>user\n{image}{PROMPTS[mod]}<end_of_turn>\n<start_of_turn>model\n"


@dataclass
class Sequences:
    """Padded sequences; `labels` are what position i should say next, -1 where nothing is asked."""

    ids: torch.Tensor  # [n, length]
    attended: torch.Tensor  # [n, length]
    labels: torch.Tensor  # [n, length]


@dataclass
class Decisions:
    """Where, among asked tokens, the decisions are."""

    code: torch.Tensor
    going_on: torch.Tensor
    number: torch.Tensor


class Language:
    """The tokenizer with the token ids that decisions hang on."""

    def __init__(self, tokenizer: Tokenizer):
        self.tokenizer = tokenizer
        self.prompts = {mod: tokenizer.encode(prompt_text(mod)).ids for mod in PROMPTS}
        self.code_mark = tokenizer.token_to_id('"finding":')
        self.close = tokenizer.token_to_id("]")
        self.going_on = [tokenizer.token_to_id(mark) for mark in ("{", ",{")]
        numbers = [tokenizer.token_to_id(str(number)) for number in range(0, BOX_MAXIMUM + 1, BOX_STEP)]
        self.numbers = torch.tensor(numbers)
        self._place = torch.full((tokenizer.get_vocab_size(),), -1)
        self._place[self.numbers] = torch.arange(len(numbers))
        steps = torch.arange(len(numbers)).float()
        self._bells = (-((steps[:, None] - steps) ** 2) / (2 * BOX_SPREAD_STEPS**2)).softmax(-1)
        # After these a list goes on or ends: its opening bracket, and the brace that closes a finding.
        self._before = torch.zeros(tokenizer.get_vocab_size(), dtype=torch.bool)
        self._before[[tokenizer.token_to_id(mark) for mark in ("[", "}")]] = True
        self._choice = torch.zeros_like(self._before)
        self._choice[[self.close, *self.going_on]] = True

    def answer_ids(self, record: dict) -> list[int]:
        """The tokens of a record's answer with the end of turn."""
        return self.tokenizer.encode(answer(record["findings"])).ids + [END_OF_TURN]

    def sequences(self, records: list[dict], answers: list[list[int]]) -> Sequences:
        """Prompt and answer of each record, padded on the right."""
        prompts = [self.prompts[record["mod"]] for record in records]
        longest = max(len(p) + len(a) for p, a in zip(prompts, answers, strict=True))
        ids = torch.full((len(records), longest), PAD)
        attended, labels = torch.zeros_like(ids), torch.full_like(ids, -1)
        for row, (prompt, said) in enumerate(zip(prompts, answers, strict=True)):
            end = len(prompt) + len(said)
            ids[row, :end] = torch.tensor(prompt + said)
            attended[row, :end] = 1
            labels[row, len(prompt) - 1 : end - 1] = torch.tensor(said)
        return Sequences(ids, attended, labels)

    def decisions(self, previous: torch.Tensor, asked: torch.Tensor) -> Decisions:
        """Which of the asked tokens are decisions, given the token before each."""
        number = self._place[asked] >= 0
        return Decisions(previous == self.code_mark, self._before[previous] & self._choice[asked], number)

    def loss(self, logits: torch.Tensor, previous: torch.Tensor, asked: torch.Tensor, progress: float):
        """Weighted mean over asked tokens, and parts for the log. `logits` [asked, vocabulary], f32."""
        kinds = self.decisions(previous, asked)
        surprise = F.cross_entropy(logits, asked, reduction="none")
        plain = surprise.detach()
        bells = self._bells[self._place[asked[kinds.number]]]
        log_likely = logits[kinds.number].log_softmax(-1)[:, self.numbers]
        surprise = surprise.masked_scatter(kinds.number, -(bells * log_likely).sum(-1))
        weight = torch.ones_like(surprise)
        late = max(0.0, (progress - LAST_PART) / (1 - LAST_PART))
        weight[kinds.number] = BOX_WEIGHT + (LAST_BOX_WEIGHT - BOX_WEIGHT) * late
        weight[kinds.code], weight[kinds.going_on] = CODE_WEIGHT, CONTINUE_WEIGHT

        def mean(where: torch.Tensor) -> float:
            return plain[where].mean().item() if where.any() else 0.0

        parts = {"code": mean(kinds.code), "going_on": mean(kinds.going_on), "number": mean(kinds.number)}
        return (surprise * weight).sum() / weight.sum(), parts
