"""Testbeds: models with a known truth, and everything a local posterior needs."""

from creode.testbeds.classifier import Classifier, classifier, rescaled
from creode.testbeds.context_regression import ContextRegression, context_regression
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.testbeds.deep_linear import DeepLinear, deep_linear, deep_linear_llc
from creode.testbeds.induction import Induction, induction_decoder
from creode.testbeds.last_token import LastTokenDecoder
from creode.testbeds.list_sorting import ListSorting, SortingHeads, list_sorting
from creode.testbeds.modular_addition import AdditionConfig, AdditionRun, modular_addition
from creode.testbeds.normal_crossing import NormalCrossing, normal_crossing
from creode.testbeds.parentheses import (
    equal_count,
    nested,
    parentheses,
    revealing,
    strings_of,
)
from creode.testbeds.planted_faults import (
    PlantedFault,
    PostTrained,
    planted_fault,
    post_trained,
    pretrained,
)
from creode.testbeds.quadratic import Quadratic, quadratic
from creode.testbeds.superposition import Superposition, superposition
from creode.testbeds.superposition_training import (
    SuperpositionRun,
    num_corners,
    shared_polygon,
    superposition_run,
)
from creode.testbeds.testbed import Testbed
from creode.testbeds.two_tasks import TwoTasks, two_tasks

__all__ = [
    "AdditionConfig",
    "AdditionRun",
    "Classifier",
    "ContextRegression",
    "Decoder",
    "DecoderConfig",
    "DeepLinear",
    "Induction",
    "LastTokenDecoder",
    "ListSorting",
    "NormalCrossing",
    "PlantedFault",
    "PostTrained",
    "Quadratic",
    "SortingHeads",
    "Superposition",
    "SuperpositionRun",
    "Testbed",
    "TwoTasks",
    "classifier",
    "context_regression",
    "deep_linear",
    "deep_linear_llc",
    "equal_count",
    "induction_decoder",
    "list_sorting",
    "modular_addition",
    "nested",
    "normal_crossing",
    "num_corners",
    "parentheses",
    "planted_fault",
    "post_trained",
    "pretrained",
    "quadratic",
    "rescaled",
    "revealing",
    "shared_polygon",
    "strings_of",
    "superposition",
    "superposition_run",
    "two_tasks",
]
