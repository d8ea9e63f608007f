"""What becomes of each field of `transformers.TrainingArguments` under `training:`.

Every field of transformers 5.23 was looked at. It is either *typed* (a key of `TrainingSection`),
*honoured* (handed on unchanged), *fixed* (StyleLLM sets it) or *refused* (our loss or our commands
would bypass it, so that it would do nothing or do harm). Names that transformers 5 dropped, which
most recipes on the web still use, are answered with what replaced them. A field that a later
transformers adds is honoured until someone has looked at it.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

AUDITED_VERSION = "5.23"


class Rule(NamedTuple):
    """Why a field is not the user's to set.

    `harmless` values are accepted: they change nothing. The first is the default of
    TrainingArguments (in `FIXED`: the value that StyleLLM sets).
    """

    harmless: tuple[Any, ...]
    en: str
    zh: str


class Dropped(NamedTuple):
    """A name of transformers 4. `{value}` in the texts stands for the value that was found."""

    en: str
    zh: str


_SAMPLES = Rule(
    (False, None),
    "evaluation keeps sums, not predictions, so this has nothing to act on",
    "评测只保留累计值，不保留预测，此项不起作用",
)
_SHARDED = Rule(
    (None, False, "", [], {}),
    "the loss reads the output head's weights directly, which this would shard; "
    "start several processes with torchrun instead",
    "损失直接读取输出层权重，而此项会把它切分；多卡请用 torchrun 启动",
)
_COMPILE = Rule(
    (None, False),
    "torch_compile compiles the decoder's layers in the compiler's own way",
    "torch_compile 以编译器默认的方式编译解码器各层",
)
_COMMAND = Rule(
    (False, None),
    "the command decides it: stylellm train, train --eval_only, evaluate",
    "由命令决定：stylellm train、train --eval_only、evaluate",
)
_FULL_EVAL = Rule(
    (False,),
    "it would cast the trained adapter; set model.dtype instead",
    "它会转换正在训练的适配器；请改用 model.dtype",
)

REFUSED: dict[str, Rule] = {
    "label_smoothing_factor": Rule(
        (0.0,),
        "our loss has its own cross-entropy; to hold back over-confidence raise objective.kl_beta",
        "损失自带交叉熵；要抑制过度自信请调大 objective.kl_beta",
    ),
    "liger_kernel_config": Rule(
        (None,),
        "only Liger's kernels for the backbone are of use here; use_liger_kernel takes all of them",
        "这里只用得上 Liger 的主干内核；use_liger_kernel 会全部启用",
    ),
    "neftune_noise_alpha": Rule(
        (None,),
        "it would add noise to the frozen reference too, and the KL would measure the noise",
        "它会给冻结的参考模型也加噪声，KL 将变成在量噪声",
    ),
    "label_names": Rule(
        (None, ["labels"]), "the batches are made by StyleLLM", "批次由 StyleLLM 生成"
    ),
    "average_tokens_across_devices": Rule(
        (True,),
        "scored positions are always counted over all devices",
        "计分位置总是跨设备统计",
    ),
    "use_cache": Rule((False,), "training keeps no key-value cache", "训练时不保留 KV 缓存"),
    "include_num_input_tokens_seen": Rule(
        ("no", False),
        "train_log.jsonl counts the tokens already",
        "train_log.jsonl 已经统计 token 数",
    ),
    "auto_find_batch_size": Rule(
        (False,),
        "a run that changes its own batch size cannot be resumed exactly; "
        "lower training.per_device_train_batch_size",
        "自行改变批大小的训练无法精确续训；请调小 training.per_device_train_batch_size",
    ),
    "torch_compile_backend": _COMPILE,
    "torch_compile_mode": _COMPILE,
    "bf16_full_eval": _FULL_EVAL,
    "fp16_full_eval": _FULL_EVAL,
    "eval_do_concat_batches": _SAMPLES._replace(harmless=(True,)),
    "eval_use_gather_object": _SAMPLES,
    "eval_accumulation_steps": _SAMPLES._replace(harmless=(None,)),
    "include_for_metrics": _SAMPLES._replace(harmless=([], None)),
    "batch_eval_metrics": _SAMPLES,
    "optim_target_modules": Rule(
        (None,),
        "it belongs to GaLore and APOLLO, which train full weights; choose lora.target_modules",
        "它属于训练全部权重的 GaLore 和 APOLLO；请用 lora.target_modules",
    ),
    "deepspeed": _SHARDED,
    "fsdp": _SHARDED,
    "fsdp_config": _SHARDED,
    "parallelism_config": _SHARDED,
    "hub_token": Rule(
        (None,),
        "the configuration is saved beside the model, and a token must not be; run hf auth login",
        "配置会随模型保存，令牌不应写入；请运行 hf auth login",
    ),
    "do_train": _COMMAND,
    "do_eval": _COMMAND,
    "do_predict": _COMMAND,
    "resume_from_checkpoint": Rule(
        (None,), "use stylellm train --resume", "请用 stylellm train --resume"
    ),
    "local_rank": Rule((-1,), "torchrun sets it", "由 torchrun 设置"),
}

FIXED: dict[str, Rule] = {
    "remove_unused_columns": Rule(
        (False,),
        "the masks are drawn from columns that the model does not take",
        "掩码所需的列不是模型的输入",
    ),
    "prediction_loss_only": Rule(
        (True,), "logits of a whole batch are never kept", "从不保留整批 logits"
    ),
    "logging_nan_inf_filter": Rule(
        (False,),
        "a loss that is not finite stops the run instead of being left out of the log",
        "损失非有限值时立即停止，而不是从日志中略去",
    ),
    "length_column_name": Rule(
        ("num_tokens",), "the prepared windows name it so", "准备好的窗口就用这个列名"
    ),
}

_HONOURED = """
    lr_scheduler_kwargs optim optim_args adam_beta1 adam_beta2 adam_epsilon tf32
    activation_checkpointing activation_checkpointing_kwargs gradient_checkpointing_kwargs
    torch_empty_cache_steps logging_strategy logging_first_step log_on_each_node log_level
    log_level_replica disable_tqdm run_name project trackio_space_id trackio_bucket_id
    trackio_static_space_id eval_delay eval_on_start save_only_model save_on_each_node
    enable_jit_checkpoint push_to_hub hub_private_repo hub_model_id hub_strategy hub_always_push
    hub_revision metric_for_best_model greater_is_better ignore_data_skip
    restore_callback_states_from_checkpoint full_determinism data_seed accelerator_config
    dataloader_drop_last dataloader_pin_memory dataloader_persistent_workers
    dataloader_prefetch_factor dataloader_multiprocessing_context dataloader_in_order
    train_sampling_strategy ddp_find_unused_parameters ddp_bucket_cap_mb ddp_broadcast_buffers
    ddp_static_graph ddp_backend ddp_timeout debug skip_memory_metrics
