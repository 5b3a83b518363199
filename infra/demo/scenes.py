"""The scenes of the story, each with the verdict that it was built to get."""

from itertools import cycle

from infra.demo.cast import LOOK_ALIKES, PLATFORMS, Cast
from infra.demo.story import Content, Fact, Judged, Picture, Story, Use

# What platforms do to every picture, and what thieves do so that nobody finds it.
PLATFORM_EDITS = ((), ("recompress",), ("resize",), ("resize", "recompress"), ("recolour", "recompress"))
THIEF_EDITS = (
    ("crop", "recompress"),
    ("flip",),
    ("caption", "recompress"),
    ("screenshot",),
    ("resize", "flip", "recompress"),
    ("crop", "recolour"),
    ("flip", "caption"),
    ("resize", "screenshot", "recompress"),
)


def tell_all(story: Story, cast: Cast) -> None:
    """Every scene, in the order in which it is sent."""
    # First, so that the rest is worked on while a host stalls.
    with_trouble(story, cast)
    licensed(story, cast)
    of_look_alikes(story, cast)
    out_of_scope(story, cast)
    unlicensed(story, cast)
    without_any_twin(story)
    edited(story, cast)
    out_of_order(story, cast)
    ended_and_measured(story, cast)
    learnt_later(story, cast)


def licensed(story: Story, cast: Cast) -> None:
    """t01 to t12 on their brand's accounts: 36 posts with 54 pictures; a third of the posts is sent twice."""
    edits, platforms = cycle(PLATFORM_EDITS), cycle(PLATFORMS)
    for round_ in range(3):
        for number, license in enumerate(list(cast.licenses.values())[:12]):
            platform = next(platforms) if round_ else PLATFORMS[number % 3]
            pictures = tuple(story.picture(license.twin, next(edits)) for _ in range(1 + (number + round_) % 2))
            content = Content(_account(cast, license.brand, platform), pictures, ("DE", "FR")[: 1 + round_ % 2])
            true = Judged("licensed", license=license.name)
            story.publish(platform, content, [(license.twin, true)], hours=2 + round_, again=number % 3 == round_)
    for partner in ("t02", "t08"):
        license = next(each for each in cast.licenses.values() if each.twin == partner)
        content = Content(
            f"creator.{partner}",
            (story.picture(partner, ("resize",)),),
            partners=(_account(cast, license.brand, "instagram"),),
        )
        story.publish("instagram", content, [(partner, Judged("licensed", license=license.name))])


def of_look_alikes(story: Story, cast: Cast) -> None:
    """Two twins in the same places and poses under one label: each is found, and never the other."""
    edits = cycle((*PLATFORM_EDITS, ("crop",), ("flip", "recompress")))
    for twin in LOOK_ALIKES:
        license = next(each for each in cast.licenses.values() if each.twin == twin)
        for platform in PLATFORMS:
            pictures = (story.picture(twin, next(edits)), story.picture(twin, next(edits)))
            content = Content(_account(cast, license.brand, platform), pictures)
            story.publish(platform, content, [(twin, Judged("licensed", license=license.name))])


def out_of_scope(story: Story, cast: Cast) -> None:
    """A license with the brand exists, but not for this: place, platform, time, consent."""
    edits = cycle(PLATFORM_EDITS)

    def post(platform: str, twin: str, brand: str, judged: Judged, *territories: str) -> None:
        pictures = tuple(story.picture(twin, next(edits)) for _ in range(1 + len(territories) % 2))
        story.publish(platform, Content(_account(cast, brand, platform), pictures, territories), [(twin, judged)])

    for platform in PLATFORMS:
        post(platform, "t14", "borealis", Judged("out_of_scope", ("territory",)), "US")
        post(platform, "t14", "borealis", Judged("out_of_scope", ("territory",)), "DE", "US")
        post(platform, "t14", "borealis", Judged("licensed", license="t14-near"), "DE", "CH")
        post(platform, "t13", "acme", Judged("licensed", license="t13-home"), "FR")
        post(platform, "t18", "cobalt", Judged("out_of_scope", ("term",)), "DE")
        post(platform, "t21", "cobalt", Judged("out_of_scope", ("consent",)), "DE")
    post("instagram", "t13", "acme", Judged("licensed", license="t13-near"), "AT")
    post("instagram", "t15", "cobalt", Judged("licensed", license="t15-instagram"), "DE")
    for platform in ("tiktok", "mastodon", "tiktok"):
        post(platform, "t15", "cobalt", Judged("out_of_scope", ("platform",)), "DE")
    post("mastodon", "t19", "acme", Judged("out_of_scope", ("term",)), "DE")


