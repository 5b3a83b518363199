"""What an alert says: the body of the webhook, the same bytes at every attempt."""

from services.alerts.domain import News
from shared.events import InfringementState, Sighting
from shared.ids import canonical_json
from shared.objects import evidence_path


def body_of(news: News) -> str:
    """The JSON of a Standard Webhooks payload; its timestamp is that of the facts, not of the sending."""
    found = news.infringement
    return canonical_json(
        {
            "type": f"infringement.{news.kind}",
            "timestamp": found.model_dump(mode="json")["occurred_at"],
            "data": {"sequence": news.sequence, **case_facts(found)},
        }
    )


def case_facts(found: InfringementState) -> dict[str, object]:
    """What an infringement says, as agencies read it in alerts and over REST."""
    plain = found.model_dump(mode="json")
    has_license = found.license_id is not None
    return {
        "use_id": found.use_id,
        "livemode": found.livemode,
        "verdict": found.verdict,
        "reasons": plain["reasons"],
        "post": {"platform": found.platform, "post_id": found.post_id, "account": found.account},
        "twin_id": found.twin_id,
        "talent_id": found.talent_id,
        "brand_id": found.brand_id,
        "license": {"license_id": found.license_id, "version": found.license_version} if has_license else None,
        "backfill": found.backfill,
        "started_at": plain["started_at"],
        "ended_at": plain["ended_at"],
        "sightings": [_sighting(sighting) for sighting in found.sightings],
    }


def _sighting(sighting: Sighting) -> dict[str, object]:
    return {
        "sighting_id": sighting.sighting_id,
        "reference_id": sighting.reference_id,
        "score": sighting.score,
        "region": list(sighting.region),
        "description": sighting.description,
        "algorithm": sighting.algorithm,
        "covered_share": sighting.covered_share,
        "disclosure": sighting.disclosure.model_dump(mode="json") if sighting.disclosure else None,
        "platform_label": sighting.platform_label,
        "media": {
            "digest": sighting.media_digest,
            "url": sighting.media_url,
            "evidence": evidence_path(sighting.media_digest),
        },
    }
