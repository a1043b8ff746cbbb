//! The jobs data plane (`iot-jobs-data`, 2017-09-29): 5 operations.

use super::{Method::*, Operation, Service::IotJobsData};

/// Every operation, by name.
#[rustfmt::skip] // one operation a line
pub(super) const TABLE: &[Operation] = &[
    Operation::at(IotJobsData, "DescribeJobExecution", Get, "/things/{}/jobs/{}"),
    Operation::at(IotJobsData, "GetPendingJobExecutions", Get, "/things/{}/jobs"),
    Operation::at(IotJobsData, "StartCommandExecution", Post, "/command-executions"),
    Operation::at(IotJobsData, "StartNextPendingJobExecution", Put, "/things/{}/jobs/$next"),
    Operation::at(IotJobsData, "UpdateJobExecution", Post, "/things/{}/jobs/{}"),
];
