"""Settings: round trips, and one clear line for every kind of mistake."""

import ast
import dataclasses
import inspect
import json

import pytest

from recall import config as config_module
from recall.config import RecallConfig
from recall.errors import InputError
from recall.feature_columns import declaration
from recall.settings import evaluation, index, ingest, loss, model, train, validation

_SECTIONS = {field.name for field in dataclasses.fields(RecallConfig)}


def test_round_trip_through_json_keeps_every_value():
    config = RecallConfig().override(
        ["train.batch_size=64", "model.similarity=inner_product", "evaluation.ks=[1, 7]"]
    )

    assert RecallConfig.from_json(config.to_json()) == config
    assert config.train.batch_size == 64
    assert config.model.similarity == "inner_product"
    assert config.evaluation.ks == (1, 7)


def test_absent_keys_keep_their_defaults():
    config = RecallConfig.from_dict({"train": {"max_epochs": 3}})

    assert config.train.max_epochs == 3
    assert config.train.batch_size == RecallConfig().train.batch_size
    assert config.model == RecallConfig().model


def test_to_dict_of_some_sections_holds_just_these():
    assert set(RecallConfig().to_dict(["model", "loss"])) == {"model", "loss"}
    assert set(RecallConfig().to_dict()) == _SECTIONS


def test_every_section_is_frozen():
    config = RecallConfig()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.train.batch_size = 1


def test_every_setting_says_what_it_is_for():
    """A default without its reason beside it is not finished."""
    undocumented = []
    modules = (
        config_module,
        ingest,
        loss,
        model,
        train,
        validation,
        evaluation,
        index,
        declaration,
    )
    sources = map(inspect.getsource, modules)
    for node in ast.parse("\n".join(sources)).body:
        if not (isinstance(node, ast.ClassDef) and node.name.endswith(("Config", "Column"))):
            continue
        if node.name == "RecallConfig":
            continue
        for field, following in zip(node.body, [*node.body[1:], None], strict=True):
            if not isinstance(field, ast.AnnAssign) or "ClassVar" in ast.dump(field.annotation):
                continue
            text = following.value if isinstance(following, ast.Expr) else None
            if not (isinstance(text, ast.Constant) and isinstance(text.value, str)):
                undocumented.append(f"{node.name}.{field.target.id}")
    assert undocumented == []


@pytest.mark.parametrize(
    ("values", "key"),
    [
        ({"trian": {}}, "trian"),
        ({"train": {"batchsize": 1}}, "train.batchsize"),
        ({"train": {"batch_size": "many"}}, "train.batch_size"),
        ({"train": {"batch_size": 1.5}}, "train.batch_size"),
        ({"train": {"batch_size": True}}, "train.batch_size"),
        ({"train": {"batch_size": None}}, "train.batch_size"),
        ({"train": {"batch_size": 0}}, "train.batch_size"),
        ({"train": {"learning_rate": 0}}, "train.learning_rate"),
        ({"train": {"seed": -1}}, "train.seed"),
        ({"train": {"seed": 2**32}}, "train.seed"),
        ({"train": []}, "train"),
        ({"model": {"similarity": "euclid"}}, "model.similarity"),
        ({"model": {"dim": 10, "num_heads": 3}}, "model.num_heads"),
        ({"model": {"dropout_rate": 1.0}}, "model.dropout_rate"),
        ({"model": {"block": "open"}}, "model.block"),
        ({"model": {"filter_share": 1.5}}, "model.filter_share"),
        ({"loss": {"confident_fraction": 0}}, "loss.confident_fraction"),
        ({"loss": {"negatives": "full", "interest_reduction": "sum"}}, "loss.interest_reduction"),
        (
            {"loss": {"negatives": "interest_queues", "interest_reduction": "sum"}},
            "loss.interest_reduction",
        ),
        ({"loss": {"overlap_weight": -0.1}}, "loss.overlap_weight"),
        ({"loss": {"balance_weight": 1.0}}, "loss.balance_weight"),
        (
            {"loss": {"semantic_weight": -1}, "model": {"extractor": "routing"}},
            "loss.semantic_weight",
        ),
        (
            {"loss": {"overlap_weight": 0.1}, "model": {"extractor": "last_state"}},
            "loss.overlap_weight",
        ),
        ({"loss": {"overlap_weight": 0.1}, "model": {"num_interests": 1}}, "loss.overlap_weight"),
        ({"model": {"num_prototypes": 8}}, "model.num_prototypes"),
        ({"model": {"extractor": "routing", "num_prototypes": 6}}, "model.num_prototypes"),
        ({"model": {"extractor": "routing", "num_prototypes": 0}}, "model.num_prototypes"),
        (
            {"loss": {"seq2seq_anchors": 9}, "model": {"max_history_length": 8}},
            "loss.seq2seq_anchors",
        ),
        ({"model": {"residual_form": "product"}}, "model.residual_form"),
        (
            {"model": {"interest_residual": False, "extractor": "capsule"}},
            "model.interest_residual",
        ),
        ({"model": {"residual_form": "gate", "extractor": "capsule"}}, "model.residual_form"),
        ({"model": {"residual_form": "gate", "interest_residual": False}}, "model.residual_form"),
        ({"ingest": {"protocol": "random"}}, "ingest.protocol"),
        ({"ingest": {"min_user_events": 0}}, "ingest.min_user_events"),
        ({"evaluation": {"ks": []}}, "evaluation.ks"),
        ({"evaluation": {"ks": 10}}, "evaluation.ks"),
        ({"evaluation": {"ks": ["ten"]}}, "evaluation.ks"),
        ({"index": {"min_index_recall": 1.5}}, "index.min_index_recall"),
    ],
)
def test_a_wrong_setting_is_refused_by_name(values, key):
    with pytest.raises(InputError) as error:
        RecallConfig.from_dict(values)

    assert f"`{key}`" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"text"', "{'a': 1}"])
