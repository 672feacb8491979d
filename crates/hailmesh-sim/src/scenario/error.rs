//! Why something is not a scenario.

use crate::roads::RoadsError;

/// A fault in what describes a scenario: where it is, what was found, what is allowed.
/// Lines count from 1; line 1 of a CSV file is its header.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum ScenarioError {
    /// A file that cannot be read to its end, or is not text.
    #[error("{file}: {reason}")]
    Unreadable {
        /// Name of the file.
        file: String,
        /// What the reader said.
        reason: String,
    },
    /// A file without a header or without rows.
    #[error("{file}: it is empty: expected a header with the columns {columns} and at least one row")]
    Empty {
        /// Name of the file.
        file: String,
        /// The columns that it should have.
        columns: String,
    },
    /// A header without a column that is needed.
    #[error("{file}, line 1: column \"{column}\" is missing: found {found}")]
    MissingColumn {
        /// Name of the file.
        file: String,
        /// The column, or the spellings of it that are known.
        column: String,
        /// The columns that are there.
        found: String,
    },
    /// A column that is there twice.
    #[error("{file}, line 1: column \"{column}\" is there twice: expected it once")]
    DuplicateColumn {
        /// Name of the file.
        file: String,
        /// The column.
        column: String,
    },
    /// A row with too few or too many fields.
    #[error("{file}, line {line}: {found} fields: expected {expected} as in the header")]
    Fields {
        /// Name of the file.
        file: String,
        /// Line of the row.
        line: u64,
        /// Fields of the row.
        found: u64,
        /// Fields of the header.
        expected: u64,
    },
    /// A value that is not what the column holds.
    #[error("{file}, line {line}, column \"{column}\": value \"{value}\": expected {expected}")]
    Value {
        /// Name of the file.
        file: String,
        /// Line of the row.
        line: u64,
        /// The column.
        column: String,
        /// The value as written.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A junction's number that was given before.
    #[error(
        "{file}, line {line}, column \"{column}\": value \"{value}\": expected a number that is not there yet; \
         line {first_line} has it"
    )]
    Duplicate {
        /// Name of the file.
        file: String,
        /// Line of the second one.
        line: u64,
        /// The column.
        column: String,
        /// The number as written.
        value: String,
        /// Line of the first one.
        first_line: u64,
    },
    /// A link that begins or ends at a junction that the nodes do not list.
    #[error(
        "{file}, line {line}, column \"{column}\": value \"{value}\": unknown junction; expected one of the \
         {junctions} listed in {nodes}"
    )]
    UnknownJunction {
        /// Name of the file.
        file: String,
        /// Line of the row.
        line: u64,
        /// The column.
        column: String,
        /// The number as written.
        value: String,
        /// How many junctions there are.
        junctions: usize,
        /// Name of the file that lists them.
        nodes: String,
    },
    /// A request that is earlier than the one before.
    #[error(
        "{file}, line {line}, column \"{column}\": value \"{value}\": out of order; expected at least {previous}, \
         the time of the row before"
    )]
    OutOfOrder {
        /// Name of the file.
        file: String,
        /// Line of the row.
        line: u64,
        /// The column.
        column: String,
        /// The time as written.
        value: String,
        /// The time of the row before, as written.
        previous: String,
    },
    /// Nobody can drive from one junction to another.
    #[error(
        "{file}: the road network is disconnected: junction {to} ({nodes}, line {line}) cannot be reached from \
         junction {from}; expected a way from every junction to every other"
    )]
    Disconnected {
        /// Name of the file of links.
        file: String,
        /// Name of the file of junctions.
        nodes: String,
        /// Where from, by its number in the file.
        from: String,
        /// The junction that cannot be reached, by its number in the file.
        to: String,
        /// Its line in the file of junctions.
        line: u64,
    },
    /// A fleet of none or of more cars than there are.
    #[error("{scenario}: a fleet of {fleet}: expected 1 to {vehicles}, the number of its vehicles")]
    Fleet {
        /// Name of the scenario.
        scenario: String,
        /// The fleet that was asked for.
        fleet: u32,
        /// Cars of the scenario.
        vehicles: usize,
    },
    /// A parameter of a synthetic city out of its range.
    #[error("{parameter} = {value}: expected {expected}")]
    Parameter {
        /// The parameter.
        parameter: String,
        /// The value.
        value: String,
        /// What is allowed.
        expected: String,
    },
    /// A description that is not TOML or has keys or values that it must not have.
    #[error("{file}: {reason}")]
    Toml {
        /// Name of the file.
        file: String,
        /// Line, column and what is wrong there.
        reason: String,
    },
    /// Nothing in an extract that makes a road network, or no trip inside the area.
    #[error("{file}: nothing to import: {reason}")]
    Nothing {
        /// Name of the file.
        file: String,
        /// What was found and what is needed.
        reason: String,
    },
    /// A fault of the roads that no line of a file is to blame for.
    #[error("roads: {0}")]
    Roads(#[from] RoadsError),
}
