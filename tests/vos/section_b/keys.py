"""The keys of the video-clip vocabulary, in the order of its table: what each is here, and the test of its effect."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class VocabularyKey:
    """One key as users of that vocabulary write it."""

    name: str
    written: str
    """Another value than the default, as on the command line."""
    field: str
    """The key of ours that it sets; the same, or the one that it is an alias of."""
    value: Any
    """What that field then holds, as plain values."""
    test: str
    """<file below tests>::<function>: fails if the key is ignored."""

    @property
    def override(self) -> str:
        return f"{self.name}={self.written}"


_MODEL = "vos/section_b/test_model_keys.py"
_DATA = "vos/section_b/test_dataset_keys.py"
_LOOP = "engine/test_lightning_keys.py"
_DEVICES = "engine/test_devices.py"
_ARGUMENT = f"{_MODEL}::test_each_key_is_an_argument_of_sam2"
_PLAN = "engine/test_plan.py"
_SCHEDULE = "engine/test_torch_schedule.py"
_PROMPTS, _PROMPT_EFFECT = "vos/model/test_prompt_types.py", "test_every_key_changes_what_is_learned"
_LOSS, _LOSS_EFFECT = "vos/test_bce_dice.py", "test_every_key_of_the_type_has_an_effect"
_SERVICES = "engine/logging/test_services.py::test_a_killed_and_resumed_run_is_one_run_of_the_service"

MODEL = (
    VocabularyKey("model.checkpoint_path", "w.pt", "model.checkpoint", "w.pt", f"{_MODEL}::test_weights_are_loaded"),
    VocabularyKey(
        "model.config_path", "t.yaml", "model.name", "t.yaml", f"{_MODEL}::test_the_network_is_the_named_one"
    ),
    VocabularyKey("model.model_name", "s", "model.name", "s", f"{_MODEL}::test_the_network_is_the_named_one"),
    VocabularyKey(
        *("model.trainable_modules", "[memory_attention,memory_encoder]", "model.trainable_modules"),
        ["memory_attention", "memory_encoder"],
        "vos/model/test_freezing.py::test_modules_globs_and_parameters_can_be_named",
    ),
    VocabularyKey(
        *("model.image_size", "512", "model.image_size", 512),
        "vos/model/test_build.py::test_the_resolution_sets_image_size_and_rotary_extents",
    ),
    VocabularyKey("model.num_maskmem", "5", "model.num_maskmem", 5, _ARGUMENT),
    VocabularyKey(
        "model.backbone_stride", "8", "model.backbone_stride", 8, f"{_MODEL}::test_another_stride_is_refused"
    ),
    VocabularyKey(
        *("model.max_objects", "7", "dataset.max_num_objects", 7),
        "vos/clips/test_sampler.py::test_objects_are_drawn_among_those_visible_in_the_first_frame",
    ),
    VocabularyKey("model.use_obj_ptrs_in_encoder", "false", "model.use_obj_ptrs_in_encoder", False, _ARGUMENT),
    VocabularyKey("model.max_obj_ptrs_in_encoder", "4", "model.max_obj_ptrs_in_encoder", 4, _ARGUMENT),
    VocabularyKey("model.add_tpos_enc_to_obj_ptrs", "false", "model.add_tpos_enc_to_obj_ptrs", False, _ARGUMENT),
    VocabularyKey("model.proj_tpos_enc_in_obj_ptrs", "false", "model.proj_tpos_enc_in_obj_ptrs", False, _ARGUMENT),
    VocabularyKey(
        *("model.use_signed_tpos_enc_to_obj_ptrs", "false", "model.use_signed_tpos_enc_to_obj_ptrs", False, _ARGUMENT)
    ),
    VocabularyKey("model.multimask_output_in_sam", "false", "model.multimask_output_in_sam", False, _ARGUMENT),
    VocabularyKey(
        "model.multimask_output_for_tracking", "true", "model.multimask_output_for_tracking", True, _ARGUMENT
    ),
    VocabularyKey("model.device", "cpu", "trainer.accelerator", "cpu", f"{_DEVICES}::test_the_device_is_the_named_one"),
)
DATASET = (
    VocabularyKey(
        *("dataset.data_path", "a.json", "dataset.data_path", "a.json"),
        f"{_DATA}::test_annotations_are_read_from_the_named_file",
    ),
    VocabularyKey(
        *("data.train_path", "a.json", "dataset.data_path", "a.json"),
        f"{_DATA}::test_annotations_are_read_from_the_named_file",
    ),
    VocabularyKey(
        *("data.val_path", "b.json", "val_dataset.data_path", "b.json"),
        f"{_DATA}::test_annotations_are_read_from_the_named_file",
    ),
    VocabularyKey(
        *("data.img_folder", "frames", "dataset.img_folder", "frames"),
        f"{_DATA}::test_annotations_are_read_from_the_named_file",
    ),
    VocabularyKey(
        *("dataset.dataset_type", "synthetic", "dataset.dataset_type", "synthetic"),
        "vos/section_b/test_every_key.py::test_the_format_is_the_named_one",
    ),
    VocabularyKey(
        *("dataset.image_size", "512x512", "model.image_size", 512), f"{_DATA}::test_sizes_are_read_in_every_spelling"
    ),
    VocabularyKey(
        *("dataset.video_clip_length", "5", "dataset.num_frames", 5), f"{_DATA}::test_clips_have_that_many_frames"
    ),
    VocabularyKey(
        *("dataset.stride", "3", "dataset.frame_interval", [3, 3]), f"{_DATA}::test_frames_of_a_clip_are_so_far_apart"
    ),
    VocabularyKey("dataset.batch_size", "4", "loader.batch_size", 4, f"{_LOOP}::test_a_batch_has_that_many_samples"),
    VocabularyKey("dataset.num_workers", "0", "loader.num_workers", 0, f"{_LOOP}::test_so_many_processes_load"),
    VocabularyKey("dataset.shuffle", "false", "loader.shuffle", False, f"{_LOOP}::test_without_shuffling_order_stays"),
    VocabularyKey(
        *("val_dataset.image_size", "[512,512]", "model.image_size", 512),
        f"{_DATA}::test_sizes_are_read_in_every_spelling",
    ),
    VocabularyKey(
        *("val_dataset.video_clip_length", "7", "val_dataset.num_frames", 7),
        f"{_DATA}::test_the_validation_loss_has_clips_of_its_own_length",
    ),
    VocabularyKey(
        *("val_dataset.stride", "2", "val_dataset.frame_interval", [2, 2]),
        f"{_DATA}::test_the_validation_loss_has_clips_of_its_own_length",
    ),
    VocabularyKey(
        *("val_dataset.batch_size", "1", "val_dataset.batch_size", 1), f"{_DATA}::test_videos_are_measured_one_by_one"
    ),
    VocabularyKey(
        *("val_dataset.num_workers", "3", "val_dataset.num_workers", 3), f"{_DATA}::test_so_many_threads_read_ahead"
    ),
    VocabularyKey(
        *("val_dataset.shuffle", "false", "val_dataset.shuffle", False), f"{_DATA}::test_videos_are_measured_in_order"
    ),
)
PROMPTS = (
    VocabularyKey(
        "prompts.prompt_types", "[point,box]", "prompts.prompt_types", ["point", "box"], f"{_PROMPTS}::{_PROMPT_EFFECT}"
    ),
    VocabularyKey("prompts.prompt_type", "mask", "prompts.prompt_types", ["mask"], f"{_PROMPTS}::{_PROMPT_EFFECT}"),
    VocabularyKey("prompts.num_of_pos_points", "3", "prompts.num_of_pos_points", 3, f"{_PROMPTS}::{_PROMPT_EFFECT}"),
    VocabularyKey("prompts.num_of_neg_points", "2", "prompts.num_of_neg_points", 2, f"{_PROMPTS}::{_PROMPT_EFFECT}"),
    VocabularyKey(
        *("prompts.include_center_point", "false", "prompts.include_center_point", False),
        f"{_PROMPTS}::{_PROMPT_EFFECT}",
    ),
)
"""With prompts.prompt_types, to which the others belong."""
LOSS = tuple(
    VocabularyKey(f"loss.{name}", written, f"loss.{name}", float(written), f"{_LOSS}::{_LOSS_EFFECT}")
    for name, written in (
        *(("bce_weight", "2.0"), ("dice_weight", "3.0"), ("iou_weight", "0.25"), ("temporal_weight", "0.5")),
        ("smooth", "1.0"),
    )
)
"""With loss.type=bce_dice, to which they belong."""
OPTIMIZER = (
    VocabularyKey("optimizer.type", "SGD", "optimizer.type", "SGD", f"{_LOOP}::test_the_optimizer_is_what_it_says"),
    VocabularyKey("optimizer.lr", "1e-4", "optimizer.lr", 1e-4, f"{_LOOP}::test_the_optimizer_is_what_it_says"),
    VocabularyKey(
        *("optimizer.weight_decay", "1e-4", "optimizer.weight_decay", 1e-4),
        f"{_LOOP}::test_the_optimizer_is_what_it_says",
    ),
    VocabularyKey(
        *("optimizer.betas", "[0.8,0.9]", "optimizer.betas", [0.8, 0.9]), f"{_LOOP}::test_the_optimizer_is_what_it_says"
    ),
    VocabularyKey("optimizer.eps", "1e-6", "optimizer.eps", 1e-6, f"{_LOOP}::test_the_optimizer_is_what_it_says"),
    VocabularyKey(
        *("scheduler.enabled", "false", "scheduler.enabled", False), f"{_SCHEDULE}::test_switched_off_the_rates_stay"
    ),
    VocabularyKey(
        *("scheduler.type", "StepLR", "scheduler.type", "StepLR"),
        f"{_SCHEDULE}::test_rates_are_those_of_torchs_own_class",
    ),
    VocabularyKey("scheduler.T_max", "7", "scheduler.T_max", 7, f"{_LOOP}::test_arguments_reach_the_schedule"),
    VocabularyKey(
        "scheduler.eta_min", "1e-5", "scheduler.eta_min", 1e-5, f"{_LOOP}::test_arguments_reach_the_schedule"
    ),
    VocabularyKey("scheduler.step_size", "3", "scheduler.step_size", 3, f"{_LOOP}::test_arguments_reach_the_schedule"),
    VocabularyKey("scheduler.gamma", "0.5", "scheduler.gamma", 0.5, f"{_LOOP}::test_arguments_reach_the_schedule"),
)
TRAINER = (
    VocabularyKey("trainer.accelerator", "gpu", "trainer.accelerator", "cuda", f"{_DEVICES}::test_a_gpu_is_asked_for"),
    VocabularyKey(
        *("trainer.devices", "2", "launcher.gpus_per_node", 2),
        f"{_DEVICES}::test_devices_are_counted_as_lightning_does",
    ),
    VocabularyKey(
        *("trainer.precision", "bf16-mixed", "trainer.precision", "bf16-mixed"),
        "engine/test_precision.py::test_bf16_works_on_a_cpu",
    ),
    VocabularyKey("trainer.max_epochs", "100", "trainer.max_epochs", 100, f"{_LOOP}::test_a_run_has_that_many_epochs"),
    VocabularyKey(
        *("trainer.gradient_clip_val", "1.0", "trainer.gradient_clip_val", 1.0),
        f"{_LOOP}::test_the_gradient_is_bounded_unless_that_is_0",
    ),
    VocabularyKey(
        *("trainer.accumulate_grad_batches", "2", "trainer.accumulate_grad_batches", 2),
        f"{_LOOP}::test_what_counts_batches_counts_them_with_accumulation_too",
    ),
    VocabularyKey(
        *("trainer.limit_train_batches", "8", "trainer.limit_train_batches", 8),
        f"{_LOOP}::test_what_counts_batches_counts_them_with_accumulation_too",
    ),
    VocabularyKey(
        *("trainer.limit_val_batches", "3", "trainer.limit_val_batches", 3),
        f"{_DATA}::test_a_validation_takes_a_number_or_a_fraction_of_the_videos",
    ),
    VocabularyKey(
        *("trainer.val_check_interval", "6", "trainer.val_check_interval", 6),
        f"{_LOOP}::test_what_counts_batches_counts_them_with_accumulation_too",
    ),
    VocabularyKey(
        *("trainer.num_sanity_val_steps", "-1", "trainer.num_sanity_val_steps", -1),
        "engine/test_validation_schedule.py::test_a_sanity_check_takes_so_many_items_unless_all_are_measured_anyway",
    ),
    VocabularyKey(
        *("trainer.enable_checkpointing", "false", "trainer.enable_checkpointing", False),
        f"{_LOOP}::test_without_checkpointing_nothing_is_saved",
    ),
    VocabularyKey(
        *("trainer.enable_progress_bar", "false", "trainer.enable_progress_bar", False),
        "engine/logging/test_run_log.py::test_lines_instead_of_a_bar_on_a_terminal_where_the_bar_is_switched_off",
    ),
    VocabularyKey("trainer.logger", "false", "trainer.logger", False, f"{_LOOP}::test_without_a_logger_only_the_table"),
    VocabularyKey(
        *("trainer.log_every_n_steps", "50", "trainer.log_every_n_steps", 50),
        f"{_PLAN}::test_losses_are_shown_after_the_first_step_of_a_start_at_multiples_and_after_the_last",
    ),
    VocabularyKey(
        *("trainer.early_stopping_patience", "3", "trainer.early_stopping_patience", 3),
        f"{_LOOP}::test_patience_alone_ends_a_run_that_gets_no_better",
    ),
)
RUN = (
    VocabularyKey("seed", "42", "seed", 42, f"{_PLAN}::test_epochs_differ_and_the_seed_decides"),
    VocabularyKey(
        *("output_dir", "./runs", "output_dir", "./runs"),
        "vos/section_b/test_output_dir.py::test_the_same_command_continues_and_after_its_end_begins_anew",
    ),
    VocabularyKey("save_dir", "./saved", "save_dir", "./saved", f"{_LOOP}::test_checkpoints_go_where_save_dir_says"),
    VocabularyKey(
        "log_level", "warning", "log_level", "WARNING", f"{_LOOP}::test_messages_below_the_level_are_left_out"
    ),
    VocabularyKey("use_wandb", "true", "logging.use_wandb", True, _SERVICES),
    VocabularyKey("wandb_project", "cells", "logging.project", "cells", _SERVICES),
    VocabularyKey("use_swanlab", "true", "logging.use_swanlab", True, _SERVICES),
    VocabularyKey("swanlab_project", "cells", "logging.project", "cells", _SERVICES),
    VocabularyKey("logging.logger_type", "WandbLogger", "logging.logger_type", ["wandb"], _SERVICES),
    VocabularyKey(
        *("visualization.enabled", "false", "visualization.enabled", False),
        "vos/section_b/test_visualization_keys.py::test_pictures_are_made_where_they_are_asked_for",
    ),
    VocabularyKey(
        *("visualization.train_every_n_steps", "2", "visualization.train_every_n_steps", 2),
        "vos/section_b/test_visualization_keys.py::test_pictures_are_made_where_they_are_asked_for",
    ),
    VocabularyKey(
        *("visualization.val_first_batch_every_n_epochs", "2", "visualization.val_first_batch_every_n_epochs", 2),
        "vos/reporting/test_writer.py::test_a_gif_comes_with_the_first_validation_after_every_so_many_epochs",
    ),
    VocabularyKey(
        *("visualization.max_length", "3", "visualization.max_length", 3),
        "vos/section_b/test_visualization_keys.py::test_length_and_stride_choose_the_frames",
    ),
    VocabularyKey(
        *("visualization.stride", "2", "visualization.stride", 2),
        "vos/section_b/test_visualization_keys.py::test_length_and_stride_choose_the_frames",
    ),
    VocabularyKey(
        "ckpt_path", "a.pt", "checkpoint.resume_from", "a.pt", f"{_LOOP}::test_a_run_continues_from_ckpt_path"
    ),
)

KEYS = (*MODEL, *PROMPTS, *DATASET, *LOSS, *OPTIMIZER, *TRAINER, *RUN)
BELONGING = {"prompts.": ("prompts.prompt_types=[point]", "scratch.num_frames=2"), "loss.": ("loss.type=bce_dice",)}
"""{beginning of a key: the settings that it belongs to}."""
