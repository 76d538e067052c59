"""Testbeds: models with a known truth, and everything a local posterior needs."""

from creode.testbeds.classifier import Classifier, classifier, rescaled
from creode.testbeds.decoder import Decoder, DecoderConfig
from creode.testbeds.deep_linear import DeepLinear, deep_linear, deep_linear_llc
from creode.testbeds.normal_crossing import NormalCrossing, normal_crossing
from creode.testbeds.quadratic import Quadratic, quadratic
from creode.testbeds.superposition import Superposition, superposition
from creode.testbeds.testbed import Testbed

__all__ = [
    "Classifier",
    "Decoder",
    "DecoderConfig",
    "DeepLinear",
    "NormalCrossing",
    "Quadratic",
    "Superposition",
    "Testbed",
    "classifier",
    "deep_linear",
    "deep_linear_llc",
    "normal_crossing",
    "quadratic",
    "rescaled",
    "superposition",
]
