"""The agencies' receiver keeps what verifies, and only that."""

from datetime import UTC, datetime

from standardwebhooks import Webhook

from infra.demo.receiver import Inbox

SECRET = "whsec_" + "QUFB" * 10 + "QQ=="
BODY = '{"type": "infringement.opened", "data": {"sequence": 1}}'


def signed(secret: str, message: str = "msg_1") -> dict[str, str]:
    now = datetime.now(UTC)
    return {
        "webhook-id": message,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, now, BODY),
    }


def test_an_alert_that_verifies_is_kept_once() -> None:
    inbox = Inbox(secrets={"aurora": SECRET})
    assert inbox.take("aurora", signed(SECRET), BODY.encode()) == 204
    assert inbox.take("aurora", signed(SECRET), BODY.encode()) == 204
    assert [alert["agency"] for alert in inbox.alerts.values()] == ["aurora"]
    assert (inbox.refused, inbox.repeated) == (0, 1)


def test_what_another_signed_or_nobody_asked_for_is_refused() -> None:
    inbox = Inbox(secrets={"aurora": SECRET})
    assert inbox.take("aurora", signed("whsec_" + "QkJC" * 10 + "Qg=="), BODY.encode()) == 401
    assert inbox.take("nordlicht", signed(SECRET), BODY.encode()) == 401
    assert inbox.take("aurora", {}, BODY.encode()) == 401
    assert inbox.take("aurora", signed(SECRET), BODY.replace("1", "2").encode()) == 401
    assert (len(inbox.alerts), inbox.refused) == (0, 4)
