//! Groups and the devices in them, in `registry.db`.

use model::{DeviceId, GroupName, limits};
use registry::{Attributes, GroupRecord};
use rusqlite::{Row, params};

use crate::{
    Failure, ReadTxn, WriteTxn,
    rows::{
        all, count, json, limit, millis, name, one, optional_name, prefix_pattern, run, time,
        to_json, unsigned,
    },
};

const COLUMNS: &str = "name, uuid, parent, description, attributes, version, created_at";

/// The names of `?1` and of every group below it.
const SUBTREE: &str = "WITH RECURSIVE subtree (name) AS (SELECT ?1 UNION \
     SELECT groups.name FROM groups JOIN subtree ON groups.parent = subtree.name)";

/// Which groups a list holds; all given conditions must be met.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct GroupFilter {
    /// Those below this group.
    pub parent: Option<GroupName>,
    /// Those whose name begins so.
    pub name_prefix: Option<String>,
    /// Below `parent` at any depth; without `parent`, groups at any depth. Otherwise only the first
    /// level.
    pub is_recursive: bool,
}

fn read(row: &Row<'_>) -> Result<GroupRecord, Failure> {
    const WHAT: &str = "group";
    Ok(GroupRecord {
        name: name(row, 0, WHAT)?,
        uuid: row.get(1)?,
        parent: optional_name(row, 2, WHAT)?,
        description: row.get(3)?,
        attributes: Attributes::from_stored(json(row, 4, WHAT)?),
        version: unsigned(row, 5)?,
        created_at: time(row, 6)?,
    })
}

impl ReadTxn<'_> {
    /// The group `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn group(&self, name: &GroupName) -> Result<Option<GroupRecord>, Failure> {
        let sql = format!("SELECT {COLUMNS} FROM groups WHERE name = ?1");
        one(self.file(), &sql, [name.as_str()], read)
    }

    /// The groups above `group`, the nearest first.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn ancestors(&self, group: &GroupRecord) -> Result<Vec<GroupRecord>, Failure> {
        let mut above = Vec::new();
        let mut next = group.parent.clone();
        while let Some(name) = next.take()
            && above.len() < limits::GROUP_DEPTH
        {
            if let Some(record) = self.group(&name)? {
                next.clone_from(&record.parent);
                above.push(record);
            }
        }
        Ok(above)
    }

    /// The groups that meet `filter`, by name, after `after`: at most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn groups(
        &self,
        filter: &GroupFilter,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<GroupRecord>, Failure> {
        let (with, place) = match (&filter.parent, filter.is_recursive) {
            (Some(_), true) => (SUBTREE, "name IN subtree AND name <> ?1"),
            (Some(_), false) => ("", "parent = ?1"),
            (None, true) => ("", "?1 IS NULL"),
            (None, false) => ("", "?1 IS NULL AND parent IS NULL"),
        };
        let sql = format!(
            "{with} SELECT {COLUMNS} FROM groups WHERE name > ?2 AND {place} \
             AND name LIKE ?3 ESCAPE '\\' AND substr(name, 1, length(?4)) = ?4 \
             ORDER BY name LIMIT ?5"
        );
        let prefix = filter.name_prefix.as_deref().unwrap_or("");
        let values = params![
            filter.parent.as_ref().map(GroupName::as_str),
            after.unwrap_or(""),
            prefix_pattern(prefix),
            prefix,
            limit(rows),
        ];
        all(self.file(), &sql, values, read)
    }

    /// How many groups are directly below `name`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn child_count(&self, name: &GroupName) -> Result<usize, Failure> {
        count(
            self.file(),
            "SELECT count(*) FROM groups WHERE parent = ?1",
            [name.as_str()],
        )
    }

    /// The devices in `group`, or in it and the groups below it, by id, after `after`: at most
    /// `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn devices_in_group(
        &self,
        group: &GroupName,
        is_recursive: bool,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<DeviceId>, Failure> {
        let (with, place) = if is_recursive {
            (SUBTREE, "group_name IN subtree")
        } else {
            ("", "group_name = ?1")
        };
        let sql = format!(
            "{with} SELECT DISTINCT device FROM memberships WHERE {place} AND device > ?2 \
             ORDER BY device LIMIT ?3"
        );
        let values = params![group.as_str(), after.unwrap_or(""), limit(rows)];
        all(self.file(), &sql, values, |row| name(row, 0, "membership"))
    }

    /// The groups `device` was put into, by name, after `after`: at most `rows`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn groups_of_device(
        &self,
        device: &DeviceId,
        after: Option<&str>,
        rows: usize,
    ) -> Result<Vec<GroupName>, Failure> {
        all(
            self.file(),
            "SELECT group_name FROM memberships WHERE device = ?1 AND group_name > ?2 \
             ORDER BY group_name LIMIT ?3",
            params![device.as_str(), after.unwrap_or(""), limit(rows)],
            |row| name(row, 0, "membership"),
        )
    }

    /// The groups `device` is in, those above them included: what policies count for it.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be read.
    pub fn groups_above_device(&self, device: &DeviceId) -> Result<Vec<GroupName>, Failure> {
        all(
            self.file(),
            "WITH RECURSIVE above (name) AS (\
             SELECT group_name FROM memberships WHERE device = ?1 UNION \
             SELECT groups.parent FROM groups JOIN above ON groups.name = above.name \
             WHERE groups.parent IS NOT NULL) SELECT name FROM above ORDER BY name",
            [device.as_str()],
            |row| name(row, 0, "membership"),
        )
    }
}

impl WriteTxn<'_> {
    /// Creates or replaces `group`.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn put_group(&mut self, group: &GroupRecord) -> Result<(), Failure> {
        run(
            self.file(),
            "INSERT OR REPLACE INTO groups (name, uuid, parent, description, attributes, version, \
             created_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            params![
                group.name.as_str(),
                group.uuid,
                group.parent.as_ref().map(GroupName::as_str),
                group.description,
                to_json(group.attributes.as_map()),
                group.version.cast_signed(),
                millis(group.created_at),
            ],
        )?;
        Ok(())
    }

    /// Removes the group `name` and its memberships.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn delete_group(&mut self, name: &GroupName) -> Result<(), Failure> {
        for sql in [
            "DELETE FROM groups WHERE name = ?1",
            "DELETE FROM memberships WHERE group_name = ?1",
        ] {
            run(self.file(), sql, [name.as_str()])?;
        }
        Ok(())
    }

    /// Puts `device` into `group`; whether it was not there before.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn add_to_group(&mut self, device: &DeviceId, group: &GroupName) -> Result<bool, Failure> {
        let changed = run(
            self.file(),
            "INSERT OR IGNORE INTO memberships (device, group_name) VALUES (?1, ?2)",
            params![device.as_str(), group.as_str()],
        )?;
        Ok(changed > 0)
    }

    /// Takes `device` out of `group`; whether it was there.
    ///
    /// # Errors
    ///
    /// [`Failure`] when the store cannot be written.
    pub fn remove_from_group(
        &mut self,
        device: &DeviceId,
        group: &GroupName,
    ) -> Result<bool, Failure> {
        let changed = run(
            self.file(),
            "DELETE FROM memberships WHERE device = ?1 AND group_name = ?2",
            params![device.as_str(), group.as_str()],
        )?;
        Ok(changed > 0)
    }
}
