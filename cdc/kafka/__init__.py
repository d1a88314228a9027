"""Records to Kafka, exactly once, and the checkpoint beside them. Knows no MySQL.

    client        address, security; makes and ends producers and consumers, explains failures
    cluster       the questions about the cluster: topics, settings, offsets, whether a transactional id is known
    checkpoints   names, keys and JSON of the checkpoint topic; reads it to the high watermark
    first_start   is this a first start, or was something lost?
    heartbeat     the sign of life of a working instance
    standby       waits while another instance lives
    limits        what topics take
    batches       records to Kafka's batches
    fitting       the same, with every refusal that can be known before sending
    delivery      records into an open transaction
    search        which record the broker does not take
    dead_letters  the form of rows that are kept because they could not become their record
    parking       the topic they are kept in
    letter_box    reading and replaying them
    sink          the state machine made of them: fence, found, commit, close    <- read this first
    topics        partition counts, from listings of all topics

What a broker really does, and why the calls come in this order, is told where it
matters; the first rule is in `sink`: after any doubt the producer is thrown away.
"""

from cdc.kafka.checkpoints import CheckpointView, read_checkpoint
from cdc.kafka.client import KafkaAddress
from cdc.kafka.sink import KafkaSink
from cdc.kafka.topics import KafkaTopics, Recipe

__all__ = ["CheckpointView", "KafkaAddress", "KafkaSink", "KafkaTopics", "Recipe", "read_checkpoint"]
