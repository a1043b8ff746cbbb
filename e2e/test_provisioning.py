"""Devices that join without an operator: by a CA of the customer's own, as boto3 registers it."""

import json
import pathlib
import queue
import socket
import ssl
import subprocess
import time
import urllib.request

import botocore.exceptions
import pytest
from awscrt import mqtt, mqtt5
from awsiot import iotidentity

from clients import Paho, Refused, SdkMqtt5, SdkMqtt311
from devices import ALLOW_ALL, Device, connect_and, unique
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


JITP_TEMPLATE = {
    "Parameters": {
        "AWS::IoT::Certificate::CommonName": {"Type": "String"},
        "AWS::IoT::Certificate::SerialNumber": {"Type": "String", "Default": "none"},
        "AWS::IoT::Certificate::Country": {"Type": "String"},
        "AWS::IoT::Certificate::Id": {"Type": "String"},
    },
    "Resources": {
        "thing": {
            "Type": "AWS::IoT::Thing",
            "Properties": {
                "ThingName": {"Ref": "AWS::IoT::Certificate::CommonName"},
                "AttributePayload": {
                    "serial": {"Ref": "AWS::IoT::Certificate::SerialNumber"},
                    "country": {"Ref": "AWS::IoT::Certificate::Country"},
                },
            },
        },
        "certificate": {
            "Type": "AWS::IoT::Certificate",
            "Properties": {
                "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"},
                "Status": "ACTIVE",
            },
        },
        "policy": {
            "Type": "AWS::IoT::Policy",
            "Properties": {"PolicyDocument": json.dumps(ALLOW_ALL)},
        },
    },
}
ROLE = "arn:aws:iam::000000000000:role/provisioning"


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


@pytest.mark.parametrize("where", ["body", "name"])
def test_a_template_provisions_a_device_when_it_first_connects(
    hub, iot, factory, opened, where
):
    if where == "body":
        config = {"templateBody": json.dumps(JITP_TEMPLATE)}
    else:
        config = {"templateName": unique("jitp")}
        iot.create_provisioning_template(
            templateName=config["templateName"], templateBody=json.dumps(JITP_TEMPLATE),
            provisioningRoleArn=ROLE, enabled=True, type="JITP",
        )
    ca = factory.register(iot, registrationConfig=config | {"roleArn": ROLE})
    assert iot.describe_ca_certificate(certificateId=ca)["registrationConfig"] == config | {
        "roleArn": ROLE
    }
    name = unique("pump")
    device = factory.device(f"/C=JP/CN={name}/serialNumber=A-1", name)
    with pytest.raises(Refused) as refused:
        SdkMqtt5(hub, device).connect()
    assert "connect again" in refused.value.text
    opened(SdkMqtt5(hub, device)).connect()
    thing = iot.describe_thing(thingName=name)
    assert thing["attributes"] == {"serial": "A-1", "country": "JP"}
    principals = iot.list_thing_principals(thingName=name)["principals"]
    assert [principal.endswith(device.certificate_id) for principal in principals] == [True]
    policies = iot.list_attached_policies(target=principals[0])["policies"]
    assert len(policies) == 1 and len(policies[0]["policyName"]) == 64
    kept = wait_until(lambda: attempts(hub, device.certificate_id), 5, "the attempt")[0]
    assert kept["flow"] == "just-in-time-provisioning" and kept["refused"] is None
    assert [step["step"] for step in kept["steps"]][-4:] == [
        "device", "policy", "attached", "committed",
    ]


def test_a_template_that_fails_leaves_nothing(hub, iot, factory):
    factory.register(
        iot, registrationConfig={"templateBody": json.dumps(JITP_TEMPLATE), "roleArn": ROLE}
    )
    # No country in the subject, and the parameter has no default.
    device = factory.device()
    with pytest.raises(Refused):
        SdkMqtt5(hub, device).connect()
    kept = wait_until(lambda: attempts(hub, device.certificate_id), 5, "the attempt")[0]
    assert kept["refused"] == "template.parameter"
    assert "AWS::IoT::Certificate::Country" in kept["steps"][-1]["note"]
    assert "parameters FAILED" in hub.command("timeline", device.name).stdout
    for gone in (
        lambda: iot.describe_certificate(certificateId=device.certificate_id),
        lambda: iot.describe_thing(thingName=device.name),
    ):
        with pytest.raises(iot.exceptions.ResourceNotFoundException):
            gone()


