"""The machine and what fits on it: findings with their fix, and peak memory predicted from a shape.

`machine` takes the snapshot, `advice` judges it, `memory` predicts a training step, `proposals`
searches for settings that fit, `check` is what `train` asks first, `table` writes the README's table.
Nothing here imports torch unless a machine is looked at (`machine.gather`, `speed`).
"""
