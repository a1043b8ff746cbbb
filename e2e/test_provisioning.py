"""Devices that join without an operator: by a CA of the customer's own, as boto3 registers it."""

import json
import pathlib
import ssl
import subprocess
import time
import urllib.request

import botocore.exceptions
import pytest

from clients import Paho, Refused, SdkMqtt5
from devices import ALLOW_ALL, Device, unique
from hub import wait_until


def openssl(*words, stdin=None):
    """Runs openssl; answers what it printed."""
    ran = subprocess.run(
        ["openssl", *map(str, words)], input=stdin, capture_output=True, text=True, timeout=30
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


class Factory:
    """A maker of devices with a CA of its own."""

    def __init__(self, folder, name):
        self.folder = pathlib.Path(folder) / unique("factory")
        self.folder.mkdir(parents=True)
        self.key = self.folder / "ca.key"
        self.pem = self.folder / "ca.pem"
        openssl(
            "req", "-x509", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-keyout", self.key, "-out", self.pem, "-days", "30",
            "-subj", f"/O=Usui Works/CN={name}",
            "-addext", "basicConstraints=critical,CA:TRUE",
        )

    def certificate(self, subject, name=None):
        """A key and a certificate of `subject`, which the CA signed: their paths."""
        name = name or unique("device")
        key, request, pem = (self.folder / f"{name}.{kind}" for kind in ("key", "csr", "pem"))
        openssl(
            "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", request, "-subj", subject,
        )
        openssl(
            "x509", "-req", "-in", request, "-CA", self.pem, "-CAkey", self.key,
            "-CAcreateserial", "-days", "10", "-out", pem,
        )
        return pem, key

    def device(self, subject=None, name=None):
        """A device that nobody has registered; it sends the CA's certificate, too."""
        name = name or unique("pump")
        pem, key = self.certificate(subject or f"/O=Usui Works/CN={name}", name)
        printed = openssl("x509", "-in", pem, "-noout", "-fingerprint", "-sha256")
        identity = printed.strip().split("=")[1].replace(":", "").lower()
        pem.write_text(pem.read_text() + self.pem.read_text())
        return Device(name, "", identity, None, pem, key)

    def register(self, iot, auto=True, active=True, **settings):
        """Registers the CA as the guide says; answers its id."""
        code = iot.get_registration_code()["registrationCode"]
        proof, _ = self.certificate(f"/CN={code}", "verification")
        made = iot.register_ca_certificate(
            caCertificate=self.pem.read_text(),
            verificationCertificate=proof.read_text(),
            setAsActive=active,
            allowAutoRegistration=auto,
            **settings,
        )
        return made["certificateId"]


@pytest.fixture
def factory(tmp_path):
    return Factory(tmp_path, unique("Factory CA"))


@pytest.fixture
def listener(hub, workshop, opened):
    """A client that may hear everything, and its `subscribe`."""
    client = opened(SdkMqtt5(hub, workshop.device()))
    client.connect()
    return client


def attempts(hub, certificate):
    """What REST v1 tells of the attempts of a certificate, newest first."""
    environment = hub.environment
    request = urllib.request.Request(
        f"https://{hub.host}:{hub.https_port}/api/v1/provisioning/attempts"
        f"?certificate={certificate}",
        headers={"Authorization": f"Bearer {environment['SEKISHO_TOKEN']}"},
    )
    context = ssl.create_default_context(cafile=str(hub.root_ca))
    with urllib.request.urlopen(request, context=context, timeout=10) as answer:
        return json.load(answer)["items"]


def code_of(error):
    return error.value.response["Error"]["Code"], error.value.response["ResponseMetadata"][
        "HTTPStatusCode"
    ]


def test_a_ca_is_registered_described_updated_listed_and_deleted(iot, factory):
    identity = factory.register(iot, auto=False, active=False)
    described = iot.describe_ca_certificate(certificateId=identity)["certificateDescription"]
    assert described["status"] == "INACTIVE"
    assert described["autoRegistrationStatus"] == "DISABLE"
    assert described["certificateMode"] == "DEFAULT"
    assert described["certificateArn"].endswith(f":cacert/{identity}")
    assert described["customerVersion"] == 1
    assert described["certificatePem"].strip() == factory.pem.read_text().strip()
    iot.update_ca_certificate(
        certificateId=identity, newStatus="ACTIVE", newAutoRegistrationStatus="ENABLE"
    )
    described = iot.describe_ca_certificate(certificateId=identity)["certificateDescription"]
    assert (described["status"], described["autoRegistrationStatus"]) == ("ACTIVE", "ENABLE")
    listed = [
        entry["certificateId"]
        for page in iot.get_paginator("list_ca_certificates").paginate(PaginationConfig={"PageSize": 1})
        for entry in page["certificates"]
    ]
    assert identity in listed
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        iot.delete_ca_certificate(certificateId=identity)
    assert code_of(refused) == ("CertificateStateException", 406)
    iot.update_ca_certificate(certificateId=identity, newStatus="INACTIVE")
    iot.delete_ca_certificate(certificateId=identity)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_ca_certificate(certificateId=identity)


def test_a_ca_is_registered_only_by_whoever_holds_its_key(iot, factory, tmp_path):
    proof, _ = factory.certificate("/CN=not the code", "wrong")
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        iot.register_ca_certificate(
            caCertificate=factory.pem.read_text(), verificationCertificate=proof.read_text()
        )
    assert code_of(refused) == ("RegistrationCodeValidationException", 400)
    code = iot.get_registration_code()["registrationCode"]
    other = Factory(tmp_path, "Another CA")
    proof, _ = other.certificate(f"/CN={code}", "verification")
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        iot.register_ca_certificate(
            caCertificate=factory.pem.read_text(), verificationCertificate=proof.read_text()
        )
    assert code_of(refused) == ("CertificateValidationException", 400)
    factory.register(iot)
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        factory.register(iot)
    assert code_of(refused) == ("ResourceAlreadyExistsException", 409)


def test_certificates_of_a_ca_are_registered_on_request(hub, iot, workshop, factory, opened):
    ca = factory.register(iot, auto=False)
    device = factory.device()
    leaf = openssl("x509", "-in", device.certificate)
    made = iot.register_certificate(
        certificatePem=leaf, caCertificatePem=factory.pem.read_text(), status="ACTIVE"
    )
    assert made["certificateId"] == device.certificate_id
    described = iot.describe_certificate(certificateId=device.certificate_id)
    assert described["certificateDescription"]["caCertificateId"] == ca
    listed = iot.list_certificates_by_ca(caCertificateId=ca)["certificates"]
    assert [entry["certificateId"] for entry in listed] == [device.certificate_id]
    iot.attach_policy(policyName=workshop.policy(), target=made["certificateArn"])
    opened(SdkMqtt5(hub, device)).connect()
    # The playbook of an incident begins so; who is registered already stays until revoked.
    iot.update_ca_certificate(certificateId=ca, newStatus="INACTIVE")
    late = openssl("x509", "-in", factory.device().certificate)
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        iot.register_certificate(certificatePem=late, status="ACTIVE")
    assert code_of(refused) == ("CertificateStateException", 406)


def test_a_device_joins_just_in_time(hub, iot, workshop, factory, listener, opened):
    ca = factory.register(iot)
    listener.subscribe(f"$aws/events/certificates/registered/{ca}")
    device = factory.device()
    # A bare handshake registers nothing.
    context = ssl.create_default_context(cafile=str(hub.root_ca))
    context.load_cert_chain(device.certificate, device.key)
    import socket

    with socket.create_connection((hub.host, hub.mqtt_port)) as plain:
        with context.wrap_socket(plain, server_hostname=hub.host):
            time.sleep(0.2)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_certificate(certificateId=device.certificate_id)

    for _ in range(2):
        with pytest.raises(Refused):
            Paho(hub, device, version=4).connect()
        event = json.loads(listener.next().payload)
        assert event["certificateId"] == device.certificate_id
        assert event["caCertificateId"] == ca
        assert event["certificateStatus"] == "PENDING_ACTIVATION"
        assert event["awsAccountId"] == hub.boto("sts").get_caller_identity()["Account"]
        assert event["certificateRegistrationTimestamp"] is None
        assert abs(event["timestamp"] / 1000 - time.time()) < 60
    described = iot.describe_certificate(certificateId=device.certificate_id)
    described = described["certificateDescription"]
    assert described["status"] == "PENDING_ACTIVATION"
    assert described["caCertificateId"] == ca

    # What an activation function does.
    iot.update_certificate(certificateId=device.certificate_id, newStatus="ACTIVE")
    iot.attach_policy(policyName=workshop.policy(), target=described["certificateArn"])
    opened(SdkMqtt5(hub, device)).connect()

    kept = wait_until(lambda: attempts(hub, device.certificate_id), 5, "the attempts")
    assert len(kept) == 2
    assert [step["step"] for step in kept[0]["steps"]] == [
        "issuer", "server-name", "ca-active", "auto-registration", "validity", "registered",
        "announced",
    ]
    assert kept[0]["client_id"] == device.name and kept[0]["ca"] == ca
    timeline = hub.command("timeline", device.name).stdout
    assert "just-in-time-registration: issuer -> server-name -> ca-active" in timeline
    assert "certificate.pending-activation" in timeline


@pytest.mark.parametrize(
    ("change", "step", "reason"),
    [
        ({"newStatus": "INACTIVE"}, "ca-active", "provisioning.ca-inactive"),
        (
            {"newAutoRegistrationStatus": "DISABLE"},
            "auto-registration",
            "provisioning.not-automatic",
        ),
    ],
)
def test_an_attempt_tells_which_step_failed(hub, iot, factory, change, step, reason):
    ca = factory.register(iot)
    iot.update_ca_certificate(certificateId=ca, **change)
    device = factory.device()
    with pytest.raises(Refused) as refused:
        SdkMqtt5(hub, device).connect()
    assert ca in refused.value.text
    kept = wait_until(lambda: attempts(hub, device.certificate_id), 5, "the attempt")[0]
    assert kept["refused"] == reason
    assert kept["steps"][-1]["step"] == step and kept["steps"][-1]["reason"] == reason
    assert "registered" in kept["not_reached"]
    assert f"{step} FAILED" in hub.command("timeline", device.name).stdout
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_certificate(certificateId=device.certificate_id)


def test_an_impostor_with_the_name_of_a_ca_is_not_registered(hub, iot, tmp_path):
    name = unique("Factory CA")
    Factory(tmp_path, name).register(iot)
    device = Factory(tmp_path, name).device()
    with pytest.raises(Refused):
        SdkMqtt5(hub, device).connect()
    kept = wait_until(lambda: attempts(hub, device.certificate_id), 5, "the attempt")[0]
    assert kept["refused"] == "provisioning.issuer"
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_certificate(certificateId=device.certificate_id)


def test_a_ca_without_proof_serves_devices_that_send_sni(hub, iot, factory):
    made = iot.register_ca_certificate(
        caCertificate=factory.pem.read_text(),
        certificateMode="SNI_ONLY",
        setAsActive=True,
        allowAutoRegistration=True,
    )
    described = iot.describe_ca_certificate(certificateId=made["certificateId"])
    assert described["certificateDescription"]["certificateMode"] == "SNI_ONLY"
    device = factory.device()
    with pytest.raises(Refused):
        SdkMqtt5(hub, device).connect()
    described = iot.describe_certificate(certificateId=device.certificate_id)
    assert described["certificateDescription"]["status"] == "PENDING_ACTIVATION"