"""
HONOURED = frozenset(_HONOURED.split())

# Optimizers that need full weights or take the gradient step inside backward.
REFUSED_OPTIMIZERS = ("galore", "apollo", "lomo", "adalomo")

_HUB = Dropped("use hub_model_id (user/name)", "改用 hub_model_id（用户名/模型名）")
_NOT_NEEDED = Dropped("gone; leave it out", "已取消；删去即可")
_HALF = Dropped(
    "gone; PyTorch's own bf16: true or fp16: true", "已取消；用 bf16: true 或 fp16: true"
)
_GENERATE = Dropped(
    "of Seq2SeqTrainingArguments; StyleLLM writes samples itself: see evaluation and generation",
    "属于 Seq2SeqTrainingArguments；样文由 StyleLLM 自行生成，见 evaluation 与 generation",
)
_ACCELERATOR = Dropped(
    "use accelerator_config: {{{name}: {value}}}", "改用 accelerator_config: {{{name}: {value}}}"
)

DROPPED: dict[str, Dropped] = {
    "evaluation_strategy": Dropped("use eval_strategy: {value}", "改用 eval_strategy: {value}"),
    "evaluate_during_training": Dropped("use eval_strategy: steps", "改用 eval_strategy: steps"),
    "warmup_ratio": Dropped(
        "use warmup_steps: {value} (a value below 1 is a share of the run)",
        "改用 warmup_steps: {value}（小于 1 的值表示占全部步数的比例）",
    ),
    "group_by_length": Dropped(
        "use train_sampling_strategy: group_by_length (random is the default)",
        "改用 train_sampling_strategy: group_by_length（默认 random）",
    ),
    "no_cuda": Dropped("use use_cpu: {value}", "改用 use_cpu: {value}"),
    "per_gpu_train_batch_size": Dropped(
        "use per_device_train_batch_size: {value}", "改用 per_device_train_batch_size: {value}"
    ),
    "per_gpu_eval_batch_size": Dropped(
        "use per_device_eval_batch_size: {value}", "改用 per_device_eval_batch_size: {value}"
    ),
    "logging_dir": Dropped(
        "set the environment variable TENSORBOARD_LOGGING_DIR; "
        "without it the curves lie under output_dir/runs",
        "改设环境变量 TENSORBOARD_LOGGING_DIR；不设则曲线在 output_dir/runs",
    ),
    "overwrite_output_dir": Dropped(
        "gone; choose another training.output_dir, or continue with --resume",
        "已取消；另选 training.output_dir，或用 --resume 续训",
    ),
    "fp16_backend": _HALF,
    "half_precision_backend": _HALF,
    "fp16_opt_level": _HALF,
    "adafactor": Dropped("use optim: adafactor", "改用 optim: adafactor"),
    "past_index": _NOT_NEEDED,
    "use_mps_device": Dropped(
        "gone; Apple GPUs are found by themselves", "已取消；会自动使用苹果 GPU"
    ),
    "torchdynamo": Dropped("use torch_compile: true", "改用 torch_compile: true"),
    "ray_scope": _NOT_NEEDED,
    "save_safetensors": Dropped("gone; safetensors is always used", "已取消；总是用 safetensors"),
    "tpu_num_cores": _NOT_NEEDED,
    "tpu_metrics_debug": Dropped("use debug: tpu_metrics_debug", "改用 debug: tpu_metrics_debug"),
    "jit_mode_eval": _NOT_NEEDED,
    "use_ipex": _NOT_NEEDED,
    "xpu_backend": Dropped("use ddp_backend: {value}", "改用 ddp_backend: {value}"),
    "push_to_hub_model_id": _HUB,
    "push_to_hub_organization": _HUB,
    "push_to_hub_token": Dropped("run hf auth login", "请运行 hf auth login"),
    "include_inputs_for_metrics": Dropped(
        "became include_for_metrics, which is refused here",
        "已改为 include_for_metrics，此处不接受",
    ),
    "include_tokens_per_second": Dropped(
        "gone; train_log.jsonl holds tokens per second", "已取消；train_log.jsonl 含每秒 token 数"
    ),
    "use_legacy_prediction_loop": _NOT_NEEDED,
    "mp_parameters": _NOT_NEEDED,
    "tp_size": Dropped(
        "gone, and a sharded head is refused here", "已取消，且此处不支持切分输出层"
    ),
    "sharded_ddp": Dropped("became fsdp, which is refused here", "已改为 fsdp，此处不接受"),
    "fsdp_min_num_params": Dropped(
        "became fsdp_config, which is refused here", "已改为 fsdp_config，此处不接受"
    ),
    "fsdp_transformer_layer_cls_to_wrap": Dropped(
        "became fsdp_config, which is refused here", "已改为 fsdp_config，此处不接受"
    ),
    "dispatch_batches": _ACCELERATOR,
    "split_batches": _ACCELERATOR,
    "predict_with_generate": _GENERATE,
    "generation_max_length": _GENERATE,
    "generation_num_beams": _GENERATE,
    "generation_config": _GENERATE,
    "sortish_sampler": Dropped(
        "of Seq2SeqTrainingArguments; use train_sampling_strategy: group_by_length",
        "属于 Seq2SeqTrainingArguments；改用 train_sampling_strategy: group_by_length",
    ),
}

Class = Literal["typed", "honoured", "fixed", "refused"]


def classify(name: str) -> Class:
    """What becomes of a field of TrainingArguments; one that nobody has looked at is honoured."""
    from stylellm.config.training import TrainingSection

    if name in TrainingSection.model_fields:
        return "typed"
    if name in FIXED:
        return "fixed"
    return "refused" if name in REFUSED else "honoured"