def test_register_thing_makes_all_or_nothing(hub, iot, workshop, opened, tmp_path):
    policy = workshop.policy()
    template = {
        "Parameters": {"Name": {"Type": "String"}, "Csr": {"Type": "String"}},
        "Resources": {
            "device": {
                "Type": "AWS::IoT::Thing",
                "Properties": {"ThingName": {"Ref": "Name"}, "AttributePayload": {"v": "1"}},
                "OverrideSettings": {"AttributePayload": "FAIL"},
            },
            "cert": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {"CertificateSigningRequest": {"Ref": "Csr"}},
            },
            "pol": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": policy}},
        },
    }
    key, request = tmp_path / "device.key", tmp_path / "device.csr"
    openssl("req", "-new", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", request,
            "-subj", "/CN=x")
    name = unique("made")
    body = json.dumps(template)
    parameters = {"Name": name, "Csr": request.read_text()}
    made = iot.register_thing(templateBody=body, parameters=parameters)
    arns = made["resourceArns"]
    assert arns["device"].endswith(f":thing/{name}") and arns["pol"].endswith(f":policy/{policy}")
    pem = tmp_path / "device.pem"
    pem.write_text(made["certificatePem"])
    device = Device(name, arns["cert"], arns["cert"].split("/")[-1], policy, pem, key)
    opened(SdkMqtt5(hub, device)).connect()
    # The thing exists now, and the template says FAIL: no second certificate remains.
    before = len(iot.list_certificates(pageSize=250)["certificates"])
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        iot.register_thing(templateBody=body, parameters=parameters)
    assert code_of(refused) == ("ResourceRegistrationFailureException", 400)
    assert len(iot.list_certificates(pageSize=250)["certificates"]) == before


def test_an_unknown_function_is_refused_with_its_place(iot):
    template = json.loads(json.dumps(JITP_TEMPLATE))
    template["Resources"]["thing"]["Properties"]["ThingName"] = {"Fn::Rot13": "x"}
    with pytest.raises(iot.exceptions.InvalidRequestException) as refused:
        iot.create_provisioning_template(
            templateName=unique("bad"), templateBody=json.dumps(template),
            provisioningRoleArn=ROLE,
        )
    assert "Resources.thing.Properties.ThingName.Fn::Rot13" in str(refused.value)


def test_templates_and_their_versions_are_managed(iot):
    name, body = unique("template"), json.dumps(JITP_TEMPLATE)
    made = iot.create_provisioning_template(
        templateName=name, templateBody=body, provisioningRoleArn=ROLE, description="d",
        enabled=True,
    )
    assert made["templateArn"].endswith(f":provisioningtemplate/{name}")
    assert made["defaultVersionId"] == 1
    with pytest.raises(iot.exceptions.ResourceAlreadyExistsException):
        iot.create_provisioning_template(
            templateName=name, templateBody=body, provisioningRoleArn=ROLE
        )
    second = iot.create_provisioning_template_version(
        templateName=name, templateBody=body, setAsDefault=True
    )
    assert (second["versionId"], second["isDefaultVersion"]) == (2, True)
    described = iot.describe_provisioning_template(templateName=name)
    assert described["defaultVersionId"] == 2 and described["type"] == "FLEET_PROVISIONING"
    assert json.loads(described["templateBody"]) == JITP_TEMPLATE and described["enabled"]
    versions = iot.list_provisioning_template_versions(templateName=name)["versions"]
    assert [(each["versionId"], each["isDefaultVersion"]) for each in versions] == [
        (1, False), (2, True),
    ]
    with pytest.raises(iot.exceptions.DeleteConflictException):
        iot.delete_provisioning_template_version(templateName=name, versionId=2)
    iot.update_provisioning_template(templateName=name, defaultVersionId=1, enabled=False)
    iot.delete_provisioning_template_version(templateName=name, versionId=2)
    listed = iot.list_provisioning_templates()["templates"]
    assert [each["enabled"] for each in listed if each["templateName"] == name] == [False]
    iot.delete_provisioning_template(templateName=name)
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_provisioning_template(templateName=name)


