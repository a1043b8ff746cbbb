//! What a caller asks to do, and sets of it.

/// An action that policies decide.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
#[repr(u8)]
pub enum Action {
    /// Open a session as a client id.
    Connect,
    /// Publish to a topic, a last will included.
    Publish,
    /// Receive what was published to a topic.
    Receive,
    /// Publish with the retain flag.
    RetainPublish,
    /// Subscribe to a filter.
    Subscribe,
    /// Read one retained message.
    GetRetainedMessage,
    /// List retained messages.
    ListRetainedMessages,
    /// Read a shadow by request (not by topic).
    GetShadow,
    /// Write a shadow by request (not by topic).
    UpdateShadow,
    /// Delete a shadow by request (not by topic).
    DeleteShadow,
    /// List the named shadows of a device.
    ListNamedShadows,
    /// Read one job execution.
    DescribeJobExecution,
    /// List the job executions that wait.
    GetPendingJobExecutions,
    /// Report on a job execution.
    UpdateJobExecution,
    /// Begin the next job execution.
    StartNextPendingJobExecution,
    /// Trade the device certificate for short-lived credentials of a role.
    AssumeRoleWithCertificate,
    /// End another client's connection.
    DeleteConnection,
    /// Look at another client's connection.
    GetConnection,
    /// Look at another client's subscriptions.
    ListSubscriptions,
    /// Send one message to one client.
    SendDirectMessage,
}

impl Action {
    /// Every action, in the order of `golden/policy-matrix.txt`.
    pub const ALL: [Self; 20] = [
        Self::Connect,
        Self::Publish,
        Self::Receive,
        Self::RetainPublish,
        Self::Subscribe,
        Self::GetRetainedMessage,
        Self::ListRetainedMessages,
        Self::GetShadow,
        Self::UpdateShadow,
        Self::DeleteShadow,
        Self::ListNamedShadows,
        Self::DescribeJobExecution,
        Self::GetPendingJobExecutions,
        Self::UpdateJobExecution,
        Self::StartNextPendingJobExecution,
        Self::AssumeRoleWithCertificate,
        Self::DeleteConnection,
        Self::GetConnection,
        Self::ListSubscriptions,
        Self::SendDirectMessage,
    ];
}

/// A set of actions.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Actions(u32);

impl Actions {
    /// No action.
    pub const NONE: Self = Self(0);

    /// Adds `action`.
    pub const fn insert(&mut self, action: Action) {
        self.0 |= 1 << action as u32;
    }

    /// Whether `action` is in the set.
    #[must_use]
    pub const fn contains(self, action: Action) -> bool {
        self.0 & (1 << action as u32) != 0
    }

    /// Whether the set is empty: a statement about actions that policies of this hub never decide.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The actions of the set, in the order of [`Action::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL
            .into_iter()
            .filter(move |action| self.contains(*action))
    }
}

impl FromIterator<Action> for Actions {
    fn from_iter<T: IntoIterator<Item = Action>>(actions: T) -> Self {
        let mut set = Self::NONE;
        for action in actions {
            set.insert(action);
        }
        set
    }
}
