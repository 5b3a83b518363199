"""What intake is held against: the least that FastAPI and aiokafka need to take a webhook.

It verifies the signature, parses the post as intake does and awaits the broker's acknowledgement of the same record;
nothing is kept, marked or held back. `python -m infra.bench.bare --secret SECRET`
"""

import argparse
import asyncio
import os
from datetime import UTC, datetime

import standardwebhooks
import uvicorn
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import TopicAlreadyExistsError
from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse

from infra.bench.cast import PLATFORM
from infra.local.ports import HOST
from services.intake.domain import Malformed, Webhook
from services.intake.generic import parse
from shared.events import PostFact

TOPIC, PARTITIONS = "bench.bare.v1", 12
PATH = "/webhooks"


def build_app(producer: AIOKafkaProducer, secret: str) -> FastAPI:
    """The application."""
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    signer = standardwebhooks.Webhook(secret)

    @app.post(PATH)
    async def take(request: Request) -> JSONResponse:
        body = await request.body()
        try:
            signer.verify(body, dict(request.headers), json_parse=False)
        except standardwebhooks.WebhookVerificationError:
            raise HTTPException(401) from None
        webhook = Webhook(PLATFORM, {}, body, datetime.now(UTC))
        parsed = parse(webhook, livemode=True, upload_bytes_max=0)
        if isinstance(parsed, Malformed) or not isinstance(fact := parsed.items[0], PostFact):
            raise HTTPException(422)
        await producer.send_and_wait(TOPIC, key=fact.message_key().encode(), value=fact.encode())
        return JSONResponse({"results": [{"outcome": "accepted"}]}, 202)

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {}

    return app


async def serve(secret: str) -> None:
    """Serve until SIGTERM."""
    kafka = os.environ["TWINTALLY_KAFKA"]
    await _make_topic(kafka)
    # As intake's producer: see shared/kafka/producer.py.
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, linger_ms=2, max_batch_size=131_072
    )
    await producer.start()
    try:
        port = int(os.environ["TWINTALLY_HTTP_PORT"])
        config = uvicorn.Config(build_app(producer, secret), host=HOST, port=port, log_config=None, access_log=False)
        await uvicorn.Server(config).serve()
    finally:
        await producer.stop()


async def _make_topic(kafka: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(TOPIC, PARTITIONS, 1)])
    except TopicAlreadyExistsError:
        pass
    finally:
        await admin.close()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--secret", required=True)
    asyncio.run(serve(parser.parse_args().secret))


if __name__ == "__main__":
    main()