CLAIM_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "iot:Connect", "Resource": "*"},
        {
            "Effect": "Allow",
            "Action": ["iot:Publish", "iot:Receive"],
            "Resource": [
                "arn:aws:iot:*:*:topic/$aws/certificates/create*",
                "arn:aws:iot:*:*:topic/$aws/provisioning-templates/*",
            ],
        },
        {
            "Effect": "Allow",
            "Action": "iot:Subscribe",
            "Resource": [
                "arn:aws:iot:*:*:topicfilter/$aws/certificates/create*",
                "arn:aws:iot:*:*:topicfilter/$aws/provisioning-templates/*",
            ],
        },
    ],
}


def fleet_template(iot, policy, **settings):
    """A template for devices with a claim; answers its name."""
    name = unique("fleet")
    body = {
        "Parameters": {
            "SerialNumber": {"Type": "String"},
            "AWS::IoT::Certificate::Id": {"Type": "String"},
        },
        "Mappings": {"Lines": {"a": {"url": "https://a.example"}}},
        "Resources": {
            "thing": {
                "Type": "AWS::IoT::Thing",
                "Properties": {
                    "ThingName": {"Fn::Join": ["-", [name, {"Ref": "SerialNumber"}]]},
                    "AttributePayload": {"serial": {"Fn::Sub": "S:${SerialNumber}"}},
                },
            },
            "certificate": {
                "Type": "AWS::IoT::Certificate",
                "Properties": {
                    "CertificateId": {"Ref": "AWS::IoT::Certificate::Id"},
                    "Status": "Active",
                },
            },
            "policy": {"Type": "AWS::IoT::Policy", "Properties": {"PolicyName": policy}},
        },
        "DeviceConfiguration": {"url": {"Fn::FindInMap": ["Lines", "a", "url"]}},
    }
    iot.create_provisioning_template(
        templateName=name, templateBody=json.dumps(body), provisioningRoleArn=ROLE,
        **({"enabled": True} | settings),
    )
    return name


class Claimant:
    """A device with a claim certificate, as `awsiot.iotidentity` (v1) provisions it."""

    def __init__(self, client):
        self.identity = iotidentity.IotIdentityClient(client.connection)

    def _ask(self, subscribe, publish, subscription, request):
        answers = queue.Queue()
        accepted, rejected = subscribe
        for each in (accepted, rejected):
            future, _ = each(
                request=subscription, qos=mqtt.QoS.AT_LEAST_ONCE, callback=answers.put
            )
            future.result(10)
        publish(request=request, qos=mqtt.QoS.AT_LEAST_ONCE).result(10)
        return answers.get(timeout=20)

    def create(self):
        identity = self.identity
        return self._ask(
            (
                identity.subscribe_to_create_keys_and_certificate_accepted,
                identity.subscribe_to_create_keys_and_certificate_rejected,
            ),
            identity.publish_create_keys_and_certificate,
            iotidentity.CreateKeysAndCertificateSubscriptionRequest(),
            iotidentity.CreateKeysAndCertificateRequest(),
        )

    def create_from_csr(self, request):
        identity = self.identity
        return self._ask(
            (
                identity.subscribe_to_create_certificate_from_csr_accepted,
                identity.subscribe_to_create_certificate_from_csr_rejected,
            ),
            identity.publish_create_certificate_from_csr,
            iotidentity.CreateCertificateFromCsrSubscriptionRequest(),
            iotidentity.CreateCertificateFromCsrRequest(certificate_signing_request=request),
        )

    def provision(self, template, token, **parameters):
        identity = self.identity
        return self._ask(
            (
                identity.subscribe_to_register_thing_accepted,
                identity.subscribe_to_register_thing_rejected,
            ),
            identity.publish_register_thing,
            iotidentity.RegisterThingSubscriptionRequest(template_name=template),
            iotidentity.RegisterThingRequest(
                template_name=template, certificate_ownership_token=token, parameters=parameters
            ),
        )