def unlicensed(story: Story, cast: Cast) -> None:
    """Thieves' accounts; brands that never asked; two twins in one post."""
    edits, platforms = cycle(THIEF_EDITS), cycle(PLATFORMS)
    stolen = Judged("unlicensed", ("account",))
    for number in range(16):
        twin, platform = f"t{number * 7 % 30 + 1:02}", next(platforms)
        pictures = tuple(story.picture(twin, next(edits)) for _ in range(1 + number % 2))
        content = Content(f"outlet.{number:02}", pictures, ("US",) if number % 3 else ())
        story.publish(platform, content, [(twin, stolen)], again=number % 8 == 0)
    for twin, brand in (("t24", "acme"), ("t25", "borealis"), ("t26", "cobalt"), ("t01", "cobalt"), ("t22", "acme")):
        platform = next(platforms)
        content = Content(_account(cast, brand, platform), (story.picture(twin, next(edits)),))
        story.publish(platform, content, [(twin, Judged("unlicensed", ("license",)))])
    for twin, other in (("t27", "t28"), ("t29", "t30")):
        pictures = (story.picture(twin, next(edits)), story.picture(other, next(edits)))
        story.publish(next(platforms), Content("mixed.looks", pictures), [(twin, stolen), (other, stolen)])
    both = (story.picture("t04", ("recompress",)), story.picture("t26", ("resize",)))
    of_license = Judged("licensed", license="t04-acme")
    of_none = Judged("unlicensed", ("license",))
    content = Content(_account(cast, "acme", "instagram"), both)
    story.publish("instagram", content, [("t04", of_license), ("t26", of_none)])
    late = Content("archive.of.looks", (story.picture("t29", ("caption",)),))
    story.publish("tiktok", late, [("t29", stolen)], hours=24 * 60, backfill=True)
    repost = Content("fan.of.t06", (story.picture("t06", ("resize",)),), reposts="in-0001")
    story.publish("instagram", repost, [("t06", Judged("no_use"))])


def without_any_twin(story: Story) -> None:
    """18 posts with 27 pictures of people whom nobody registered, some where the look-alikes stood."""
    edits, platforms = cycle((*PLATFORM_EDITS, *THIEF_EDITS)), cycle(PLATFORMS)
    for number in range(18):
        scenes = [number % 4 if number % 3 == 0 else None] * (1 + number % 2)
        pictures = tuple(story.picture(None, next(edits), scene=scene) for scene in scenes)
        story.publish(next(platforms), Content(f"someone.{number:02}", pictures), [])


def edited(story: Story, cast: Cast) -> None:
    """An edit takes the twin out, or puts it in; what counts is when it was first seen."""
    for platform, twin, brand in (("instagram", "t01", "acme"), ("tiktok", "t02", "borealis")):
        account = _account(cast, brand, platform)
        shown, other = story.picture(twin, ("recompress",)), story.picture(None)
        post = _versions(story, platform, account, [(4.0, (shown,)), (2.0, (other,))])
        judged = Judged("licensed", license=f"{twin}-{brand}")
        story.uses.append(Use(platform, post, twin, judged, judged, ended=True))
    # t19's license ended three hours ago: the twin came in an hour too late.
    account = _account(cast, "acme", "mastodon")
    post = _versions(story, "mastodon", account, [(4.0, (story.picture(None),)), (2.0, (story.picture("t19"),))])
    judged = Judged("out_of_scope", ("term",))
    story.uses.append(Use("mastodon", post, "t19", judged, judged))
    # This one began in time, and may stay as it is.
    first, more = story.picture("t19"), story.picture("t19", ("resize",))
    post = _versions(story, "mastodon", account, [(4.0, (first,)), (2.0, (first, more))])
    judged = Judged("licensed", license="t19-until-three")
    # On a busy machine the first version's picture can come after the second's: until then the use seems to begin late.
    story.uses.append(Use("mastodon", post, "t19", judged, judged, passing=True))
    shown = story.picture("t30", ("flip",))
    post = _versions(story, "tiktok", "quiet.account", [(4.0, (story.picture(None),)), (2.0, (shown,))])
    judged = Judged("unlicensed", ("account",))
    story.uses.append(Use("tiktok", post, "t30", judged, judged))


