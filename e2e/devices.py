"""Devices as an AWS user makes them: thing, keys and certificate, policy, attachments."""

import dataclasses
import itertools
import json
import pathlib
import uuid

ALLOW_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}],
}

_numbers = itertools.count(1)


def unique(prefix):
    """A name no other test uses."""
    return f"{prefix}-{next(_numbers)}-{uuid.uuid4().hex[:6]}"


def policy_of(*statements):
    """A policy document of `(effect, actions, resources)` or whole statements."""
    return {
        "Version": "2012-10-17",
        "Statement": [
            statement
            if isinstance(statement, dict)
            else dict(zip(("Effect", "Action", "Resource"), statement, strict=True))
            for statement in statements
        ],
    }


def arn(resource):
    """The ARN of a topic, a client or a filter, in any region and account."""
    return f"arn:aws:iot:*:*:{resource}"


def connect_and(*statements):
    """A policy that lets a device connect under any client id, and `statements`."""
    return policy_of(("Allow", "iot:Connect", "*"), *statements)


@dataclasses.dataclass
class Device:
    """What a device holds in its hands."""

    name: str
    certificate_arn: str
    certificate_id: str
    policy: str
    certificate: pathlib.Path
    key: pathlib.Path


class Workshop:
    """Makes devices on one hub."""

    def __init__(self, hub, folder):
        self.hub = hub
        self.folder = pathlib.Path(folder)

    def policy(self, document=ALLOW_ALL):
        """Creates a policy; answers its name."""
        name = unique("policy")
        self.hub.boto("iot").create_policy(policyName=name, policyDocument=json.dumps(document))
        return name

    def device(self, document=ALLOW_ALL, name=None, thing=True, attributes=None):
        """Makes a device whose certificate has a policy with `document` (`None`: no policy)."""
        iot = self.hub.boto("iot")
        name = name or unique("dev")
        if thing:
            iot.create_thing(thingName=name, attributePayload={"attributes": attributes or {}})
        made = iot.create_keys_and_certificate(setAsActive=True)
        if thing:
            iot.attach_thing_principal(thingName=name, principal=made["certificateArn"])
        policy = None
        if document is not None:
            policy = self.policy(document)
            iot.attach_policy(policyName=policy, target=made["certificateArn"])
        folder = self.folder / name
        folder.mkdir(parents=True, exist_ok=True)
        certificate = folder / "device.pem"
        key = folder / "device.key"
        certificate.write_text(made["certificatePem"])
        key.write_text(made["keyPair"]["PrivateKey"])
        return Device(
            name, made["certificateArn"], made["certificateId"], policy, certificate, key
        )