@pytest.fixture
def claim(workshop):
    """The claim certificate that a whole production run carries."""
    return workshop.device(CLAIM_POLICY, thing=False)


def claimant(hub, opened, claim, client_id=None):
    client = opened(SdkMqtt311(hub, claim, client_id=client_id or unique("claimant")))
    client.connect()
    return Claimant(client)


def test_a_device_is_provisioned_by_claim(hub, iot, workshop, opened, claim, tmp_path):
    template = fleet_template(iot, workshop.policy())
    asks = claimant(hub, opened, claim)
    made = asks.create()
    assert isinstance(made, iotidentity.CreateKeysAndCertificateResponse)
    described = iot.describe_certificate(certificateId=made.certificate_id)
    assert described["certificateDescription"]["status"] == "PENDING_ACTIVATION"
    answer = asks.provision(template, made.certificate_ownership_token, SerialNumber="7")
    assert isinstance(answer, iotidentity.RegisterThingResponse), vars(answer)
    assert answer.thing_name == f"{template}-7"
    assert answer.device_configuration == {"url": "https://a.example"}
    thing = iot.describe_thing(thingName=answer.thing_name)
    assert thing["attributes"] == {"serial": "S:7"}
    pem, key = tmp_path / "own.pem", tmp_path / "own.key"
    pem.write_text(made.certificate_pem)
    key.write_text(made.private_key)
    device = Device(answer.thing_name, "", made.certificate_id, None, pem, key)
    opened(SdkMqtt5(hub, device)).connect()
    kept = wait_until(
        lambda: [
            each
            for each in attempts(hub, made.certificate_id)
            if each["flow"] == "provisioning-by-claim"
        ],
        5,
        "the attempt",
    )[0]
    assert kept["refused"] is None and kept["template"] == template
    assert [step["step"] for step in kept["steps"]] == [
        "payload", "ownership", "template", "parameters", "certificate", "device", "policy",
        "attached", "committed",
    ]


def test_a_device_that_made_its_own_key_is_provisioned(
    hub, iot, workshop, opened, claim, tmp_path
):
    template = fleet_template(iot, workshop.policy())
    key, request = tmp_path / "own.key", tmp_path / "own.csr"
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
            "-keyout", key, "-out", request, "-subj", "/CN=own")
    asks = claimant(hub, opened, claim)
    made = asks.create_from_csr(request.read_text())
    assert isinstance(made, iotidentity.CreateCertificateFromCsrResponse), vars(made)
    answer = asks.provision(template, made.certificate_ownership_token, SerialNumber="8")
    pem = tmp_path / "own.pem"
    pem.write_text(made.certificate_pem)
    device = Device(answer.thing_name, "", made.certificate_id, None, pem, key)
    opened(SdkMqtt5(hub, device)).connect()


def test_a_token_counts_once_and_only_from_its_owner(hub, iot, workshop, opened, claim):
    template = fleet_template(iot, workshop.policy())
    asks = claimant(hub, opened, claim)
    other = claimant(hub, opened, workshop.device(CLAIM_POLICY, thing=False))
    made = asks.create()
    token = made.certificate_ownership_token
    # A refusal uses nothing up, and makes nothing.
    missing = asks.provision(template, token)
    assert isinstance(missing, iotidentity.ErrorResponse)
    assert (missing.status_code, missing.error_code) == (400, "InvalidParameters")
    assert "SerialNumber" in missing.error_message
    stolen = other.provision(template, token, SerialNumber="1")
    assert stolen.error_code == "InvalidCertificateOwnershipToken"
    assert asks.provision(template, token, SerialNumber="1").thing_name == f"{template}-1"
    again = asks.provision(template, token, SerialNumber="2")
    assert again.error_code == "InvalidCertificateOwnershipToken"
    with pytest.raises(iot.exceptions.ResourceNotFoundException):
        iot.describe_thing(thingName=f"{template}-2")
    disabled = fleet_template(iot, workshop.policy(), enabled=False)
    fresh = asks.create().certificate_ownership_token
    assert asks.provision(disabled, fresh, SerialNumber="1").status_code == 409
    assert asks.provision("absent", fresh, SerialNumber="1").status_code == 404


