"""The two towers: dense ids in, vectors out.

The score of an item for a user is the largest inner product between the item's
vector and any of the user's interest vectors. Under `similarity="cosine"` both
towers return unit vectors, so the product is the cosine; nothing downstream
needs to know which similarity was chosen.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from recall.config import ModelConfig
from recall.feature_columns.declaration import FeaturesConfig
from recall.feature_columns.encoder import Encoded
from recall.feature_columns.fitting import FittedColumn
from recall.feature_columns.item_features import ItemFeatures
from recall.item_tower import ItemTower
from recall.layers.dropout import choose_dropout_rate, forget_times
from recall.layers.event_features import EventFeatures, ReadValues, RequestFeatures
from recall.layers.extractor import ALL_PREFIXES, InterestOutput, WantedPrefixes
from recall.layers.interests import build_extractor
from recall.layers.normalization import normalize_length
from recall.layers.sequence_encoder import SequenceEncoder
from recall.layers.switching import repeat_strongest, switch_off
from recall.layers.user_features import UserFeatures
from recall.vocabulary import PADDING_ID


class UserTowerOutput(NamedTuple):
    """What the user tower says of each history.

    Attributes:
        user_vectors: `[batch, num_interests, dim]` float.
        interest_weights: `[batch, num_interests]` float, sum 1; 0 where an interest is
            switched off (`model.min_interest_weight`).
    """

    user_vectors: tf.Tensor
    interest_weights: tf.Tensor


class KnownBeside(NamedTuple):
    """What is known of histories beside their items; None where nothing is.

    What a model does not look at changes nothing: times without `model.time_bias`, features
    that it does not have.

    Attributes:
        times: `[batch, length, 2]` int seconds, of each click and of what came next (of the
            last one the request), 0 where they are not known.
        users: `[batch, length]` int, rows of the known users from 1, 0 for others; or the
            values of their features, `[batch, num_slots]` and `[batch, num_numbers]`.
        events: `[batch, length, ...]` values of the features of each click, or what
            `EventFeatures.read` made of them.
        requests: Values of the features of the request that each prefix answers:
            `[num_wanted, ...]`, of all prefixes and with a mask `[batch, length, ...]`.
        contents: `[batch, length, dim]` what features say of the items, where it has been
            computed (`ItemTower.content_of`).
    """

    times: tf.Tensor | None = None
    users: tf.Tensor | Encoded | None = None
    events: Encoded | ReadValues | None = None
    requests: Encoded | None = None
    contents: tf.Tensor | None = None


NOTHING_KNOWN = KnownBeside()


class UserTower(tf.keras.Model):
    """Click history -> K interest vectors.

    The input embeddings are the item tower's own table.

    Attributes:
        num_interests: K.
        num_prototypes: Prototypes that items are routed to; 0 where they are not.
        dropout_rate: That of the config, or the one chosen for the log.
        has_time_bias: Whether times are looked at.
        min_interest_weight: Below it an interest is switched off; 0: none is.
        user_features: What features of users add to every click; None without any.
        event_features: What features of a click add to it; None without any.
        request_features: What features of requests make of interests; None without any.
    """

    def __init__(
        self,
        config: ModelConfig,
        item_tower: ItemTower,
        users: ItemFeatures | None = None,
        features: FeaturesConfig | None = None,
        log_columns: Sequence[FittedColumn] = (),
        **kwargs,
    ):
        """Creates the tower over the table of `item_tower`.

        Args:
            config: Widths and settings.
            item_tower: Whose table is read.
            users: Values of the features of users; None where they have none.
            features: How features are taken in; None for the defaults.
            log_columns: Features of events and of requests.
            **kwargs: Of Keras' model.
        """
        super().__init__(**kwargs)
        features = features or FeaturesConfig()
        self.user_features = None
        if users is not None:
            self.user_features = UserFeatures(features, users, config.dim, name="user_features")
        self.event_features = self.request_features = None
        if columns := [c for c in log_columns if c.column.owner == "event"]:
            self.event_features = EventFeatures(
                features, columns, config.dim, name="event_features"
            )
        if columns := [c for c in log_columns if c.column.owner == "request"]:
            self.request_features = RequestFeatures(
                features, columns, config.dim, name="request_features"
            )
        self._item_tower = item_tower
        self._cosine = config.similarity == "cosine"
        self.has_time_bias = config.time_bias
        # As in SASRec: embeddings as long as the states they are added to.
        self._input_scale = math.sqrt(config.dim)
        self.dropout_rate = config.dropout_rate
        if self.dropout_rate is None:
            self.dropout_rate = choose_dropout_rate(item_tower.item_counts)
        self._encoder = SequenceEncoder(config, self.dropout_rate, name="encoder")
        self._extractor = build_extractor(config)
        self.min_interest_weight = config.min_interest_weight
        self.num_interests = self._extractor.num_interests
        self.num_prototypes = self._extractor.num_prototypes

    def read_clicks(
        self, item_ids: tf.Tensor, events: Encoded | None
    ) -> tuple[tf.Tensor | None, ReadValues | None]:
        """What features say of clicks, for all that is encoded of them.

        Args:
            item_ids: `[batch, length]` int dense ids.
            events: `[batch, length, ...]` values of the features of each.

        Returns:
            `[batch, length, dim]` of the items and of the events, as `KnownBeside` has them;
            None where there are no features.
        """
        contents = self._item_tower.content_of(item_ids)
        if self.event_features is None or events is None:
            return contents, None
        return contents, self.event_features.read(events)

    def route(
        self, item_ids: tf.Tensor, contents: tf.Tensor | None = None
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Where items go, whoever clicks them; only with `num_prototypes`.

        Args:
            item_ids: `[batch]` int dense ids.
            contents: `[batch, dim]` what features say of them, where it has been computed.

        Returns:
            `[batch, num_prototypes]` and `[batch, num_interests]` float, shares of the
            prototypes and of the interests they belong to, each with sum 1.
        """
        routes = self._extractor.route(self._item_tower.embed_for_routing(item_ids, contents))
        return routes, self._extractor.group(routes)

    def fit_prototypes(self, item_ids: tf.Tensor, contents: tf.Tensor | None = None) -> tf.Tensor:
        """How far items are from the prototypes of `ItemClusters`; only with those.

        Args:
            item_ids: `[batch]` int dense ids.
            contents: As in `route`.

        Returns:
            `[batch]` float, >= 0.
        """
        return self._extractor.fit_loss(self._item_tower.embed_for_routing(item_ids, contents))

    def encode_prefixes(
        self,
        history_ids: tf.Tensor,
        wanted: WantedPrefixes = ALL_PREFIXES,
        training: bool = False,
        known: KnownBeside = NOTHING_KNOWN,
    ) -> UserTowerOutput:
        """Interests of prefixes of every history, of all of them in one pass.

        Args:
            history_ids: `[batch, length]` int dense ids, left-aligned, padded.
            wanted: Of which prefixes; at first every one of every history.
            training: Whether dropout is active.
            known: What is known of them beside their items.

        Returns:
            `UserTowerOutput`. Of all prefixes it has one more axis, `[batch, length, ...]`;
            slot t is the user after clicks 0..t, padding slots hold no meaning. With a
            mask, `[num_kept, ...]` in the order of the rows.
        """
        requests = known.requests
        if wanted.mask is not None and requests is not None:
            requests = Encoded(*(tf.boolean_mask(part, wanted.mask) for part in requests))
        return self._output(
            self._extractor(
                self._encode(history_ids, training, wanted.first_slots, known),
                wanted,
                item_vectors=self._embed_routed(history_ids, known.contents),
            ),
            requests,
            training,
        )

    def cluster(self, history_ids: tf.Tensor) -> tf.Tensor:
        """How much each click belongs to each prototype of `DisentangledInterests`.

        Args:
            history_ids: `[batch, length]` int dense ids, left-aligned, padded.

        Returns:
            `[batch, length, num_interests]` float, sum 1; no meaning in padding slots.

        Raises:
            ValueError: The extractor has no prototypes.
        """
        if not hasattr(self._extractor, "cluster"):
            raise ValueError("Only model.extractor=dssrec has prototypes.")
        states = self._encode(history_ids, training=False)
        return self._extractor.cluster(states, self._embed_routed(history_ids))

    def call(
        self, history_ids: tf.Tensor, training: bool = False, known: KnownBeside = NOTHING_KNOWN
    ) -> UserTowerOutput:
        """Interests of whole histories.

        Args:
            history_ids: `[batch, length]` int dense ids, left-aligned, padded.
            training: Whether dropout is active.
            known: What is known of them beside their items.

        Returns:
            `UserTowerOutput`; an empty history gives the vectors of padding. In the place of
            an interest that is switched off is the strongest one once more.
        """
        lengths = tf.reduce_sum(tf.cast(history_ids != PADDING_ID, tf.int32), axis=1)
        slots = tf.maximum(lengths - 1, 0)
        last_ones = WantedPrefixes(slots=slots)
        output = self.encode_prefixes(history_ids, last_ones, training, known)
        if not self.min_interest_weight:
            return output
        weights = output.interest_weights
        return UserTowerOutput(repeat_strongest(output.user_vectors, weights), weights)

    def _encode(
        self,
        history_ids: tf.Tensor,
        training: bool,
        first_slots: tf.Tensor | None = None,
        known: KnownBeside = NOTHING_KNOWN,
    ) -> tf.Tensor:
        """`[batch, length, dim]` states."""
        times = known.times if self.has_time_bias else None
        if times is not None and training:
            times = forget_times(times)
        vectors = self._item_tower.embed(history_ids, training, known.contents)
        vectors *= self._input_scale
        vectors *= tf.cast(history_ids != PADDING_ID, vectors.dtype)[:, :, tf.newaxis]
        if self.user_features is not None:
            users = tf.zeros([1, 1], tf.int32) if known.users is None else known.users
            vectors += tf.cast(self.user_features(users, training=training), vectors.dtype)
        if self.event_features is not None:
            vectors += tf.cast(self.event_features(known.events, training=training), vectors.dtype)
        return self._encoder(vectors, training=training, first_slots=first_slots, times=times)

    def _embed_routed(
        self, history_ids: tf.Tensor, contents: tf.Tensor | None = None
    ) -> tf.Tensor | None:
        """`[batch, length, dim]` what the clicks are routed by, zero at padding; None if not."""
        if not self._extractor.reads_items:
            return None
        vectors = self._item_tower.embed_for_routing(history_ids, contents)
        return vectors * tf.cast(history_ids != PADDING_ID, vectors.dtype)[:, :, tf.newaxis]

    def _output(
        self, interests: InterestOutput, requests: Encoded | None, training: bool
    ) -> UserTowerOutput:
        vectors, weights = (tf.cast(tensor, tf.float32) for tensor in interests)
        if self.request_features is not None:
            vectors = self.request_features(vectors, requests, training=training)
        if self.min_interest_weight:
            weights = switch_off(weights, self.min_interest_weight)
        return UserTowerOutput(normalize_length(vectors) if self._cosine else vectors, weights)
