"""The configuration: one strict tree, read from YAML and the command line.

`load_config` is the way in; it raises one ConfigError with all problems. Nothing here imports torch
or transformers until a key asks for them (`training_arguments`, fields of TrainingArguments that
are not typed in the tree, hardware checks).
"""

from stylellm.config.arguments import training_arguments
from stylellm.config.checks import check_hardware
from stylellm.config.overrides import SKETCH_FLAGS, flag_overrides
from stylellm.config.parse import (
    dump_config,
    load_config,
    parse_config,
    save_config,
    to_mapping,
    with_overrides,
)
from stylellm.config.training import TrainingSection
from stylellm.config.tree import (
    SECTIONS,
    DataSection,
    EvaluationSection,
    GenerationSection,
    LoraSection,
    MaskingSection,
    ModelSection,
    ObjectiveSection,
    StyleConfig,
)

__all__ = [
    "SECTIONS",
    "SKETCH_FLAGS",
    "DataSection",
    "EvaluationSection",
    "GenerationSection",
    "LoraSection",
    "MaskingSection",
    "ModelSection",
    "ObjectiveSection",
    "StyleConfig",
    "TrainingSection",
    "check_hardware",
    "dump_config",
    "flag_overrides",
    "load_config",
    "parse_config",
    "save_config",
    "to_mapping",
    "training_arguments",
    "with_overrides",
]
