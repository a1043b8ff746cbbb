//! Which operation a request asks for, out of every operation of the services that the hub speaks,
//! so that what is not implemented can be refused by its name.
//!
//! Paths are matched as they are on the wire, segment by segment, and each captured segment is
//! percent-decoded once; a greedy capture keeps its slashes.
//!
//! Source: the services' models as botocore 1.44.5 ships them (names, methods and paths only).

mod iot;
mod iot_data;
mod iot_jobs_data;
mod sts;
mod tunneling;

use percent_encoding::percent_decode_str;

/// The HTTP methods that the services use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Delete,
    Get,
    Patch,
    Post,
    Put,
}

impl Method {
    fn of(method: &http::Method) -> Option<Self> {
        Some(match method.as_str() {
            "DELETE" => Self::Delete,
            "GET" => Self::Get,
            "PATCH" => Self::Patch,
            "POST" => Self::Post,
            "PUT" => Self::Put,
            _ => return None,
        })
    }
}

/// A service of AWS, each with its own operations and its own names for errors.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Service {
    /// `iot`: the control plane.
    Iot,
    /// `iot-data`: the data plane.
    IotData,
    /// `iot-jobs-data`: jobs, for devices.
    IotJobsData,
    /// `iotsecuretunneling`.
    SecureTunneling,
    /// `sts`.
    Sts,
}

impl Service {
    /// All services, in the order of `golden/refusals.md`.
    pub const ALL: [Self; 5] = [
        Self::Iot,
        Self::IotData,
        Self::IotJobsData,
        Self::SecureTunneling,
        Self::Sts,
    ];

    /// Its name in the SDKs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Iot => "iot",
            Self::IotData => "iot-data",
            Self::IotJobsData => "iot-jobs-data",
            Self::SecureTunneling => "iotsecuretunneling",
            Self::Sts => "sts",
        }
    }

    /// Its operations, by name.
    #[must_use]
    pub const fn operations(self) -> &'static [Operation] {
        match self {
            Self::Iot => iot::TABLE,
            Self::IotData => iot_data::TABLE,
            Self::IotJobsData => iot_jobs_data::TABLE,
            Self::SecureTunneling => tunneling::TABLE,
            Self::Sts => sts::TABLE,
        }
    }
}

/// One operation: what it is called and how it is asked for.
#[derive(Debug, Eq, PartialEq)]
pub struct Operation {
    /// The service it belongs to.
    pub service: Service,
    /// Its name, such as `CreateThing`.
    pub name: &'static str,
    method: Method,
    /// `{}` captures one segment, `{+}` the rest of the path.
    path: &'static str,
}

impl Operation {
    const fn at(service: Service, name: &'static str, method: Method, path: &'static str) -> Self {
        Self {
            service,
            name,
            method,
            path,
        }
    }

    /// An operation that is told by its name in a header or a form, at `POST /`.
    const fn named(service: Service, name: &'static str) -> Self {
        Self::at(service, name, Method::Post, "/")
    }

    /// What the path's labels hold, when it is this operation's path.
    fn captures(&self, path: &str) -> Option<Vec<Label>> {
        let mut labels = Vec::new();
        let mut rest = path.strip_prefix('/')?;
        let mut pattern = self.path.strip_prefix('/')?.split('/').peekable();
        while let Some(expected) = pattern.next() {
            if expected == "{+}" {
                return (!rest.is_empty()).then(|| {
                    labels.push(Label::read(rest));
                    labels
                });
            }
            let (segment, after) = match rest.split_once('/') {
                Some((segment, after)) => (segment, Some(after)),
                None => (rest, None),
            };
            if expected == "{}" {
                if segment.is_empty() {
                    return None;
                }
                labels.push(Label::read(segment));
            } else if expected != segment {
                return None;
            }
            match (after, pattern.peek()) {
                (Some(after), Some(_)) => rest = after,
                (None, None) => return Some(labels),
                (Some(_), None) | (None, Some(_)) => return None,
            }
        }
        None
    }

    /// A request for it: method and path, with `a` for every label.
    #[cfg(test)]
    pub(crate) fn example(&self) -> (&'static str, String) {
        let method = match self.method {
            Method::Delete => "DELETE",
            Method::Get => "GET",
            Method::Patch => "PATCH",
            Method::Post => "POST",
            Method::Put => "PUT",
        };
        (method, self.path.replace("{+}", "a/b").replace("{}", "a"))
    }

    /// How many of the pattern's segments are fixed text; the more, the better the match.
    fn literals(&self) -> usize {
        self.path
            .split('/')
            .filter(|segment| !segment.starts_with('{'))
            .count()
    }
}

/// What a path's label holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Label {
    /// Decoded.
    Text(String),
    /// Its percent-encoding is not UTF-8.
    NotUtf8,
}

impl Label {
    fn read(raw: &str) -> Self {
        match percent_decode_str(raw).decode_utf8() {
            Ok(text) => Self::Text(text.into_owned()),
            Err(_) => Self::NotUtf8,
        }
    }
}

