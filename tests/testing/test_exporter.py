"""The conformance kit passes every registered exporter, and catches one that forgets any single thing."""

import dataclasses
import json

import numpy as np
import pytest

from hyperrl import registry
from hyperrl.errors import HyperRLError
from hyperrl.exporters.c99 import C99Exporter
from hyperrl.exporters.npz import NpzExporter
from hyperrl.plain_policy import ActionHead, PlainPolicy
from hyperrl.testing import ExporterCheckError, check_exporter, hard_policies


@pytest.mark.parametrize("name", ["npz", "onnx", "c99"])
def test_registered_exporters_conform(name):
    assert len(check_exporter(name)) == len(hard_policies()) + 4


def test_the_torch_exporter_conforms_on_the_policies_that_matter_most():
    assert len(check_exporter("torch", fast=True)) == 11


@pytest.mark.slow
def test_the_torch_exporter_conforms_on_all():
    check_exporter("torch")


def test_no_exporter_is_left_out():
    assert set(registry.exporters.names()) >= {"npz", "onnx", "c99", "torch"}


def replaced(policy, **changes):
    return dataclasses.replace(policy, **changes)


def with_normaliser(policy, **changes):
    if policy.normaliser is None:
        return policy
    return replaced(policy, normaliser=dataclasses.replace(policy.normaliser, **changes))


def with_head(policy, **changes):
    return replaced(policy, head=dataclasses.replace(policy.head, **changes))


def with_layers(policy, change):
    return replaced(policy, layers=tuple(change(index, layer) for index, layer in enumerate(policy.layers)))


def epsilon_outside(policy):
    if policy.normaliser is None:
        return policy
    moved = (np.sqrt(policy.normaliser.variance) + policy.normaliser.epsilon) ** 2
    return with_normaliser(policy, variance=moved, epsilon=1e-300)


def epsilon_dropped(policy):
    if policy.normaliser is None or not policy.normaliser.variance.all():
        return policy
    return with_normaliser(policy, epsilon=0.0)


def transposed(index, layer):
    return dataclasses.replace(layer, weight=layer.weight.T.reshape(layer.weight.shape))


def swapped_layers(policy):
    if len(set(policy.sizes)) > 1 or len(policy.layers) < 3:
        return policy
    first, second, *rest = policy.layers
    return replaced(policy, layers=(second, first, *rest))


def only_first_activation(policy):
    hidden = policy.layers[0].activation
    last = len(policy.layers) - 1
    return with_layers(
        policy, lambda i, one: one if i == last else dataclasses.replace(one, activation=hidden)
    )


def swap(old, new):
    def change(policy):
        return with_layers(
            policy,
            lambda _, one: dataclasses.replace(one, activation=new) if one.activation == old else one,
        )

    return change


def float16(_, layer):
    return dataclasses.replace(
        layer, weight=layer.weight.astype(np.float16), bias=layer.bias.astype(np.float16)
    )


def mean_in_float32(policy):
    if policy.normaliser is None:
        return policy
    return with_normaliser(policy, mean=policy.normaliser.mean.astype(np.float32))


def one_bound_for_all(policy):
    head = policy.head
    return with_head(
        policy, low=np.full_like(head.low, head.low[0]), high=np.full_like(head.high, head.high[0])
    )


def symmetric(policy):
    if policy.head.bound == "none":
        return policy
    return with_head(policy, low=-policy.head.high.clip(0.01))


