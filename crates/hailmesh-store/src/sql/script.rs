//! Whole transactions that are written down first and sent in one go.
//!
//! A database that runs on a thread of its own is asked and answers through queues, and
//! each time that costs two changes of thread: for the ten rows of a signed promise more
//! than the rows themselves. So a batch first becomes a script, on the assumption that
//! every statement of it changes something, which is so unless something of it is stored
//! already. Where it is not so the script fails, and with it the whole transaction.

use super::{Execute, Row, Value};
use crate::Error;

/// A value that outlives the record it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owned {
    Int(Option<i64>),
    Bytes(Option<Vec<u8>>),
    Text(Option<String>),
}

impl From<&Value<'_>> for Owned {
    fn from(value: &Value<'_>) -> Self {
        match *value {
            Value::Int(value) => Self::Int(value),
            Value::Bytes(value) => Self::Bytes(value.map(<[u8]>::to_vec)),
            Value::Text(value) => Self::Text(value.map(str::to_owned)),
        }
    }
}

/// Fails when the statement before it changed nothing: no name has no value.
const GUARD: &str = "INSERT INTO meta (name, value) SELECT 'guard', NULL WHERE changes() = 0;";

/// A transaction as one text, its parameters numbered through.
#[derive(Debug)]
pub(crate) struct Script {
    sql: String,
    values: Vec<Owned>,
}

impl Default for Script {
    fn default() -> Self {
        Self { sql: "BEGIN IMMEDIATE;".to_owned(), values: Vec::new() }
    }
}

impl Script {
    /// The text with its end, and the values.
    pub(crate) fn finish(self) -> (String, Vec<Owned>) {
        (self.sql + "COMMIT", self.values)
    }

    /// Adds a statement. Its parameters `$1`, `$2` … follow on those before it.
    fn add(&mut self, sql: &str, values: &[Value<'_>]) {
        // What would be passed over in silence is to fail.
        let strict = sql.strip_suffix("DO NOTHING").and_then(|rest| rest.split(" ON CONFLICT ").next());
        let sql = strict.unwrap_or(sql);
        let mut parts = sql.split('$');
        self.sql.push_str(parts.next().unwrap_or_default());
        for part in parts {
            let digits = part.bytes().take_while(u8::is_ascii_digit).count();
            let number: usize = part[..digits].parse().unwrap_or(0);
            self.sql.push('$');
            self.sql.push_str(&(number + self.values.len()).to_string());
            self.sql.push_str(&part[digits..]);
        }
        self.sql.push(';');
        self.values.extend(values.iter().map(Owned::from));
        let plain = sql.starts_with("INSERT") && sql.contains(" VALUES ") && !sql.contains(" ON CONFLICT ");
        // A row that is inserted is there, and one that is deleted is not.
        if !plain && !sql.starts_with("DELETE") {
            self.sql.push_str(GUARD);
        }
    }
}

impl Execute for Script {
    /// Notes it down.
    async fn execute(&mut self, sql: &'static str, values: &[Value<'_>]) -> Result<u64, Error> {
        self.add(sql, values);
        Ok(1)
    }

    /// Nothing can be asked yet: this batch is no script.
    async fn fetch(&mut self, _: &'static str, _: &[Value<'_>]) -> Result<Vec<Row>, Error> {
        Err(Error::conflict("it depends on what is stored"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_numbered_through_and_silence_is_guarded() {
        let mut script = Script::default();
        let row = [1.into(), [7_u8, 8].as_slice().into()];
        script.add("INSERT INTO a VALUES ($1, $2) ON CONFLICT (x) DO NOTHING", &row);
        script.add("DELETE FROM b", &[]);
        script.add("UPDATE c SET x = $2 WHERE y = $1 AND z > $1", &["k".into(), 12.into()]);
        let (sql, values) = script.finish();
        let expected = [
            "BEGIN IMMEDIATE;INSERT INTO a VALUES ($1, $2);DELETE FROM b;",
            "UPDATE c SET x = $4 WHERE y = $3 AND z > $3;",
            GUARD,
            "COMMIT",
        ];
        assert_eq!(sql, expected.concat());
        let texts = [Owned::Text(Some("k".to_owned())), Owned::Int(Some(12))];
        assert_eq!(values[..2], [Owned::Int(Some(1)), Owned::Bytes(Some(vec![7, 8]))]);
        assert_eq!(values[2..], texts);
    }
}
