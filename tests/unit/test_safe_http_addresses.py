"""Which addresses a stranger's URL may lead to."""

import pytest

from shared.addresses import AllowedAddresses, is_public


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "0.0.0.0",
        "10.1.2.3",
        "100.64.0.1",
        "169.254.169.254",
        "172.31.255.255",
        "192.0.0.9",
        "192.168.1.1",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "255.255.255.255",
        "168.63.129.16",
        "::",
        "::1",
        "fe80::1",
        "fe80::1%eth0",
        "fc00::1",
        "fd00:ec2::254",
        "ff02::1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "::7f00:1",
        "::ffff:127.0.0.1",
        "::ffff:10.0.0.1",
        "2002:7f00:1::",
        "2002:a9fe:a9fe::1",
        "64:ff9b::127.0.0.1",
        "64:ff9b::a9fe:a9fe",
        "64:ff9b:1::1",
        "localhost",
        "",
        "2130706433",
    ],
)
def test_what_is_not_an_open_internet_host_is_refused(address: str) -> None:
    assert not is_public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
)
def test_a_global_unicast_address_passes(address: str) -> None:
    assert is_public(address)


def test_only_the_web_ports_are_asked_on_public_addresses() -> None:
    none = AllowedAddresses()
    assert none.lets("8.8.8.8", 443)
    assert none.lets("8.8.8.8", 80)
    assert not none.lets("8.8.8.8", 22)


def test_an_exception_is_one_address_with_one_port() -> None:
    allowed = AllowedAddresses.parse("127.0.0.1:8099, [::1]:8098")
    assert allowed.lets("127.0.0.1", 8099)
    assert allowed.lets("0:0:0:0:0:0:0:1", 8098)
    assert not allowed.lets("127.0.0.1", 8098)
    assert not allowed.lets("127.0.0.2", 8099)
    assert not allowed.lets("8.8.8.8", 8099)
    assert str(allowed) == "127.0.0.1:8099,[::1]:8098"


def test_nothing_is_excepted_unless_it_is_named() -> None:
    assert AllowedAddresses.parse("") == AllowedAddresses()


@pytest.mark.parametrize("text", ["localhost:80", "127.0.0.1", "127.0.0.1:0", "127.0.0.1:99999", "127.0.0.0/8:80"])
def test_an_exception_that_is_no_address_and_port_is_named_in_the_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"127\.0\.0\.1:8099"):
        AllowedAddresses.parse(text)