MUTANTS = {
    "normaliser dropped": lambda p: replaced(p, normaliser=None),
    "normaliser's clip dropped": lambda p: with_normaliser(p, clip=np.inf),
    "normaliser's clip always ten": lambda p: with_normaliser(p, clip=10.0),
    "mean dropped": lambda p: with_normaliser(p, mean=np.zeros(p.sizes[0])),
    "mean in float32": mean_in_float32,
    "epsilon outside the root": epsilon_outside,
    "epsilon dropped": epsilon_dropped,
    "epsilon of another library": lambda p: with_normaliser(p, epsilon=1e-5),
    "normaliser folded": PlainPolicy.fold_normaliser,
    "tanh dropped": lambda p: with_head(p, squash="none") if p.head.squash == "tanh" else p,
    "smooth limit dropped": lambda p: with_head(p, squash="none") if p.head.squash == "scaled_tanh" else p,
    "scale of the limit dropped": lambda p: with_head(p, scale=1.0),
    "un-scaling dropped": lambda p: with_head(p, bound="none") if p.head.bound == "unscale" else p,
    "clip in place of un-scaling": lambda p: with_head(p, bound="clip") if p.head.bound == "unscale" else p,
    "action clip dropped": lambda p: with_head(p, bound="none") if p.head.bound == "clip" else p,
    "limit of the mean dropped": lambda p: with_head(p, mean_clip=np.inf),
    "one bound for all actions": one_bound_for_all,
    "bounds taken for symmetric": symmetric,
    "lower bound dropped": lambda p: (
        with_head(p, low=np.full_like(p.head.low, -1e6)) if p.head.bound == "clip" else p
    ),
    "every action squashed": lambda p: with_head(p, squash="tanh"),
    "layers transposed": lambda p: with_layers(p, transposed),
    "square layers transposed": lambda p: with_layers(p, transposed) if len(set(p.sizes)) == 1 else p,
    "first layer alone transposed": lambda p: with_layers(p, lambda i, one: one if i else transposed(i, one)),
    "biases dropped": lambda p: with_layers(p, lambda _, one: dataclasses.replace(one, bias=one.bias * 0)),
    "last bias dropped": lambda p: with_layers(
        p, lambda i, one: dataclasses.replace(one, bias=one.bias * 0) if i == len(p.layers) - 1 else one
    ),
    "layers in another order": swapped_layers,
    "activation of the first layer everywhere": only_first_activation,
    "activation behind the last layer": lambda p: with_layers(
        p, lambda _, one: dataclasses.replace(one, activation="tanh") if one.activation == "identity" else one
    ),
    "relu for tanh": swap("tanh", "relu"),
    "relu for elu": swap("elu", "relu"),
    "elu for relu": swap("relu", "elu"),
    "silu for gelu": swap("gelu", "silu"),
    "softplus for mish": swap("mish", "softplus"),
    "relu for leaky relu": swap("leaky_relu", "relu"),
    "tanh for sigmoid": swap("sigmoid", "tanh"),
    "relu for softplus": swap("softplus", "relu"),
    "half precision": lambda p: with_layers(p, float16),
}


def mutant_of(mutate):
    class Mutant(NpzExporter):
        def export(self, artefact, folder):
            return super().export(dataclasses.replace(artefact, policy=mutate(artefact.policy)), folder)

    return Mutant


@pytest.mark.parametrize("name", MUTANTS)
def test_a_forgotten_stage_is_caught(name):
    with pytest.raises(ExporterCheckError, match=r"exporter Mutant, actions, .*differs by") as caught:
        check_exporter(mutant_of(MUTANTS[name]))
    assert isinstance(caught.value, HyperRLError)