def out_of_order(story: Story, cast: Cast) -> None:
    """The edit is told before the publication, or the deletion is: the end is the same."""
    account = _account(cast, "acme", "instagram")
    for _ in range(2):
        picture = story.picture("t19", ("recompress",))
        post = _versions(story, "instagram", account, [(4.0, (picture,)), (2.0, (picture,))], backwards=True)
        judged = Judged("licensed", license="t19-until-three")
        story.uses.append(Use("instagram", post, "t19", judged, judged, passing=True))
    for platform, twin, name, judged in (
        ("tiktok", "t03", _account(cast, "cobalt", "tiktok"), Judged("licensed", license="t03-cobalt")),
        ("mastodon", "t28", "gone.already", Judged("unlicensed", ("account",))),
    ):
        post = story.new_post(platform)
        story.tell(Fact("deleted", platform, post, story.ago(1)))
        story.tell(Fact("published", platform, post, story.ago(4), Content(name, (story.picture(twin, ("crop",)),))))
        story.uses.append(Use(platform, post, twin, judged, judged, ended=True))


def ended_and_measured(story: Story, cast: Cast) -> None:
    """Deleted and counted: neither undoes what was."""
    for platform, twin, brand in (
        ("instagram", "t07", "acme"),
        ("tiktok", "t08", "borealis"),
        ("tiktok", "t09", "cobalt"),
    ):
        content = Content(_account(cast, brand, platform), (story.picture(twin, ("resize",)),))
        judged = Judged("licensed", license=f"{twin}-{brand}")
        post = story.new_post(platform)
        story.tell(Fact("published", platform, post, story.ago(5), content))
        story.tell(Fact("measured", platform, post, story.ago(3), impressions=1_204))
        story.tell(Fact("measured", platform, post, story.ago(1.5), impressions=15_377), again=True)
        story.tell(Fact("deleted", platform, post, story.ago(1)))
        story.uses.append(Use(platform, post, twin, judged, judged, ended=True))


def learnt_later(story: Story, cast: Cast) -> None:
    """t23's license arrives after the posts; t20's is terminated from before its post on, after it was billed."""
    late, accused = Judged("licensed", license="late-t23"), Judged("unlicensed", ("license",))
    for platform in PLATFORMS:
        pictures = (story.picture("t23", ("recompress",)), story.picture("t23", ("resize",)))
        post = story.publish(platform, Content(_account(cast, "borealis", platform), pictures), [])
        story.uses.append(Use(platform, post, "t23", late, accused))
    post = story.publish(
        "instagram", Content(_account(cast, "borealis", "instagram"), (story.picture("t20", ("recompress",)),)), []
    )
    billed, ended = Judged("licensed", license="t20-terminated"), Judged("out_of_scope", ("term",))
    story.uses.append(Use("instagram", post, "t20", ended, billed))


def with_trouble(story: Story, cast: Cast) -> None:
    """A file that is no picture, a host that stalls once, one that stalls for ever."""
    account = _account(cast, "cobalt", "instagram")
    judged = Judged("licensed", license="t06-cobalt")
    broken = story.picture(None, served="undecodable")
    story.publish("instagram", Content(account, (broken, story.picture("t06", ("resize",)))), [("t06", judged)])
    slow = story.picture("t12", ("recompress",), served="stalls_once")
    judged = Judged("licensed", license="t12-cobalt")
    story.publish("instagram", Content(account, (slow,)), [("t12", judged)])
    story.publish("tiktok", Content("nobody.home", (story.picture("t11", served="stalls"),)), [])


def _versions(
    story: Story,
    platform: str,
    account: str,
    versions: list[tuple[float, tuple[Picture, ...]]],
    *,
    backwards: bool = False,
) -> str:
    """A post with one edit; `backwards` tells of the edit first."""
    post = story.new_post(platform)
    (published, first), (changed, then) = versions
    facts = [
        Fact("published", platform, post, story.ago(published), Content(account, first)),
        Fact("edited", platform, post, story.ago(changed), Content(account, then)),
    ]
    for fact in reversed(facts) if backwards else facts:
        story.tell(fact)
    return post


def _account(cast: Cast, brand: str, platform: str) -> str:
    return cast.brands[brand].accounts[platform]
