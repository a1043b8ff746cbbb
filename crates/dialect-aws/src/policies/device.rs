//! The policy of devices that were given none by name.

/// Lets every device connect as itself, use topics that begin with its name or with
/// `devices/` and its name, and use its own shadows and jobs; nothing else. One policy serves all
/// devices, because it speaks of the name of whoever asks.
#[must_use]
pub fn device_policy(account: &str) -> String {
    const NAME: &str = "${iot:Connection.Thing.ThingName}";
    let own = |kind: &str| -> Vec<String> {
        [
            format!("{NAME}/*"),
            format!("devices/{NAME}/*"),
            format!("$aws/things/{NAME}/shadow/*"),
            format!("$aws/things/{NAME}/jobs/*"),
        ]
        .into_iter()
        .map(|topic| format!("arn:aws:iot:*:{account}:{kind}/{topic}"))
        .collect()
    };
    let document = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Action": "iot:Connect",
                "Resource": format!("arn:aws:iot:*:{account}:client/{NAME}"),
            },
            {
                "Effect": "Allow",
                "Action": ["iot:Publish", "iot:RetainPublish", "iot:Receive"],
                "Resource": own("topic"),
            },
            {
                "Effect": "Allow",
                "Action": "iot:Subscribe",
                "Resource": own("topicfilter"),
            },
            {
                "Effect": "Allow",
                "Action": [
                    "iot:GetThingShadow",
                    "iot:UpdateThingShadow",
                    "iot:DeleteThingShadow",
                    "iot:ListNamedShadowsForThing",
                ],
                "Resource": format!("arn:aws:iot:*:{account}:thing/{NAME}"),
            },
        ],
    });
    format!("{document:#}")
}

#[test]
fn it_is_a_policy() {
    let text = device_policy("123456789012");
    let document = super::parse(&text, "123456789012").unwrap();
    assert_eq!(document.statements.len(), 4);
}