# What a slip in the generator would write into policy.c; each must still compile.
SLIPS = {
    "clip": ("inverse_deviation[i], -1.5e+00f, 1.5e+00f)", "inverse_deviation[i], -1.5e+09f, 1.5e+09f)"),
    "mean": ("(observation[i] - policy_mean[i])", "(observation[i] + policy_mean[i])"),
    "rest of the mean": (" - policy_mean_rest[i]", " + 0.0f * policy_mean_rest[i]"),
    "tanh": ("x = tanhf(x);", ""),
    "un-scaling": ("0.5f * (x + 1.0f)", "0.5f * x"),
    "rows for columns": (
        "sum += *weight++ * input[column]",
        "sum += weight[column * outputs + row] * input[column]",
    ),
    "bias": ("float sum = bias[row]", "float sum = 0.0f * bias[row]"),
    "activation of one value too few": (
        "i < count; ++i) {\n        const float x",
        "i < count - 1; ++i) {\n        const float x",
    ),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_generated_c_is_caught(slip):
    right, wrong = SLIPS[slip]
    met = []

    class Slip(C99Exporter):
        def export(self, artefact, folder):
            details = super().export(artefact, folder)
            text = (folder / "policy.c").read_text()
            met.append(right in text)
            (folder / "policy.c").write_text(text.replace(right, wrong))
            return details

    # Its own self-test, or the comparison: either stops it.
    with pytest.raises(ExporterCheckError, match=r"actions, .*(differs by|the exported C fails)"):
        check_exporter(Slip)
    assert any(met)


class Careless(NpzExporter):
    """Breaks one promise that is not about actions."""

    fault = ""

    def export(self, artefact, folder):
        artefact = dataclasses.replace(artefact, prefix="policy") if self.fault == "prefix" else artefact
        details = super().export(artefact, folder)
        if self.fault == "time":
            (folder / "when.txt").write_text(str(np.random.default_rng().random()))
        if self.fault == "manifest":
            (folder / "manifest.json").write_text(json.dumps({}))
        if self.fault == "details":
            details["numbers"] = np.float32(1)
        if self.fault == "place":
            details["npz"] = str(folder / details["npz"])
        if self.fault == "folder":
            (folder / "more").mkdir()
        return details

    def load(self, folder, details):
        act = super().load(folder, details)

        def wrong(observations):
            if self.fault == "change":
                actions = act(observations)
                observations[:] = 0
                return actions
            if self.fault == "batch" and len(observations) == 1:
                return act(observations) * 1.01
            if self.fault == "double":
                return act(observations).astype(np.float64)
            return act(observations)[:, :-1] if self.fault == "shape" else act(observations)

        return wrong


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("prefix", "prefix: no file has the prefix"),
        ("time", r"files: when\.txt has other bytes each time"),
        ("manifest", "files: .*belong to the artefact"),
        ("details", "files: .*no JSON"),
        ("place", "actions, .*FileNotFoundError|actions, .*No such file"),
        ("folder", "files: something else than files"),
        ("change", "batches: acting changes the observations"),
        ("batch", "batches: one observation alone"),
        ("double", "batches: actions are not float32"),
        ("shape", "actions, .*of shape"),
    ],
)
def test_other_broken_promises_are_caught(fault, words):
    cls = type("Faulty", (Careless,), {"fault": fault})
    with pytest.raises(ExporterCheckError, match=words):
        check_exporter(cls, fast=True)
    check_exporter(Careless, fast=True)


def test_a_third_party_exporter_without_a_usage_is_told():
    cls = type("Silent", (NpzExporter,), {"usage": ""})
    with pytest.raises(ExporterCheckError, match="description: it does not say how its files are used"):
        check_exporter(cls, fast=True)


def test_hard_policies_are_hard():
    policies = hard_policies()
    clipped = policies["normaliser with an active clip"]
    draw = np.random.default_rng(0).normal(size=(200, 5))
    shown = clipped.normaliser.mean + draw * clipped.normaliser.deviation
    assert 0.05 < clipped.normaliser.clips(shown).mean() < 0.5
    head = policies["clipped actions, asymmetric bounds"]
    actions = head(np.random.default_rng(0).normal(size=(200, 4)))
    assert 0.1 < np.isin(actions, [*head.head.low, *head.head.high]).mean() < 0.95
    assert {one.head.squash for one in policies.values()} == {"none", "tanh", "scaled_tanh"}
    assert {one.head.bound for one in policies.values()} == {"none", "clip", "unscale"}
    assert isinstance(head.head, ActionHead)
