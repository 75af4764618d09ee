from __future__ import annotations

import pytest
from ansible_collections.edgewright.edge.plugins.module_utils.errors import EdgeError
from ansible_collections.edgewright.edge.plugins.module_utils.network import Network, network_files

STATIC = {"name": "uplink", "match": {"mac": "52:54:00:ED:9E:01"}, "addresses": ["10.0.2.15/24"]}


def read(*interfaces, **rest):
    return Network.from_inventory({"interfaces": list(interfaces), **rest}, where="edge_network")


def problems(*interfaces, **rest):
    with pytest.raises(EdgeError) as caught:
        read(*interfaces, **rest)
    return [str(problem) for problem in caught.value.problems]


def test_files_are_these_texts():
    files = network_files(
        read(
            {**STATIC, "gateway": "10.0.2.2", "dns": ["10.0.2.3", "2001:db8::1"]},
            {"name": "rest", "match": {"name": "en*"}, "dhcp": True},
            ntp=["10.0.2.4", "ntp.example.org"],
        )
    )
    assert files == {
        "10-uplink.network": """[Match]
PermanentMACAddress=52:54:00:ed:9e:01

[Link]
RequiredForOnline=no

[Network]
DHCP=no
LinkLocalAddressing=no
IPv6AcceptRA=no
LLMNR=no
MulticastDNS=no
ConfigureWithoutCarrier=yes
IgnoreCarrierLoss=yes
Address=10.0.2.15/24
Gateway=10.0.2.2
DNS=10.0.2.3
DNS=2001:db8::1
NTP=10.0.2.4
NTP=ntp.example.org
""",
        "11-rest.network": """[Match]
Name=en*

[Link]
RequiredForOnline=no

[Network]
DHCP=yes
LLMNR=no
MulticastDNS=no
NTP=10.0.2.4
NTP=ntp.example.org
""",
    }


def test_the_interface_declared_first_wins():
    names = [
        {**STATIC, "name": name, "match": {"name": name}, "addresses": [f"10.0.{at}.1/24"]}
        for at, name in enumerate("zab")
    ]
    assert sorted(network_files(read(*names))) == ["10-z.network", "11-a.network", "12-b.network"]


def test_ipv6_keeps_its_link_local_address():
    (text,) = network_files(read({**STATIC, "addresses": ["2001:db8::5/64"]})).values()
    assert "LinkLocalAddressing=ipv6\n" in text


def test_nothing_declared_is_no_file():
    assert network_files(Network.from_inventory({}, where="edge_network")) == {}


BAD = [
    ({"adresses": []}, ".adresses: unknown key", "Did you mean 'addresses'?"),
    ({"name": None}, ".name: is missing", "Add 'name'."),
    ({"match": None}, ".match: is missing", ""),
    ({"match": {}}, ".match: must say how the interface is found; expected either 'mac' or 'name'", ""),
    ({"match": {"mac": "52:54:00:00:00:01", "name": "eth0"}}, ".match: must say how the interface is found", ""),
    ({"match": {"name": "eth 0"}}, ".match.name: is not an interface name", ""),
    ({"match": {"mac": "x"}}, ".match.mac: is not a MAC address", ""),
    ({"dhcp": "yes"}, ".dhcp: must be true or false", ""),
    ({"addresses": []}, ": has no address", "Set 'dhcp: true' or give 'addresses'."),
    ({"addresses": ["10.0.2.15"]}, ".addresses[0]: has no prefix length", ""),
    ({"addresses": ["10.0.2.300/24"]}, ".addresses[0]: is not an address with a prefix length", ""),
    ({"addresses": ["10.0.2.0/24"]}, ".addresses[0]: is the address of a whole network", ""),
    ({"addresses": ["10.0.2.255/24"]}, ".addresses[0]: is the address of a whole network", ""),
    ({"addresses": ["224.0.0.1/24"]}, ".addresses[0]: is not the address of a host on a network", ""),
    ({"addresses": ["127.0.0.1/8"]}, ".addresses[0]: is not the address of a host on a network", ""),
    ({"addresses": ["2001:db8::/64"]}, ".addresses[0]: is the address of a whole network", ""),
    ({"addresses": [10.5]}, ".addresses[0]: must be a string", "Put it in quotes"),
    ({"addresses": ["10.0.2.15/24", "10.0.2.15/16"]}, ".addresses[1]: the address is used twice", ""),
    (
        {"gateway": "10.0.3.1"},
        ".gateway: is in none of the interface's networks; found 10.0.3.1; expected an address in 10.0.2.0/24",
        "",
    ),
    ({"gateway": "10.0.2.15"}, ".gateway: is the interface's own address", ""),
    ({"gateway": "router"}, ".gateway: is not an IP address", ""),
    ({"dns": ["8.8.8.8/32"]}, ".dns[0]: is not an IP address", ""),
]


@pytest.mark.parametrize(("change", "text", "remedy"), BAD, ids=[text for _, text, _ in BAD])
def test_a_mistake_is_told_with_its_place_and_its_mend(change, text, remedy):
    (problem,) = problems({**STATIC, **change})
    assert problem.startswith(f"edge_network.interfaces[0]{text}")
    assert remedy in problem


@pytest.mark.parametrize(
    "address", ["10.0.0.0/31", "10.0.0.1/32", "2001:db8::ffff:ffff:ffff:ffff/64", "2001:db8::1/128"]
)
def test_small_networks_have_no_reserved_address(address):
    assert str(read({**STATIC, "addresses": [address]}).links[0].addresses[0]) == address


def test_interfaces_share_nothing():
    assert [line.split(";")[0] for line in problems(STATIC, STATIC)] == [
        "edge_network.interfaces[1].name: the name is used twice",
        "edge_network.interfaces[1].match: the match is used twice",
        "edge_network.interfaces[1].addresses[0]: the address is used twice",
    ]


def test_time_servers_are_hosts():
    assert problems(ntp=["ntp example", "-a", "ok.example.org", 7]) == [
        "edge_network.ntp[0]: is not a time server; found 'ntp example'; expected a host name or an IP address.",
        "edge_network.ntp[1]: is not a time server; found '-a'; expected a host name or an IP address.",
        (
            "edge_network.ntp[3]: must be a string; found 7; expected a string. "
            "Put it in quotes: YAML reads it as something else."
        ),
    ]