def test_text_that_is_no_json_object_is_refused(text):
    with pytest.raises(InputError):
        RecallConfig.from_json(text)


@pytest.mark.parametrize("value", ["nan", "NaN", "Infinity", "-Infinity"])
def test_a_number_that_is_not_finite_is_refused(value):
    with pytest.raises(InputError, match=r"`train\.learning_rate`"):
        RecallConfig().override([f"train.learning_rate={value}"])


@pytest.mark.parametrize(
    ("text", "value"), [(".25", 0.25), ("1.", 1.0), ("+.5", 0.5), ("2.5e-1", 0.25), (".5e1", 5.0)]
)
def test_a_fraction_may_be_written_as_people_write_it(text, value):
    assert RecallConfig().override([f"loss.temperature={text}"]).loss.temperature == value


@pytest.mark.parametrize("text", [".", "1.2.3", ".e5", "1_0.5", "0x.8", ".5 f"])
def test_what_only_looks_like_a_fraction_is_refused(text):
    with pytest.raises(InputError, match=r"`loss\.temperature` must be of type float"):
        RecallConfig().override([f"loss.temperature={text}"])


@pytest.mark.parametrize(
    "assignment", ["train.batch_size", "batch_size=3", "train=3", "=3", "nothing.batch_size=3"]
)
def test_an_assignment_of_a_wrong_form_is_refused(assignment):
    with pytest.raises(InputError) as error:
        RecallConfig().override([assignment])
    assert "\n" not in str(error.value)


def test_override_leaves_the_original_alone_and_the_last_assignment_wins():
    original = RecallConfig()
    changed = original.override(["train.seed=7", "train.seed=8"])

    assert changed.train.seed == 8
    assert original.train.seed == RecallConfig().train.seed


def test_integers_are_fine_where_a_fraction_is_expected():
    assert RecallConfig.from_dict({"loss": {"temperature": 1}}).loss.temperature == 1.0
    assert json.loads(RecallConfig().to_json())["loss"]["temperature"] == pytest.approx(0.07)


@pytest.mark.parametrize("key", ["jit_compile", "batch_slots"])
def test_auto_is_null(key):
    config = RecallConfig().override([f"train.{key}=auto"])

    assert getattr(config.train, key) is None
    assert config == RecallConfig()


def test_null_stands_for_four_prototypes_to_an_interest():
    routing = ["model.extractor=routing", "model.num_interests=3"]

    assert RecallConfig().override(routing).model.total_prototypes == 12
    assert RecallConfig().override([*routing, "model.num_prototypes=6"]).model.total_prototypes == 6


def test_only_losses_with_a_weight_are_auxiliary():
    config = RecallConfig().override(["loss.overlap_weight=.5"])
    assert config.auxiliary_weights == {"overlap": 0.5}
    settings = ["model.extractor=routing", "loss.sharpness_weight=0", "loss.balance_weight=2"]
    config = RecallConfig().override(settings)
    assert config.auxiliary_weights == {"balance": 2.0, "semantic": 1.0}
    config = RecallConfig().override(["model.clusters=items", "loss.semantic_weight=.1"])
    assert config.auxiliary_weights == {"semantic": 0.1, "prototypes": 1.0}
    config = RecallConfig().override(["model.extractor=routing", "model.num_interests=1"])
    assert config.auxiliary_weights == {"balance": 1.0, "sharpness": 1.0}


