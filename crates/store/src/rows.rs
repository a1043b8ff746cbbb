//! Reading and writing rows: a value that does not read back names what was stored.

use std::str::FromStr;

use model::Timestamp;
use rusqlite::{Connection, Params, Row};

use crate::Failure;

/// All rows of a query.
pub(crate) fn all<T>(
    file: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, Failure>,
) -> Result<Vec<T>, Failure> {
    let mut statement = file.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(read(row)?);
    }
    Ok(found)
}

/// The first row of a query.
pub(crate) fn one<T>(
    file: &Connection,
    sql: &str,
    values: impl Params,
    read: impl Fn(&Row<'_>) -> Result<T, Failure>,
) -> Result<Option<T>, Failure> {
    let mut statement = file.prepare_cached(sql)?;
    let mut rows = statement.query(values)?;
    rows.next()?.map(read).transpose()
}

/// The count a query returns.
pub(crate) fn count(file: &Connection, sql: &str, values: impl Params) -> Result<usize, Failure> {
    let counted = one(file, sql, values, |row| Ok(unsigned(row, 0)?))?;
    Ok(usize::try_from(counted.unwrap_or(0)).unwrap_or(usize::MAX))
}

/// Runs a statement; returns the rows it changed.
pub(crate) fn run(file: &Connection, sql: &str, values: impl Params) -> Result<usize, Failure> {
    Ok(file.prepare_cached(sql)?.execute(values)?)
}

/// The text at `at` as a checked name of a `what`.
pub(crate) fn name<T: FromStr>(row: &Row<'_>, at: usize, what: &'static str) -> Result<T, Failure> {
    optional_name(row, at, what)?.ok_or(Failure::Unreadable { what })
}

/// Like [`name`] where there may be none.
pub(crate) fn optional_name<T: FromStr>(
    row: &Row<'_>,
    at: usize,
    what: &'static str,
) -> Result<Option<T>, Failure> {
    let unreadable = Failure::Unreadable { what };
    match row.get_ref(at)?.as_str_or_null() {
        Ok(None) => Ok(None),
        Ok(Some(text)) => text.parse().map(Some).map_err(|_| unreadable),
        Err(_) => Err(unreadable),
    }
}

/// The JSON at `at`.
pub(crate) fn json<T: serde::de::DeserializeOwned>(
    row: &Row<'_>,
    at: usize,
    what: &'static str,
) -> Result<T, Failure> {
    let unreadable = |_| Failure::Unreadable { what };
    let text = row
        .get_ref(at)?
        .as_str()
        .map_err(|_| Failure::Unreadable { what })?;
    serde_json::from_str(text).map_err(unreadable)
}

/// A value of ours as JSON.
pub(crate) fn to_json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("maps and lists of texts have no keys that JSON lacks")
}

pub(crate) fn unsigned(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    Ok(row.get::<_, i64>(at)?.cast_unsigned())
}

pub(crate) fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    Ok(Timestamp::from_millis(unsigned(row, at)?))
}

pub(crate) fn optional_time(row: &Row<'_>, at: usize) -> rusqlite::Result<Option<Timestamp>> {
    let millis: Option<i64> = row.get(at)?;
    Ok(millis.map(|millis| Timestamp::from_millis(millis.cast_unsigned())))
}

/// A time as it is stored.
pub(crate) fn millis(time: Timestamp) -> i64 {
    i64::try_from(time.millis()).unwrap_or(i64::MAX)
}

/// A limit as SQL takes it.
pub(crate) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

/// The pattern that finds texts beginning with `prefix`, for `LIKE … ESCAPE '\'`.
pub(crate) fn prefix_pattern(prefix: &str) -> String {
    let mut pattern = String::with_capacity(prefix.len() + 1);
    for character in prefix.chars() {
        if matches!(character, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern.push('%');
    pattern
}

/// Removes every row of every table but the ledger's.
pub(crate) fn clear(file: &Connection) -> rusqlite::Result<()> {
    let tables = file
        .prepare(
            "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' \
             AND name NOT LIKE 'ledger_%'",
        )?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    for table in tables {
        // A name from our own layout.
        file.execute(&format!("DELETE FROM {table}"), [])?;
    }
    Ok(())
}
