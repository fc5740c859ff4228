"""Writes a model directory of a few kilobytes for `vllm serve DIR --load-format dummy`, and three adapters for it.

    python make_model.py MODEL_DIR [ADAPTER_DIR]

A small Qwen2 without weights, a byte-level BPE tokenizer trained here, a ChatML template. Needs tokenizers; for adapters
torch and safetensors.
"""

import json
import os
import sys

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TEXT = ["".join(map(chr, range(32, 127)))] + [
    "You are a helpful assistant. Answer shortly, please. The quick brown fox jumps over the lazy dog.",
    "prefix cache block token engine scheduler request answer stream usage system user assistant hello world",
] * 50
TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD = 64, 2, 2, 1, 32


def write(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as out:
        json.dump(value, out, indent=1)


def model(folder):
    os.makedirs(folder, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1024, special_tokens=SPECIAL, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(TEXT, trainer)
    tokenizer.save(os.path.join(folder, "tokenizer.json"))
    write(folder, "tokenizer_config.json", {
        "tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>",
        "model_max_length": 4096, "chat_template": TEMPLATE, "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
    })
    write(folder, "config.json", {
        "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_size": HIDDEN, "intermediate_size": 128,
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD,
        "vocab_size": 1024, "max_position_embeddings": 4096, "rms_norm_eps": 1e-6, "rope_theta": 10000.0,
        "hidden_act": "silu", "tie_word_embeddings": True, "torch_dtype": "float32", "bos_token_id": 0,
        "eos_token_id": 2,
    })
    write(folder, "generation_config.json", {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 0})


def adapter(folder, seed):
    import torch
    from safetensors.torch import save_file

    os.makedirs(folder, exist_ok=True)
    torch.manual_seed(seed)
    weights = {}
    for layer in range(LAYERS):
        for name, size in (("q_proj", HEADS * HEAD), ("v_proj", KV_HEADS * HEAD)):
            place = f"base_model.model.model.layers.{layer}.self_attn.{name}"
            weights[f"{place}.lora_A.weight"] = torch.randn(8, HIDDEN) * 0.01
            weights[f"{place}.lora_B.weight"] = torch.randn(size, 8) * 0.01
    save_file(weights, os.path.join(folder, "adapter_model.safetensors"))
    write(folder, "adapter_config.json", {
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 8, "lora_alpha": 16, "bias": "none",
        "target_modules": ["q_proj", "v_proj"],
    })


model(sys.argv[1])
if len(sys.argv) > 2:
    for seed, name in enumerate(("first", "second", "third"), 1):
        adapter(os.path.join(sys.argv[2], name), seed)