/// An operation and what its path names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Route {
    pub(crate) operation: &'static Operation,
    pub(crate) labels: Vec<Label>,
}

/// The operation of `service` at this method and raw path. Fixed text wins over labels.
pub(crate) fn by_path(service: Service, method: &http::Method, path: &str) -> Option<Route> {
    let method = Method::of(method)?;
    service
        .operations()
        .iter()
        .filter(|operation| operation.method == method)
        .filter_map(|operation| {
            let labels = operation.captures(path)?;
            Some(Route { operation, labels })
        })
        .max_by_key(|route| route.operation.literals())
}

/// The operation of this name: the form field `Action` of `sts`.
pub(crate) fn by_name(service: Service, name: &str) -> Option<Route> {
    let operation = service
        .operations()
        .iter()
        .find(|operation| operation.name == name)?;
    Some(Route {
        operation,
        labels: Vec::new(),
    })
}

/// The tunneling operation that `X-Amz-Target` names.
pub(crate) fn by_target(target: &str) -> Option<Route> {
    by_name(
        Service::SecureTunneling,
        target.strip_prefix(tunneling::TARGET_PREFIX)?,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The name of the operation and its labels, as one line.
    #[track_caller]
    fn check(service: Service, method: &str, path: &str, expected: &str) {
        let found = by_path(service, &method.parse().unwrap(), path);
        let line = found.map_or("none".to_owned(), |route| {
            let labels: Vec<&str> = route
                .labels
                .iter()
                .map(|label| match label {
                    Label::Text(text) => text.as_str(),
                    Label::NotUtf8 => "?",
                })
                .collect();
            format!("{} {}", route.operation.name, labels.join(" | "))
        });
        assert_eq!(line.trim_end(), expected, "{method} {path}");
    }

    #[test]
    fn every_operation_of_the_models_is_known() {
        let counts = Service::ALL.map(|service| service.operations().len());
        assert_eq!(counts, [272, 11, 5, 8, 11]);
    }

    #[test]
    fn no_two_operations_of_a_service_answer_at_the_same_place() {
        for service in [Service::Iot, Service::IotData, Service::IotJobsData] {
            for operation in service.operations() {
                let (method, path) = operation.example();
                let method = method.parse().unwrap();
                let found = by_path(service, &method, &path).expect("its own path");
                assert_eq!(found.operation.name, operation.name, "{path}");
            }
        }
    }

    #[test]
    fn paths_are_matched_raw_and_labels_decoded_once() {
        let iot = Service::Iot;
        check(iot, "POST", "/things/pump%3A7", "CreateThing pump:7");
        check(iot, "GET", "/things/a%252Fb", "DescribeThing a%2Fb");
        check(
            iot,
            "GET",
            "/things/a%2Fprincipals",
            "DescribeThing a/principals",
        );
        check(iot, "GET", "/things/a/principals", "ListThingPrincipals a");
        check(iot, "GET", "/things/%ff", "DescribeThing ?");
        check(iot, "GET", "/authorizers/", "ListAuthorizers");
        check(iot, "GET", "/things/", "none");
        check(iot, "GET", "/things", "ListThings");
        check(iot, "GET", "//things", "none");
        check(
            iot,
            "PUT",
            "/thing-groups/addThingToThingGroup",
            "AddThingToThingGroup",
        );
        check(
            iot,
            "POST",
            "/thing-groups/addThingToThingGroup",
            "CreateThingGroup addThingToThingGroup",
        );
        check(
            iot,
            "POST",
            "/attached-policies/arn:aws:iot:r:1:thinggroup/g",
            "ListAttachedPolicies arn:aws:iot:r:1:thinggroup/g",
        );
        check(
            iot,
            "GET",
            "/destinations/arn:aws:iot:r:1:ruledestination/http/x",
            "GetTopicRuleDestination arn:aws:iot:r:1:ruledestination/http/x",
        );
        check(
            Service::IotData,
            "POST",
            "/topics/a%2Fb%20c",
            "Publish a/b c",
        );
        check(Service::IotData, "POST", "/topics/a/b", "Publish a/b");
        check(
            Service::IotData,
            "GET",
            "/things/t/shadow",
            "GetThingShadow t",
        );
        check(iot, "GET", "/things/t/jobs", "ListJobExecutionsForThing t");
        check(
            Service::IotJobsData,
            "GET",
            "/things/t/jobs",
            "GetPendingJobExecutions t",
        );
        check(
            Service::IotJobsData,
            "GET",
            "/things/t/jobs/%24next",
            "DescribeJobExecution t | $next",
        );
    }

    #[test]
    fn targets_and_actions_name_operations() {
        assert_eq!(
            by_target("IoTSecuredTunneling.OpenTunnel").map(|route| route.operation.name),
            Some("OpenTunnel")
        );
        assert_eq!(by_target("DynamoDB_20120810.PutItem"), None);
        assert_eq!(by_name(Service::Sts, "Nonsense"), None);
    }
}
