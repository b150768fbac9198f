//! Whether an expression may differ from row to row, as far as its text tells: a column with such a default is written
//! into every row when it is added. Operators count as immutable, as all built-in ones are at least stable.

use squawk_syntax::ast::{self, AstNode};

use super::tree::{all, folded, written};

/// How an expression behaves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Volatility {
    /// Evaluated once, whatever the number of rows.
    Stable,
    /// Evaluated for each row, because of this function.
    Volatile(String),
    /// It calls a function that is not built in.
    Unknown(String),
}

/// Built-in functions that are evaluated for each row.
const VOLATILE: &[&str] = &[
    "clock_timestamp",
    "currval",
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "lastval",
    "nextval",
    "pg_sleep",
    "random",
    "random_normal",
    "setval",
    "timeofday",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v4",
    "uuidv4",
    "uuidv7",
];

/// Built-in functions that people write into defaults and that are evaluated once.
const STABLE: &[&str] = &[
    "abs",
    "age",
    "array_append",
    "array_fill",
    "array_to_string",
    "array_cat",
    "btrim",
    "cardinality",
    "ceil",
    "char_length",
    "chr",
    "coalesce",
    "concat",
    "concat_ws",
    "current_database",
    "current_schema",
    "current_setting",
    "current_user",
    "date",
    "date_bin",
    "date_part",
    "date_trunc",
    "decode",
    "digest",
    "encode",
    "extract",
    "floor",
    "format",
    "greatest",
    "hashtext",
    "inet_client_addr",
    "initcap",
    "json_build_array",
    "json_build_object",
    "jsonb_build_array",
    "jsonb_build_object",
    "least",
    "left",
    "length",
    "localtime",
    "localtimestamp",
    "lower",
    "lpad",
    "ltrim",
    "make_date",
    "make_interval",
    "make_time",
    "make_timestamp",
    "make_timestamptz",
    "md5",
    "mod",
    "now",
    "nullif",
    "numrange",
    "daterange",
    "int4range",
    "int8range",
    "tsrange",
    "tstzrange",
    "pg_backend_pid",
    "pi",
    "power",
    "quote_literal",
    "regexp_replace",
    "repeat",
    "replace",
    "reverse",
    "right",
    "round",
    "row_to_json",
    "rpad",
    "rtrim",
    "session_user",
    "sha256",
    "split_part",
    "statement_timestamp",
    "string_to_array",
    "strpos",
    "substr",
    "substring",
    "timezone",
    "to_char",
    "to_date",
    "to_hex",
    "to_json",
    "to_jsonb",
    "to_number",
    "to_timestamp",
    "to_tsvector",
    "transaction_timestamp",
    "translate",
    "trim",
    "trunc",
    "txid_current",
    "upper",
    "uuid_nil",
    "uuid_generate_v3",
    "uuid_generate_v5",
    "pg_current_xact_id",
    "string_to_table",
    "point",
    "box",
];

/// The volatility of an expression.
pub(crate) fn of(expression: &ast::Expr) -> Volatility {
    let mut unknown = None;
    for call in all::<ast::CallExpr>(expression.syntax()) {
        // Forms with a syntax of their own, such as EXTRACT and TRIM, are built in and not volatile.
        let Some(function) = call.expr() else { continue };
        let function = written(function.syntax());
        let name = folded(&function);
        if VOLATILE.contains(&name.as_str()) {
            return Volatility::Volatile(function);
        }
        if !STABLE.contains(&name.as_str()) {
            unknown.get_or_insert(function);
        }
    }
    unknown.map_or(Volatility::Stable, Volatility::Unknown)
}

/// Whether a type is one of the `serial` ones, whose default is the next value of a sequence.
pub(crate) fn is_serial(ty: &ast::Type) -> bool {
    let name = folded(&written(ty.syntax()));
    matches!(name.as_str(), "serial" | "serial2" | "serial4" | "serial8" | "smallserial" | "bigserial")
}
