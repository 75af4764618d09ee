"""What hypothesis draws: models that libvirt can give."""

from __future__ import annotations

from ansible_collections.edgewright.edge.plugins.module_utils.names import derived_mac, derived_uuid
from ansible_collections.edgewright.edge.plugins.module_utils.virtual_machine import (
    BUSES,
    LINK_STATES,
    NIC_MODELS,
    Cpu,
    Disk,
    Nic,
    VirtualMachine,
)
from hypothesis import strategies as st

labels = st.from_regex(r"[a-z0-9]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)


@st.composite
def virtual_machine(draw: st.DrawFn, *, virtualization: str) -> VirtualMachine:
    """Draw a machine that ``domain_xml`` accepts with this virtualization."""
    machine = draw(st.sampled_from(["pc", "q35"]))
    firmware = draw(st.sampled_from(["bios", "uefi"]))
    buses = st.sampled_from([bus for bus in BUSES if bus != "ide"] if machine == "q35" else list(BUSES))
    count = draw(st.integers(1, 4))
    orders = draw(st.permutations(range(1, count + 1)))
    name = draw(labels)
    models = ["host-model", "qemu64", "Nehalem", *(["host-passthrough"] if virtualization == "kvm" else [])]
    nic_models = [model for model in NIC_MODELS if machine == "q35" or model != "e1000e"]
    return VirtualMachine(
        name=name,
        uuid=derived_uuid(name, draw(st.text())),
        cpu=Cpu(
            draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.sampled_from(models))
        ),
        memory=draw(st.integers(1024, 2**34)) * 1024,
        disks=tuple(
            Disk(
                source=draw(st.sampled_from(["build:guests/till", "file:a&b<c>.qcow2", 'https://example.org/"x"'])),
                bus=draw(buses),
                boot_order=orders[number],
                size=draw(st.none() | st.integers(1, 2**34).map(lambda sectors: sectors * 512)),
                format=draw(st.sampled_from(["raw", "qcow2"])),
                serial=draw(st.just("") | st.from_regex(r"[A-Za-z0-9_.+-]{1,20}", fullmatch=True)),
            )
            for number in range(count)
        ),
        nics=tuple(
            Nic(
                draw(labels),
                draw(st.sampled_from(nic_models)),
                derived_mac(name, str(number)),
                draw(st.sampled_from(LINK_STATES)),
            )
            for number in range(draw(st.integers(0, 3)))
        ),
        machine=machine,
        firmware=firmware,
        secure_boot=machine == "q35" and firmware == "uefi" and draw(st.booleans()),
        tpm=draw(st.booleans()),
        timezone=draw(st.sampled_from(["UTC", "Europe/Berlin"])),
        graphics=draw(st.sampled_from(["vnc", "none"])),
        run_policy=draw(st.sampled_from(["always", "manual", "halted"])),
        stop_timeout=draw(st.integers(1, 3600)),
        start_order=draw(st.integers(0, 100_000)),
        priority=draw(st.integers(0, 100)),
    )