def test_categorical_features_of_items_are_predicted_and_no_others():
    named = {"name": "brand", "owner": "item", "kind": "categorical"}
    price = {"name": "price", "owner": "item", "kind": "numeric"}
    config = RecallConfig.from_dict({"features": {"columns": [named, price]}})
    assert config.auxiliary_weights == {"attribute": 0.1, "item_attribute": 0.1}
    config = config.override(["loss.attribute_weight=0", "loss.item_attribute_weight=.3"])
    assert config.auxiliary_weights == {"item_attribute": 0.3}
    assert RecallConfig.from_json(config.to_json()) == config
    categories = RecallConfig().override(["model.use_categories=true"])
    assert set(categories.auxiliary_weights) == {"attribute", "item_attribute"}

    config = RecallConfig.from_dict({"features": {"columns": [price, named | {"owner": "user"}]}})
    assert config.auxiliary_weights == {}
    for name in ("attribute_weight", "item_attribute_weight"):
        with pytest.raises(InputError, match=f"`loss.{name}` must be 0 or null without a categ"):
            config.override([f"loss.{name}=.1"])


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        (["model.min_interest_weight=.3"], r"in \[0, 1 / model\.num_interests = 0\.25\]"),
        (
            ["model.min_interest_weight=.1", "model.extractor=self_attentive"],
            "0 with model.extractor=self_attentive: interests weigh the same",
        ),
        (["model.min_interest_weight=.1", "model.clustering=false"], "0 with model.clustering"),
        (["model.min_interest_weight=.1", "model.num_interests=1"], "0 with model.num_interests=1"),
        (
            ["model.min_interest_weight=.1", "loss.negatives=interest_queues"],
            "0 with loss.negatives=interest_queues",
        ),
    ],
)
def test_where_interests_cannot_be_switched_off(settings, wanted):
    with pytest.raises(InputError, match=rf"`model\.min_interest_weight` must be {wanted}"):
        RecallConfig().override(settings)


@pytest.mark.parametrize(
    "alike",
    [
        "model.extractor=last_state",
        "model.extractor=self_attentive",
        "model.num_interests=1",
        "model.clustering=false",
    ],
)
def test_pairs_are_chosen_by_weight_where_interests_have_some(alike):
    with pytest.raises(InputError) as error:
        RecallConfig().override(["loss.min_pair_weight=.1", alike])

    assert str(error.value) == (
        f"Config key `loss.min_pair_weight` must be 0 with {alike}: interests weigh the same, "
        "received 0.1."
    )
    for extractor in ("dssrec", "capsule", "routing"):
        RecallConfig().override(["loss.min_pair_weight=.1", f"model.extractor={extractor}"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            ["model.clusters=items", "model.num_interests=1"],
            r"`model\.clusters` must be states with model\.num_interests=1",
        ),
        (
            ["model.extractor=routing", "loss.semantic_weight=.1", "model.num_interests=1"],
            r"`loss\.semantic_weight` must be 0 or null with one interest",
        ),
        (
            ["loss.semantic_weight=.1"],
            r"`loss\.semantic_weight` .* model\.extractor=dssrec and model\.clusters=states",
        ),
        (
            ["loss.balance_weight=.1", "model.clusters=items"],
            r"`loss\.balance_weight` must be 0 or null with model\.extractor=dssrec: no item",
        ),
    ],
)
def test_items_are_routed_to_several_interests_or_not_at_all(settings, message):
    with pytest.raises(InputError, match=message):
        RecallConfig().override(settings)


def test_futures_in_order_have_one_anchor():
    with pytest.raises(
        InputError, match=r"`loss\.seq2seq_anchors` must be 1 with loss\.reverse_future=false"
    ):
        RecallConfig().override(["loss.reverse_future=false", "loss.seq2seq_anchors=2"])


def test_futures_in_order_know_no_times():
    with pytest.raises(
        InputError, match=r"`loss\.reverse_future` must be true with model\.time_bias"
    ):
        RecallConfig().override(["loss.reverse_future=false", "model.time_bias=true"])


CATEGORIES = {"name": "categories", "owner": "item", "kind": "categorical", "max_values": 8}


def test_use_categories_declares_a_feature():
    config = RecallConfig().override(["model.use_categories=true"])
    declared = RecallConfig.from_dict({"features": {"columns": [CATEGORIES]}})
    assert config.features.of("item") == declared.features.of("item")
    assert RecallConfig.from_json(config.to_json()) == config
    (written,) = config.to_dict(["features"])["features"]["columns"]
    assert CATEGORIES.items() <= written.items()


def test_use_categories_goes_with_other_features_and_can_be_taken_back():
    year = {"name": "year", "owner": "item", "kind": "numeric"}
    config = RecallConfig.from_dict(
        {"model": {"use_categories": True}, "features": {"columns": [year]}}
    )
    assert [column.name for column in config.features.of("item")] == ["year", "categories"]
    back = config.override(["model.use_categories=false"])
    assert [column.name for column in back.features.of("item")] == ["year"]


def test_use_categories_leaves_a_declaration_of_the_categories_as_it_is():
    own = {"name": "genres", "owner": "item", "kind": "categorical", "column": "categories"}
    config = RecallConfig.from_dict(
        {"model": {"use_categories": True}, "features": {"columns": [own]}}
    )
    assert [column.name for column in config.features.of("item")] == ["genres"]


@pytest.mark.parametrize(
    "clusters", ["model.clusters=items", "model.clustering=false", "model.num_interests=1"]
)
def test_interests_that_nothing_of_the_encoder_reaches_are_refused(clusters):
    settings = [clusters, "model.pools=items", "model.interest_residual=false"]
    with pytest.raises(
        InputError, match=r"`model\.weighting` must be true with model\.pools=items"
    ):
        RecallConfig().override([*settings, "model.weighting=false"])
    RecallConfig().override(settings)
    RecallConfig().override([clusters, "model.pools=items", "model.weighting=false"])
