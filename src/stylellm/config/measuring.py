"""The sections on what is measured, and how text is drawn."""

from __future__ import annotations

from stylellm.config.section import Section, key
from stylellm.config.values import Number, Seed, Share, Texts


class EvaluationSection(Section):
    """What `stylellm evaluate` measures, and the samples shown during training."""

    num_windows: int = key(
        64,
        "Windows per split whose likelihood is measured; 0 takes all.",
        "每个数据划分计算似然的窗口数；0 表示全部。",
        ge=0,
    )
    num_samples: int = key(
        150,
        "Texts written by base and policy for the style measures; below 50,000 characters together the "
        "report marks the style figures as a small sample.",
        "为衡量风格，由基础模型和训练后模型各写多少篇；总共不足五万字时报告会标明样本小。",
        ge=1,
    )
    sample_chars: int = key(400, "Characters of each of these texts.", "每篇的字数。", ge=1)
    batch_size: int = key(
        8, "Sequences evaluated or written at a time.", "评测和生成时一次处理的序列数。", ge=1
    )
    ngram_max: int = key(
        6, "Longest character n-gram that is compared.", "比较的最长字符 n-gram。", ge=1, le=20
    )
    prompts: Texts | None = key(
        None,
        "Beginnings of the written texts; null takes the shipped ones.",
        "生成文本的开头；null 表示用自带的开头。",
    )
    sample_prompts_during_training: Texts = key(
        ["剑光一闪"],
        "Prompts continued at every evaluation during training; [] writes none.",
        "训练中每次评估时续写的提示；[] 表示不写。",
    )
    live_samples: int = key(
        4,
        "Texts written at every evaluation during training for function words and the longest copy; "
        "0: none.",
        "训练中每次评估时写几篇，用来看虚词和最长照抄；0 表示不写。",
        ge=0,
        le=64,
    )
    num_prefixes: int = key(
        50,
        "Beginnings of training windows that the model is asked to say by heart; 0: none.",
        "让模型背诵多少段训练文本的开头；0 表示不测。",
        ge=0,
    )
    mauve: bool = key(
        False,
        "Also MAUVE, as a share of the author's held-out text's (needs pip install \".[mauve]\").",
        '另测 MAUVE，以作者留出文本的得分为 1（需 pip install ".[mauve]"）。',
    )
    lm_eval_tasks: Texts = key(
        [],
        "Tasks of lm-evaluation-harness for base and policy: names such as ceval-valid, or task files "
        '(needs pip install ".[lm-eval]").',
        "用 lm-evaluation-harness 测底座与训练后模型的任务：名称（如 ceval-valid）或任务文件"
        '（需 pip install ".[lm-eval]"）。',
    )
    lm_eval_limit: int | None = key(
        None,
        "Examples of each of these tasks; null takes all.",
        "每个任务取几例；null 表示全部。",
        ge=1,
    )
    gate_longest_copy: int | None = key(
        50,
        "Gate: characters of the longest run copied from the training text, at most. null switches "
        "a limit off.",
        "关卡：逐字照抄训练文本最长不得超过的字数。null 表示不设此限。",
        ge=1,
    )
    gate_copied_share: Share | None = key(
        0.02,
        "Gate: share of the written texts with a copied run of 30 characters or more, at most.",
        "关卡：含 30 字以上照抄的篇目比例上限。",
    )
    gate_drift_kl: Number | None = key(
        0.5,
        "Gate: drift KL on general text in nats per token, at most.",
        "关卡：普通文本上的漂移 KL 上限（每词元，奈特）。",
        ge=0,
    )
    gate_general_loss: Number | None = key(
        0.3,
        "Gate: bits per character lost on general text, at most.",
        "关卡：普通文本上每字比特的损失上限。",
    )
    gate_author_gain: Number | None = key(
        0.0,
        "Gate: bits per character gained on the author's held-out text, at least.",
        "关卡：作者留出文本上每字比特的收益下限。",
    )
    gate_repetition: Number | None = key(
        0.1,
        "Gate: how far the share of repeated 4-grams may lie above real text's own range.",
        "关卡：四字重复率超出真实文本范围的上限。",
    )
    seed: Seed = key(1234, "Seed of the written texts.", "生成文本的随机种子。")


class GenerationSection(Section):
    """How `stylellm write` and the evaluation sample text."""

    max_new_tokens: int = key(
        200, "Greatest number of tokens that are added.", "最多续写的 token 数。", ge=1
    )
    do_sample: bool = key(
        True,
        "Draw at random; false always takes the likeliest token.",
        "随机采样；false 表示总取概率最大的 token。",
    )
    temperature: Number = key(
        0.9, "Above 1 is wilder, below 1 is tamer.", "大于 1 更放开，小于 1 更保守。", gt=0, le=10
    )
    top_p: Number = key(
        0.9,
        "Draw from the likeliest tokens that together have this probability; 1 = all.",
        "只从累计概率达到此值的最可能 token 中采样；1 表示全部。",
        gt=0,
        le=1,
    )
    top_k: int = key(
        0,
        "Draw from this many likeliest tokens; 0 = all.",
        "只从最可能的若干个 token 中采样；0 表示全部。",
        ge=0,
    )
    repetition_penalty: Number = key(
        1.05,
        "Above 1 makes tokens that already occurred less likely.",
        "大于 1 会降低已出现 token 的概率。",
        gt=0,
        le=10,
    )
    seed: Seed = key(42, "Seed of the sampling.", "采样的随机种子。")