def test_keys_and_tokens_are_told_to_nobody_else(hub, workshop, opened, claim, listener):
    for filter in ("$aws/certificates/#", "$aws/provisioning-templates/#"):
        listener.subscribe(filter)
    claimant(hub, opened, claim).create()
    listener.inbox.nothing()


def test_a_device_without_the_right_gets_no_certificate(hub, iot, workshop, opened):
    device = workshop.device(connect_and(), thing=False)
    client = SdkMqtt5(hub, device)
    client.connect()
    answer = client.publish("$aws/certificates/create/json", b"{}")
    assert answer.reason_code == mqtt5.PubackReasonCode.NOT_AUTHORIZED
    client.close()


def test_a_trusted_user_makes_a_claim_for_one_installation(
    hub, iot, workshop, opened, tmp_path
):
    template = fleet_template(iot, workshop.policy())
    made = iot.create_provisioning_claim(templateName=template)
    assert 200 < made["expiration"].timestamp() - time.time() <= 300
    pem, key = tmp_path / "claim.pem", tmp_path / "claim.key"
    pem.write_text(made["certificatePem"])
    key.write_text(made["keyPair"]["PrivateKey"])
    claim = Device(unique("claim"), "", made["certificateId"], None, pem, key)
    asks = claimant(hub, opened, claim)
    token = asks.create().certificate_ownership_token
    assert asks.provision(template, token, SerialNumber="9").thing_name == f"{template}-9"


def cbor(value):
    """A map of texts as a small device writes it (RFC 8949)."""
    if isinstance(value, dict):
        assert len(value) < 24
        members = (cbor(name) + cbor(each) for name, each in value.items())
        return bytes([0xA0 + len(value)]) + b"".join(members)
    text = value.encode()
    return b"\x79" + len(text).to_bytes(2, "big") + text


def from_cbor(data):
    """What the hub answers: maps of texts, and small numbers."""

    def head(at):
        information = data[at] & 31
        if information < 24:
            return information, at + 1
        count = 1 << (information - 24)
        return int.from_bytes(data[at + 1 : at + 1 + count], "big"), at + 1 + count

    def item(at):
        major = data[at] >> 5
        argument, at = head(at)
        if major == 0:
            return argument, at
        if major == 3:
            return data[at : at + argument].decode(), at + argument
        assert major == 5, data[at]
        members = {}
        for _ in range(argument):
            name, at = item(at)
            members[name], at = item(at)
        return members, at

    value, at = item(0)
    assert at == len(data)
    return value


def test_a_device_that_speaks_cbor_is_provisioned(hub, iot, workshop, opened, claim, tmp_path):
    template = fleet_template(iot, workshop.policy())
    client = opened(Paho(hub, claim, client_id=unique("claimant")))
    client.connect()

    def ask(topic, body):
        client.subscribe(f"{topic}/accepted")
        client.subscribe(f"{topic}/rejected")
        client.publish(topic, cbor(body))
        answer = client.next()
        return answer.topic.removeprefix(f"{topic}/"), from_cbor(answer.payload)

    outcome, made = ask("$aws/certificates/create/cbor", {})
    assert outcome == "accepted"
    topic = f"$aws/provisioning-templates/{template}/provision/cbor"
    token = {"certificateOwnershipToken": made["certificateOwnershipToken"]}
    outcome, answer = ask(topic, token)
    assert (outcome, answer["statusCode"]) == ("rejected", 400)
    outcome, answer = ask(topic, token | {"parameters": {"SerialNumber": "c"}})
    assert outcome == "accepted"
    assert answer == {
        "deviceConfiguration": {"url": "https://a.example"}, "thingName": f"{template}-c",
    }
    pem, key = tmp_path / "own.pem", tmp_path / "own.key"
    pem.write_text(made["certificatePem"])
    key.write_text(made["privateKey"])
    device = Device(answer["thingName"], "", made["certificateId"], None, pem, key)
    opened(SdkMqtt5(hub, device)).connect()
