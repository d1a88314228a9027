"""A Kafka transaction and nothing else, at a rate: one record with the moment of its begin, and a position.

python -m tests.bench.lone KAFKA TOPIC RATE COUNT      then waits for SIGTERM
"""

import asyncio
import sys
import time
import uuid

from aiokafka import AIOKafkaProducer


async def publish(kafka: str, topic: str, rate: float, count: int) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=kafka, transactional_id=f"lone-{topic}-{uuid.uuid4().hex}")
    await producer.start()
    for name in (topic, f"{topic}-position"):
        await producer.partitions_for(name)  # to learn of topics is no part of a transaction
    began = time.monotonic()
    for number in range(count):
        await asyncio.sleep(max(0, began + number / rate - time.monotonic()))
        moment = time.monotonic()
        async with producer.transaction():
            await asyncio.gather(
                await producer.send(topic, b"%r" % moment, b"%d" % number),
                await producer.send(f"{topic}-position", b"{}", b"position"),
            )
    await producer.stop()
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(publish(sys.argv[1], sys.argv[2], float(sys.argv[3]), int(sys.argv[4])))
