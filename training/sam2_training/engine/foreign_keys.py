"""Keys of Lightning and of similar trainers that are named otherwise here, or that are not supported."""

from __future__ import annotations

_SERVICES = "here it is the section logging, such as logging.logger_type=wandb and logging.project"
_LOGGERS = "not supported in this version: metrics.csv, TensorBoard and report.html are always written, into the run's"
_LOGGERS += " folder (launcher.experiment_log_dir)"
_RESUME = "here it is checkpoint.resume_from; without it a run continues from its own folder"
_FOLDER = "here it is output_dir, the folder of runs, or launcher.experiment_log_dir, that of this run"
_PROCESSES = "here it is launcher.gpus_per_node (--num-gpus), the number of processes"
_OWN_LOADER = "not supported: the order of samples is the engine's; here are loader.batch_size and loader.num_workers"

FOREIGN_KEYS: dict[str, str] = {
    # The loop
    "trainer.gpus": _PROCESSES,
    "trainer.num_nodes": "here it is launcher.num_nodes",
    "trainer.strategy": "not supported: several processes always train with DDP; launcher.gpus_per_node says how many",
    "trainer.min_epochs": "not supported in this version: early_stopping.patience says how long a run goes on",
    "trainer.min_steps": "not supported in this version: early_stopping.patience says how long a run goes on",
    "trainer.max_time": "not supported in this version: a stop signal saves and ends the run; see trainer.max_steps",
    "trainer.fast_dev_run": "not supported: set trainer.max_steps=1",
    "trainer.overfit_batches": "not supported: set trainer.limit_train_batches, the number of steps of an epoch",
    "trainer.default_root_dir": _FOLDER,
    "trainer.benchmark": "not supported: trainer.deterministic chooses the kernels",
    "trainer.gradient_clip_algorithm": "not supported: trainer.gradient_clip_val is always a bound of the norm",
    "trainer.epochs": "here it is trainer.max_epochs",
    "model.ckpt_path": _RESUME,
    "epochs": "here it is trainer.max_epochs",
    "lr": "here it is optimizer.lr",
    "learning_rate": "here it is optimizer.lr",
    "batch_size": "here it is loader.batch_size",
    # Optimizer and schedule
    "optimizer.name": "here it is optimizer.type",
    "optimizer.momentum": "here it is optimizer.options: {momentum: 0.9}, with optimizer.type=SGD",
    "scheduler.name": "here it is scheduler.type: cosine, linear, constant, or a class of torch.optim.lr_scheduler",
    "scheduler.milestones": "here it is scheduler.options: {milestones: [10, 20]}, with scheduler.type=MultiStepLR",
    "scheduler.warmup_steps": "here it is scheduler.warmup_fraction, a fraction of the run",
    # Loading
    "dataloader.train_dataloader.num_workers": "here it is loader.num_workers",
    "dataloader.train_dataloader.batch_size": "here it is loader.batch_size",
    "dataloader.train_dataloader.shuffle": "here it is loader.shuffle",
    "dataloader": _OWN_LOADER,
    # Logs and checkpoints
    "swanlab": _SERVICES,
    "wandb": _SERVICES,
    "mlflow": _SERVICES,
    "runner": "not supported: what a validation measures is fixed; checkpoint.monitor chooses the best weights by it",
}
"""{key: what to write here, or that it is not supported and what is nearest}."""
