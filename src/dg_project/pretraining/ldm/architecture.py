"""Build the networks of the tiny LDM and its diffusers pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionInstructPix2PixPipeline, UNet2DConditionModel
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from dg_project.config import PretrainLDMParams

MAX_TOKENS = 48
START, END = "<|startoftext|>", "<|endoftext|>"


def build_vae(channels: Sequence[int], latent_channels: int) -> AutoencoderKL:
    """Return an autoencoder of factor ``2^(len(channels)-1)``; 4, not 8, so that objects of 12 px survive.

    No attention: its cost grows with the square of the image's area. One norm group: with more, each group of a few
    channels would lose its own mean and spread, and with them brightness and colour of the image.
    """
    levels = len(channels)
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        block_out_channels=tuple(channels),
        layers_per_block=1,
        latent_channels=latent_channels,
        norm_num_groups=1,
        mid_block_add_attention=False,
        scaling_factor=1.0,
        force_upcast=False,
    )


def build_unet(
    channels: Sequence[int], latent_channels: int, text_dim: int, sees_source: bool = True
) -> UNet2DConditionModel:
    """Return an InstructPix2Pix U-Net: input noisy target and source latents, output a velocity.

    Without ``sees_source`` its input is the noisy latents alone, as in Stable Diffusion.

    Text enters twice. Pooled, it joins the timestep embedding and scales and shifts every block: weather is a property
    of the full scene, and this way the first thousand steps already learn darkness. By word, it enters through
    cross-attention at the lowest level and in the middle only, because the upper levels cost most of the time.
    """
    upper = len(channels) - 1
    return UNet2DConditionModel(
        sample_size=64,
        in_channels=2 * latent_channels if sees_source else latent_channels,
        out_channels=latent_channels,
        block_out_channels=tuple(channels),
        down_block_types=("DownBlock2D",) * upper + ("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",) + ("UpBlock2D",) * upper,
        layers_per_block=1,
        cross_attention_dim=text_dim,
        attention_head_dim=8,
        addition_embed_type="text",
        addition_embed_type_num_heads=4,
        resnet_time_scale_shift="scale_shift",
        norm_num_groups=8,
    )


def build_tokenizer(captions: Sequence[str], vocabulary: int = 1024, fixed: bool = False) -> CLIPTokenizer:
    """Return CLIP's byte-level tokenizer with merges learned from ``captions``; it can encode any text.

    Args:
        captions: texts to learn from.
        vocabulary: largest number of tokens to learn with.
        fixed: number the ends of words in their order. Else the learner numbers them at random, and with few captions
            merges of equal frequency may come in another order each time.
    """
    learner = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    learner.normalizer = normalizers.Lowercase()
    learner.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.WhitespaceSplit(),
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    texts = [learner.normalizer.normalize_str(caption) for caption in captions] if fixed else []
    words = [word for text in texts for word, _ in learner.pre_tokenizer.pre_tokenize_str(text)]
    learner.train_from_iterator(
        captions,
        trainers.BpeTrainer(
            vocab_size=vocabulary,
            end_of_word_suffix="</w>",
            initial_alphabet=letters,
            special_tokens=sorted({f"{word[-1]}</w>" for word in words}),
            show_progress=False,
        ),
    )
    learned = json.loads(learner.to_str())["model"]
    merges = [tuple(pair) for pair in learned["merges"]]
    tokens = [*letters, *(f"{x}</w>" for x in letters), *dict.fromkeys("".join(pair) for pair in merges), START, END]
    vocab = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=MAX_TOKENS)


def build_text_encoder(tokenizer: CLIPTokenizer, width: int) -> CLIPTextModel:
    """Return a two-layer CLIP text model, trained together with the U-Net."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=2 * width,
            num_hidden_layers=2,
            num_attention_heads=max(1, width // 32),
            max_position_embeddings=MAX_TOKENS,
            projection_dim=width,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def build_scheduler() -> DDIMScheduler:
    """Return the noise schedule: velocity prediction, and zero terminal SNR so that a day scene can become black."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
    )


def build_pipeline(params: PretrainLDMParams, captions: Sequence[str]) -> StableDiffusionInstructPix2PixPipeline:
    """Return the full pipeline with random weights from ``params.seed``."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(params.seed)
        tokenizer = build_tokenizer(captions)
        return StableDiffusionInstructPix2PixPipeline(
            vae=build_vae(params.vae_channels, params.latent_channels),
            text_encoder=build_text_encoder(tokenizer, params.text_dim),
            tokenizer=tokenizer,
            unet=build_unet(params.unet_channels, params.latent_channels, params.text_dim),
            scheduler=build_scheduler(),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
