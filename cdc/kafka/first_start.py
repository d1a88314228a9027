"""Is this a first start, or was something lost? Recognised, never assumed (DESIGN 4.3).

    topic     transactional id   in the topic           then
    none      unknown            -                      first start; the topic is made
    none      known              -                      CheckpointLost: somebody deleted it
    not ours  any                -                      CheckpointLost: auto-created, or changed
    ours      any                nothing, or only       first start: one that died before its
                                 signs of unfounded     genesis, or a topic made for it
                                 life
    ours      any                a checkpoint           no first start
    ours      any                anything else          CheckpointLost

"Ours" is compacted and of one partition. The id becomes known with the first producer, so
a first start that died before that leaves (topic, unknown), after it (topic, known), and
both go on. The genesis record is committed together with the first checkpoint.

`--first-start` overrules each CheckpointLost but "not ours": such a topic cannot hold a
checkpoint safely, whatever we believe about its past.
"""

from __future__ import annotations

from collections.abc import Mapping

from cdc.errors import CheckpointLost, SinkError
from cdc.kafka.checkpoints import Alive, Names, Reading
from cdc.kafka.cluster import Cluster

SETTINGS: Mapping[str, str] = {
    "cleanup.policy": "compact",
    "segment.ms": "3600000",  # the active segment is never compacted: close it every hour
    "min.cleanable.dirty.ratio": "0.1",
}
"""Of a checkpoint topic that we make."""


def why_lost(reading: Reading, names: Names) -> str | None:
    """Why a topic of ours without a checkpoint is no first start; None if it is one."""
    if reading.begin > 0:
        return f"its begin was cut off (it starts at offset {reading.begin})"
    if names.checkpoint_key in reading.last:
        return "its checkpoint was deleted by a record without value"
    if names.genesis_key in reading.last:
        return "it has a genesis record but no checkpoint"
    alive = Alive.of(reading.get(names.alive_key))
    if alive is not None and alive.founded:
        return f"instance {alive.instance} worked here, so there was a checkpoint"
    strange = sorted(str(key) for key in reading.last if key != names.alive_key)
    if strange:
        return f"it holds records of somebody else (key {strange[0]})"
    return None


def lost(names: Names, why: str) -> CheckpointLost:
    """The error that stops a start."""
    return CheckpointLost(
        f"the checkpoint of source {names.source} is gone: topic {names.topic}: {why}",
        hint=(
            f"look with: cdc checkpoint show -c FILE --source {names.source}. To go on at a place you know: cdc "
            f"checkpoint set -c FILE --source {names.source} --to POSITION. To begin anew from the configured start, "
            "knowing that records may be missing or come twice, run once with --first-start"
        ),
    )


async def check_settings(cluster: Cluster, names: Names, partitions: int) -> None:
    """Make sure that an existing topic is ours. Raises CheckpointLost."""
    policy = (await cluster.settings(names.topic)).get("cleanup.policy")
    wrong = []
    if partitions != 1:
        wrong.append(f"it has {partitions} partitions instead of 1")
    if policy != "compact":
        wrong.append(f"its cleanup.policy is {policy} instead of compact")
    if wrong:
        raise CheckpointLost(
            f"topic {names.topic} is not as a checkpoint topic must be: {' and '.join(wrong)}. "
            "It was created by somebody else (a broker with auto.create.topics.enable does that), or changed",
            hint=(
                f"look with: cdc checkpoint show -c FILE --source {names.source}. If there is no checkpoint in it, "
                f"delete the topic, then: cdc checkpoint set -c FILE --source {names.source} --to POSITION (or run "
                "once with --first-start); if only its cleanup.policy was changed, set it back to compact"
            ),
        )


async def ensure_topic(
    cluster: Cluster, names: Names, *, allowed: bool, replication_factor: int | None, first_start: bool
) -> str | None:
    """Make sure of the checkpoint topic; why it had to be made, None where it was there. Raises CheckpointLost."""
    topics, reason = await cluster.topics(), None
    if names.topic not in topics:
        reason = "no checkpoint topic, and Kafka does not know the transactional id"
        if await cluster.knows(names.transactional_id):
            why = (
                f"it does not exist, but Kafka knows transactional id {names.transactional_id} (is it there, "
                "and the user has no right to Describe it?)"
            )
            reason = overruled(names, why, first_start=first_start)
        await make_topic(cluster, names, allowed=allowed, replication_factor=replication_factor)
        topics = await cluster.topics()
    await check_settings(cluster, names, topics[names.topic])
    return reason


def overruled(names: Names, why: str, *, first_start: bool) -> str:
    """What was lost, where --first-start says to go on; CheckpointLost where it does not."""
    if not first_start:
        raise lost(names, why)
    return f"--first-start, although the checkpoint is gone: {why}"


async def make_topic(cluster: Cluster, names: Names, *, allowed: bool, replication_factor: int | None) -> None:
    """Create the checkpoint topic and wait until it can be used. Raises SinkError."""
    if not allowed:
        settings = " ".join(f"--config {name}={value}" for name, value in SETTINGS.items())
        raise SinkError(
            f"topic {names.topic} does not exist, and topics.create is none",
            hint=(
                f"kafka-topics.sh --bootstrap-server {cluster.address} --create --topic {names.topic} "
                f"--partitions 1 {settings}"
            ),
        )
    await cluster.create(names.topic, 1, replication_factor, SETTINGS)
    await cluster.appeared(names.topic)
